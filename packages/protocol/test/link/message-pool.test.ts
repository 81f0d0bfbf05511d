import { describe, expect, test } from "vitest"
import { MessagePool } from "../../src/link/message-pool.ts"

describe("message pool", () => {
  test("a buffer that was given back is the next to be taken", () => {
    const pool = new MessagePool(65_561)
    const first = pool.take(65_561)
    expect(pool.take(65_561).buffer).not.toBe(first.buffer)
    pool.give(first)
    const again = pool.take(40_000)
    expect(again.buffer).toBe(first.buffer)
    expect(again.byteLength).toBe(40_000)
  })

  test("small and oversized messages are arrays of their own, exactly as long as asked", () => {
    const pool = new MessagePool(65_561)
    for (const length of [26, 65_562]) {
      const message = pool.take(length)
      expect(message.buffer.byteLength).toBe(length)
      pool.give(message)
      expect(pool.take(65_561).buffer).not.toBe(message.buffer)
    }
  })

  test("keeps no more than a megabyte, and nothing once it is cleared", () => {
    const pool = new MessagePool(65_561)
    const messages = Array.from({ length: 20 }, () => pool.take(65_561))
    for (const message of messages) pool.give(message)
    const kept = Array.from({ length: 20 }, () => pool.take(65_561).buffer).filter((buffer) =>
      messages.some((message) => message.buffer === buffer),
    )
    expect(kept).toHaveLength(16)
    for (const message of messages) pool.give(message)
    pool.clear()
    expect(messages.map(({ buffer }) => buffer)).not.toContain(pool.take(65_561).buffer)
  })
})
