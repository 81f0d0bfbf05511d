/** What WebSockets hold of long messages, counted. */
import { limits } from "@trunkline/protocol"
import { expect, test } from "vitest"
import { HeldMessages, MessageMemory } from "../../src/services/message-memory.ts"

const window = limits.streamWindowBytes
const kib = 1_024

/** Two WebSockets of an agent that has a KiB besides their windows. */
function two(): readonly [HeldMessages, HeldMessages] {
  const memory = new MessageMemory(kib)
  return [new HeldMessages(memory), new HeldMessages(memory)]
}

test("what fits in a window is nobody's concern, and what is beyond counts together", () => {
  const [one, other] = two()
  expect([one.came(window + kib), other.came(window), other.came(1)]).toEqual([true, true, false])
})

test("a message is held until the stream has taken it, and what comes behind it is as well", () => {
  const [one, other] = two()
  one.came(window + kib)
  one.whole()
  expect(other.came(window + 1)).toBe(false)
  other.end()
  one.taken()
  expect(one.came(window + kib)).toBe(true)
  expect(other.came(window + 1)).toBe(false)
})

test("control messages are held by nobody, however many come", () => {
  const [one] = two()
  for (let count = 0; count < 10_000; count++) {
    expect(one.came(127)).toBe(true)
    one.passed(127)
  }
})

test("a control message in a long one makes the rest of it no shorter", () => {
  const [one, other] = two()
  one.came(window + kib + 127)
  one.passed(127)
  expect(other.came(window + 1)).toBe(false)
})

test("one that is over gives back what it held", () => {
  const [one, other] = two()
  one.came(window + kib)
  one.whole()
  one.came(kib)
  one.end()
  expect(other.came(window + kib)).toBe(true)
})
