import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { readSocksRequest } from "../../src/forwarding/socks-connection.ts"
import { socksReplies } from "../../src/forwarding/socks-handshake.ts"
import { closing, readAll, socketPair, until } from "./scripted-tunnel.ts"

beforeEach(() => {
  // Sockets and `setImmediate` go on as they do.
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
})
afterEach(() => {
  vi.useRealTimers()
})

const greeting = Buffer.of(5, 1, 0)
const request = Buffer.of(5, 1, 0, 1, 127, 0, 0, 1, 0x15, 0x38)

async function negotiating() {
  const { near, far } = await socketPair()
  const refusals: string[] = []
  const asked = readSocksRequest(near, (why) => refusals.push(why))
  return { near, far, refusals, asked }
}

describe("a SOCKS connection", () => {
  test("is handed over paused, with what came behind the request still to be read", async () => {
    const { near, far, asked } = await negotiating()
    far.write(Buffer.concat([greeting, request, Buffer.from("early")]))
    const found = await asked
    expect(found?.target).toEqual({ host: "127.0.0.1", port: 5432 })
    expect(near.isPaused()).toBe(true)
    const read = readAll(near.resume())
    far.end(" and late")
    expect((await read).toString()).toBe("early and late")
    expect(vi.getTimerCount()).toBe(0)
  })

  test("is answered before its bytes, or with why not and an end", async () => {
    for (const [reply, bytes] of [
      [socksReplies.succeeded, [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]],
      [socksReplies.refused, [5, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0]],
    ] as const) {
      const { near, far, asked } = await negotiating()
      const read = readAll(far)
      far.write(Buffer.concat([greeting, request]))
      const found = await asked
      if (reply === socksReplies.succeeded) {
        found?.succeed()
        near.end()
      } else found?.fail(reply)
      expect([...(await read)]).toEqual(bytes)
    }
  })

  test("that asks for nothing is reset after ten seconds, however busily it says half of it", async () => {
    for (const sent of [Buffer.alloc(0), Buffer.of(5), greeting, Buffer.concat([greeting, request.subarray(0, 9)])]) {
      const { near, far, refusals, asked } = await negotiating()
      far.resume().write(sent)
      await until(() => near.bytesRead === sent.byteLength)
      const reset = closing(far)
      vi.advanceTimersByTime(9_999)
      expect(near.destroyed).toBe(false)
      vi.advanceTimersByTime(1)
      expect(await asked).toBeUndefined()
      expect(await reset).toBe(true)
      expect(refusals).toEqual(["it has asked for nothing within 10 s"])
    }
  })

  test("that leaves in the middle is forgotten without a word", async () => {
    for (const leave of ["end", "resetAndDestroy"] as const) {
      const { near, far, refusals, asked } = await negotiating()
      far.resume().write(greeting)
      await until(() => near.bytesRead > 0)
      far[leave]()
      expect(await asked).toBeUndefined()
      await until(() => near.closed)
      expect({ refusals, timers: vi.getTimerCount() }).toEqual({ refusals: [], timers: 0 })
    }
  })

  test("that is refused may read why, even in the middle of what it sends, and is cut if it does not leave", async () => {
    const { near, far, refusals, asked } = await negotiating()
    const read = readAll(far)
    far.write(`POST / HTTP/1.1\r\n\r\n${"x".repeat(1_000_000)}`)
    expect(await asked).toBeUndefined()
    expect((await read).toString()).toMatch(/^HTTP\/1\.1 400 /)
    expect(refusals).toHaveLength(1)
    await until(() => near.readableLength === 0)
    expect(near.destroyed).toBe(false)
    vi.advanceTimersByTime(2_000)
    expect(near.destroyed).toBe(true)
  })
})
