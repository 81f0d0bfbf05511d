/** Memory of a WebSocket that is given back while it is read: never any that somebody looks at. */
import { once } from "node:events"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"
import { SeededRandom } from "@trunkline/protocol/testing"
import { afterEach, describe, expect, test } from "vitest"
import { WebSocket } from "ws"
import { giveBackSpentChunks } from "../src/transports/spent-chunks.ts"
import { acceptKey, LoopbackGateway } from "./loopback-gateway.ts"

const [continuation, binary, ping] = [0, 2, 9]

/** A frame as a server sends it. */
function frame(opcode: number, payload: Uint8Array, last = true): Buffer {
  const first = opcode | (last ? 0x80 : 0)
  const length = payload.byteLength
  if (length < 126) return Buffer.concat([Buffer.of(first, length), payload])
  const head = Buffer.alloc(length < 65_536 ? 4 : 10)
  head[0] = first
  head[1] = length < 65_536 ? 126 : 127
  if (length < 65_536) head.writeUInt16BE(length, 2)
  else head.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([head, payload])
}

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** A WebSocket that gives its chunks back, and the bare socket at the other end of it. */
async function connect() {
  const accepted = Promise.withResolvers<Duplex>()
  const gateway = await LoopbackGateway.start({
    upgrade(request, socket) {
      const head = ["101 Switching Protocols", "upgrade: websocket", "connection: upgrade", `sec-websocket-accept: ${acceptKey(request)}`]
      socket.write(`HTTP/1.1 ${head.join("\r\n")}\r\n\r\n`)
      accepted.resolve(socket)
    },
  })
  const webSocket = new WebSocket(gateway.url, { perMessageDeflate: false, allowSynchronousEvents: true })
  ends.push(() => webSocket.terminate())
  ends.push(() => void gateway.stop())
  /** All that was read, chunk by chunk. */
  const chunks: Buffer[] = []
  /** Messages as they are told, views and all. */
  const messages: Buffer[] = []
  webSocket.on("message", (data) => messages.push(data as Buffer))
  webSocket.once("upgrade", ({ socket }: { readonly socket: Socket }) => {
    webSocket.once("open", () => {
      giveBackSpentChunks(webSocket, socket)
      socket.on("data", (chunk: Buffer) => chunks.push(chunk))
    })
  })
  await once(webSocket, "open")
  const far = await accepted.promise
  /** Resolves when the bytes have come, as one chunk: the path is idle, and they are few. */
  const say = async (bytes: Uint8Array) => {
    const count = chunks.length
    far.write(bytes)
    while (chunks.length === count) await new Promise((resolve) => setImmediate(resolve))
  }
  const until = async (condition: () => boolean) => {
    while (!condition()) await new Promise((resolve) => setImmediate(resolve))
  }
  const givenBack = () => chunks.map(({ buffer }) => (buffer as ArrayBuffer).detached)
  return { webSocket, far, chunks, messages, say, until, givenBack }
}

/** So many bytes as no other message has. */
const bytesOf = (length: number, salt: number): Buffer => Buffer.alloc(length, Uint8Array.of(salt, salt >>> 8, 7, 0x80 | (salt & 0x7f), 99))

describe("chunks of a WebSocket", () => {
  test("are given back once a message ends behind them, and not before", async () => {
    const { say, givenBack, messages } = await connect()
    const whole = frame(binary, bytesOf(20_000, 1))
    await say(whole.subarray(0, 8_000))
    await say(whole.subarray(8_000, 16_000))
    expect(givenBack()).toEqual([false, false])
    await say(whole.subarray(16_000))
    expect(givenBack()).toEqual([true, true, false])
    expect(messages).toEqual([bytesOf(20_000, 1)])
  })

  test("are kept while the message behind them has not come whole", async () => {
    const { say, givenBack, messages } = await connect()
    const both = Buffer.concat([frame(binary, bytesOf(6_000, 1)), frame(binary, bytesOf(12_000, 2))])
    await say(both.subarray(0, 5_000))
    // The end of the first message and a part of the second.
    await say(both.subarray(5_000, 12_000))
    expect(givenBack()).toEqual([true, false])
    await say(both.subarray(12_000, 17_000))
    expect(givenBack()).toEqual([true, false, false])
    await say(both.subarray(17_000))
    expect(givenBack()).toEqual([true, true, true, false])
    expect(messages).toEqual([bytesOf(6_000, 1), bytesOf(12_000, 2)])
  })

  test("are kept for a message that is a view of them", async () => {
    const { say, givenBack, messages } = await connect()
    const later = frame(binary, bytesOf(12_000, 2))
    await say(Buffer.concat([frame(binary, bytesOf(5_000, 1)), later.subarray(0, 3_000)]))
    await say(later.subarray(3_000, 9_000))
    await say(later.subarray(9_000))
    expect(givenBack()).toEqual([false, true, false])
    expect(messages).toEqual([bytesOf(5_000, 1), bytesOf(12_000, 2)])
  })

  test("are kept for a message that is a view of them and ends, empty, in a later one, behind a ping", async () => {
    const { say, givenBack, messages } = await connect()
    await say(frame(binary, bytesOf(5_000, 1), false))
    const between = frame(ping, bytesOf(20, 9))
    await say(between)
    expect(givenBack()).toEqual([false, false])
    await say(frame(continuation, new Uint8Array(0)))
    await say(frame(binary, bytesOf(8_000, 2)))
    expect(givenBack()).toEqual([false, false, false, false])
    expect(messages).toEqual([bytesOf(5_000, 1), bytesOf(8_000, 2)])
  })

  test("are kept for the answer to a ping that lies in them", async () => {
    const { say, far, until, givenBack } = await connect()
    far.pause()
    const asked = bytesOf(100, 5)
    const later = frame(binary, bytesOf(12_000, 2))
    await say(Buffer.concat([frame(ping, asked), later.subarray(0, 5_000)]))
    await say(later.subarray(5_000))
    expect(givenBack()).toEqual([false, false])
    let heard = Buffer.alloc(0)
    far.on("data", (bytes: Buffer) => {
      heard = Buffer.concat([heard, bytes])
    })
    far.resume()
    await until(() => heard.byteLength === 106)
    expect(heard.subarray(6).map((byte, index) => byte ^ (heard[2 + (index % 4)] ?? 0))).toEqual(asked)
  })

  test.each([1, 2, 3, 4])("hold messages of every size, however they come, until their readers let them go (seed %i)", async (seed) => {
    const random = new SeededRandom(seed)
    const { webSocket, far, chunks, messages, until } = await connect()
    const sent: Buffer[] = []
    const stream: Buffer[] = []
    for (let count = 0; count < 400; count++) {
      const message = bytesOf(random.pick([random.integer(1, 40), random.integer(40, 4_000), random.integer(4_000, 200_000)]), count)
      const cut = random.chance(30) ? random.integer(0, message.byteLength) : message.byteLength
      const whole = cut === message.byteLength
      stream.push(frame(binary, message.subarray(0, cut), whole))
      if (random.chance(20)) stream.push(frame(ping, message.subarray(0, Math.min(message.byteLength, 125))))
      if (!whole) stream.push(frame(continuation, message.subarray(cut)))
      sent.push(message)
    }
    const bytes = Buffer.concat(stream)
    far.resume()
    for (let at = 0; at < bytes.byteLength; ) {
      const part = bytes.subarray(
        at,
        at + random.pick([random.integer(1, 100), random.integer(1_000, 80_000), random.integer(80_000, 500_000)]),
      )
      far.write(part)
      at += part.byteLength
      if (random.chance(50)) await new Promise((resolve) => setImmediate(resolve))
      if (random.chance(5)) webSocket.pause()
      else webSocket.resume()
    }
    webSocket.resume()
    await until(() => messages.length === sent.length)
    for (const [index, message] of sent.entries()) expect(message.equals(messages[index] ?? Buffer.alloc(0)), `message ${index}`).toBe(true)
    expect(chunks.some(({ buffer }) => (buffer as ArrayBuffer).detached)).toBe(true)
  })
})
