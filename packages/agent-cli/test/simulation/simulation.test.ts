/** A thousand simulated lives of the whole path, and the ones that once failed. */
import { describe, expect, test } from "vitest"
import { runLife } from "./life.ts"

describe("simulation of SDK, gateway and agent", () => {
  test.each(Array.from({ length: 20 }, (_, index) => 50 * index))("seeds %i and the 49 after it keep every promise", async (first) => {
    for (let seed = first; seed < first + 50; seed++) await runLife(seed)
  })

  test("the same seed lives the same life, another one another", async () => {
    const life = await runLife(42)
    expect(await runLife(42)).toEqual(life)
    expect((await runLife(43)).digest).not.toBe(life.digest)
  })

  // Each of these found a defect of the code under test, named here.
  test.each([
    [112_681, "a look at what was written so far is told of the exit without the rest of the output"],
    [105_617, "the late hello of a connection that its agent has given up takes the name from that agent's live one, for good"],
  ])("seed %i: %s", async (seed) => {
    await runLife(seed)
  })
})
