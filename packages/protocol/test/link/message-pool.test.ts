import { describe, expect, test } from "vitest"
import { MessagePool } from "../../src/link/message-pool.ts"
import { VirtualClock } from "../../src/testing/index.ts"

describe("message pool", () => {
  test("a buffer that was given back is the next to be taken", () => {
    const pool = new MessagePool(65_561, new VirtualClock())
    const first = pool.take(65_561)
    expect(pool.take(65_561).buffer).not.toBe(first.buffer)
    pool.give(first)
    const again = pool.take(40_000)
    expect(again.buffer).toBe(first.buffer)
    expect(again.byteLength).toBe(40_000)
  })

  test("small and oversized messages are arrays of their own, exactly as long as asked", () => {
    const pool = new MessagePool(65_561, new VirtualClock())
    for (const length of [26, 65_562]) {
      const message = pool.take(length)
      expect(message.buffer.byteLength).toBe(length)
      pool.give(message)
      expect(pool.take(65_561).buffer).not.toBe(message.buffer)
    }
  })

  test("keeps no more than a megabyte", () => {
    const pool = new MessagePool(65_561, new VirtualClock())
    const messages = Array.from({ length: 20 }, () => pool.take(65_561))
    for (const message of messages) pool.give(message)
    const kept = Array.from({ length: 20 }, () => pool.take(65_561).buffer).filter((buffer) =>
      messages.some((message) => message.buffer === buffer),
    )
    expect(kept).toHaveLength(16)
  })

  test("keeps nothing after a second of rest, and all of it when work comes before", () => {
    const clock = new VirtualClock()
    const pool = new MessagePool(65_561, clock)
    const message = pool.take(65_561)
    pool.give(message)
    pool.rest()
    clock.run(999)
    const again = pool.take(65_561)
    expect(again.buffer).toBe(message.buffer)
    pool.give(again)
    clock.run(5_000)
    expect(pool.take(65_561).buffer).toBe(message.buffer)
    pool.give(message)
    pool.rest()
    clock.run(6_001)
    expect(pool.take(65_561).buffer).not.toBe(message.buffer)
  })
})
