/** A thousand simulated lives, and the ones that once failed. */
import { describe, expect, test } from "vitest"
import { runScenario } from "./scenario.ts"

describe("simulation", () => {
  test.each(Array.from({ length: 20 }, (_, index) => 50 * index))("seeds %i and the 49 after it keep every promise", (first) => {
    for (let seed = first; seed < first + 50; seed++) runScenario(seed)
  })

  test("the same seed lives the same life, another one another", () => {
    const life = runScenario(42)
    expect(runScenario(42)).toEqual(life)
    expect(runScenario(43).digest).not.toBe(life.digest)
  })

  // Each of these found a defect of the code under test, named here.
  test.each([[1, "a bound on bulk that was no whole number made empty DATA frames for ever"]])("seed %i: %s", (seed) => {
    runScenario(seed)
  })
})
