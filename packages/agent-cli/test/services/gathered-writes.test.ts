/** Pieces of all sizes on their way to a target that takes them when it likes. */
import { expect, test } from "vitest"
import { GatheredWrites } from "../../src/services/gathered-writes.ts"

/** A target, and what it was given and has taken. */
function target() {
  const given: Uint8Array[] = []
  const waiting: (() => void)[] = []
  let consumed = 0
  const writes = new GatheredWrites({
    write: (bytes, taken) => {
      given.push(bytes)
      waiting.push(taken)
    },
    consumed: (cost) => {
      consumed += cost
    },
  })
  return { writes, given, take: () => waiting.shift()?.(), consumed: () => consumed, text: () => Buffer.concat(given).toString() }
}

const bytes = (text: string) => new TextEncoder().encode(text)

test("one goes out at once where nothing waits", () => {
  const { writes, given, take, text } = target()
  writes.write(bytes("a"), 65)
  take()
  writes.write(bytes("b"), 65)
  expect([given.length, text()]).toEqual([2, "ab"])
})

test("any number of small ones are a few writes, and each is paid for once they are taken", () => {
  const { writes, given, take, consumed } = target()
  for (let count = 0; count < 20_001; count++) writes.write(bytes("x"), 65)
  expect(given.map(({ byteLength }) => byteLength)).toEqual([1, 16_384])
  expect(consumed()).toBe(0)
  take()
  expect([given.length, consumed()]).toEqual([2, 65])
  take()
  expect([given.length, consumed()]).toEqual([3, 65 * 16_385])
  take()
  expect([given.length, consumed()]).toEqual([3, 65 * 20_001])
})

test("all arrive in order, large ones as they are", () => {
  const { writes, given, take, text } = target()
  const large = bytes("L".repeat(5_000))
  writes.write(bytes("a"), 1)
  writes.write(bytes("b"), 1)
  writes.write(bytes("c"), 1)
  writes.write(large, 1)
  writes.write(bytes("d"), 1)
  for (let taken = 0; taken < 4; taken++) take()
  expect(text()).toBe(`abc${"L".repeat(5_000)}d`)
  expect(given[2]).toBe(large)
})

test("what was put together goes out before the end", () => {
  const { writes, text } = target()
  writes.write(bytes("a"), 1)
  writes.write(bytes("b"), 1)
  writes.flush()
  writes.flush()
  expect(text()).toBe("ab")
})
