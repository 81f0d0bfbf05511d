/** Streams of the kind websocket with services and clients that break the rules, and pieces to the byte. */
import { createServer } from "node:http"
import { join } from "node:path"
import { encodeClose, encodePiece, limits, pieceHeader, webSocketOpcodes } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { WebSocket } from "ws"
import { MessageMemory } from "../../src/services/message-memory.ts"
import { settle } from "./settle.ts"
import { WebSocketBench } from "./websocket-bench.ts"

let bench: WebSocketBench
beforeEach(() => {
  bench = new WebSocketBench()
})
afterEach(() => bench.close())

const { text, binary, ping, pong } = webSocketOpcodes
const utf8 = (value: string): Uint8Array => new TextEncoder().encode(value)
const ask = (target: object, signal?: AbortSignal) =>
  bench.agent.webSocket({ target: target as { service: number }, path: "/", headers: [], ...(signal === undefined ? {} : { signal }) })

/** A real service that keeps what it hears, and a raw stream to it that is open. */
async function joined() {
  const heard: (string | number)[] = []
  let service: WebSocket | undefined
  const port = await bench.service((accepted) => {
    service = accepted
    accepted.on("message", (data, isBinary) => heard.push(`${isBinary ? "binary" : "text"} ${data}`))
    accepted.on("ping", (payload) => heard.push(`ping ${payload}`))
    accepted.on("close", (code) => heard.push(code))
  })
  const raw = bench.raw(port)
  await bench.until(() => raw.head !== undefined && service !== undefined)
  expect(raw.head).toEqual({ status: 101, statusText: "Switching Protocols", headers: [] })
  return { raw, heard, service: () => service }
}

describe("[KW3] pieces of the client", () => {
  test("may come in any bits, mixed with control messages", async () => {
    const { raw, heard } = await joined()
    const bytes = [
      encodePiece(text, utf8("o"), false),
      encodePiece(ping, utf8("?")),
      encodePiece(text, new Uint8Array(0), false),
      encodePiece(text, utf8("ne")),
      encodePiece(pong, utf8("nobody asked")),
      encodePiece(binary, utf8("two")),
      encodeClose(4000, "bye"),
    ]
    for (const byte of bytes.flatMap((piece) => [...piece])) raw.write(Uint8Array.of(byte))
    raw.stream.finish()
    await bench.until(() => heard.length === 4 && raw.closed !== undefined)
    expect(heard).toEqual(["ping ?", "text one", "binary two", 4000])
    expect(raw.pieces.map((piece) => [piece.opcode, piece.text])).toContainEqual([pong, "?"])
    expect([raw.finished, raw.closed]).toEqual([true, { error: undefined }])
  })

  test("in crowds are taken at the service's pace", async () => {
    const { raw, heard, service } = await joined()
    service()?.pause()
    const piece = [...encodePiece(text, utf8("x".repeat(100)))]
    const crowd = Uint8Array.from(Array.from({ length: 600 }, () => piece).flat())
    let crowds = 0
    for (let quietRounds = 0; quietRounds < 10; quietRounds++) {
      for (; raw.stream.writableBytes > 0 && crowds < 500; crowds++) {
        raw.write(crowd)
        quietRounds = 0
      }
      await settle(20)
    }
    expect(crowds).toBeLessThan(500)
    service()?.resume()
    raw.write(encodeClose(1000, ""))
    raw.stream.finish()
    await bench.until(() => raw.closed !== undefined && heard.at(-1) === 1000)
    expect(heard.length).toBe(600 * crowds + 1)
  })

  test.each([
    ["of no kind", Uint8Array.of(0x83, 0, 0, 0, 0)],
    ["longer than a message may be", pieceHeader(binary, limits.webSocketMessageBytesMax + 1)],
    ["of a close with a code that is not for sending", encodePiece(webSocketOpcodes.close, Uint8Array.of(3, 0xee))],
    ["of a close whose reason is no text", encodePiece(webSocketOpcodes.close, Uint8Array.of(3, 0xe8, 0xff))],
    ["behind a close", Uint8Array.of(...encodeClose(1000, ""), 0x82, 0, 0, 0, 0)],
    ["of a ping of 126 bytes", encodePiece(ping, new Uint8Array(126))],
  ])("%s reset the stream, and the service sees the socket broken off", async (what, bytes) => {
    const { raw, heard } = await joined()
    raw.write(bytes)
    await bench.until(() => raw.closed !== undefined && heard.length > 0)
    expect(raw.closed?.error).toMatchObject({ code: "bad-request" })
    expect(heard).toEqual([what === "behind a close" ? 1000 : 1006])
  })

  test("of another tag, and an end without a close, reset the stream", async () => {
    const one = await joined()
    one.raw.stream.write(0, utf8("a body"))
    await bench.until(() => one.raw.closed !== undefined && one.heard.length > 0)
    expect([one.raw.closed?.error?.code, one.heard]).toEqual(["bad-request", [1006]])
    const other = await joined()
    other.raw.write(encodePiece(text, utf8("last")))
    other.raw.stream.finish()
    await bench.until(() => other.raw.closed !== undefined && other.heard.length > 1)
    expect([other.raw.closed?.error?.code, other.heard]).toEqual(["bad-request", ["text last", 1006]])
  })

  test("before the answer wait for it", async () => {
    const heard: string[] = []
    const port = await bench.service((service) => void service.on("message", (data) => heard.push(String(data))))
    const raw = bench.raw(port)
    raw.write(encodePiece(text, utf8("early")))
    await bench.until(() => heard.length > 0)
    expect(heard).toEqual(["early"])
  })
})

describe("[KW2] a service", () => {
  const garbage = (bytes: string | Uint8Array) => bench.tcp((socket) => void socket.once("data", () => socket.end(bytes)))

  test.each([
    ["speaks no HTTP", "SSH-2.0-OpenSSH\r\n"],
    ["says nothing and leaves", ""],
    [
      "agrees without having understood",
      "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
    ],
    ["agrees to something else", "HTTP/1.1 101 Yes\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"],
    ["has no end of headers", `HTTP/1.1 101 Yes\r\nX: ${"x".repeat(200_000)}`],
  ])("that %s is service-failed", async (_, answer) => {
    await expect(ask({ service: await garbage(answer) })).rejects.toMatchObject({ code: "service-failed", delivered: "yes" })
  })

  test("that agrees to an extension nobody asked for is service-failed", async () => {
    const port = await bench.byHand({ headers: ["Sec-WebSocket-Extensions: permessage-deflate"] })
    await expect(ask({ service: port })).rejects.toMatchObject({ code: "service-failed" })
  })

  test("that never answers is service-timeout", async () => {
    bench.settings = { ...bench.settings, firstByteMs: 50 }
    await expect(ask({ service: await bench.tcp(() => {}) })).rejects.toMatchObject({ code: "service-timeout" })
  })

  test("that is not there is service-refused, and one that the owner denies is denied", async () => {
    const server = createServer()
    const port = await bench.listen(server)
    server.close()
    await expect(ask({ service: port })).rejects.toMatchObject({ code: "service-refused" })
    await expect(ask({ host: "192.0.2.1", port: 80 })).rejects.toMatchObject({ code: "denied" })
    await expect(ask({ path: join("/nowhere", "socket") })).rejects.toMatchObject({ code: "denied" })
  })

  test("may be at a unix socket", async () => {
    bench.settings = { ...bench.settings, services: { "8080": `unix:${bench.folder}/socket` } }
    await bench.service((service) => service.send("from the socket"), {}, `${bench.folder}/socket`)
    const socket = await ask({ service: 8080 })
    if (socket.type !== "open") throw new Error("refused")
    for await (const message of socket.messages) {
      expect(message).toBe("from the socket")
      break
    }
  })

  test.each([
    ["a message above the limit", Uint8Array.of(0x82, 127, 0, 0, 0, 0, 2, 0, 0, 1), "too-large"],
    ["text that is none", Uint8Array.of(0x81, 1, 0xff), "service-failed"],
    ["a masked frame", Uint8Array.of(0x82, 0x80, 1, 2, 3, 4), "service-failed"],
    ["a frame of no kind", Uint8Array.of(0x83, 0), "service-failed"],
    ["a close with a code that is not for sending", Uint8Array.of(0x88, 2, 3, 0xee), "service-failed"],
    ["half a frame and its end", Uint8Array.of(0x82, 5, 1), "service-failed"],
  ])("that sends %s is told and given up", async (what, bytes, code) => {
    const closes: (number | undefined)[] = []
    const port = await bench.byHand({
      serve: (connection) => {
        connection.write(Uint8Array.of(0x81, 2, 104, 105))
        if (what.startsWith("half")) connection.end(bytes)
        else connection.write(bytes)
        // A close of the client's, masked.
        connection.on("data", (frame: Buffer) => {
          if (frame[0] === 0x88) closes.push((((frame[6] ?? 0) ^ (frame[2] ?? 0)) << 8) | ((frame[7] ?? 0) ^ (frame[3] ?? 0)))
          bench.changed()
        })
      },
    })
    const socket = await ask({ service: port })
    if (socket.type !== "open") throw new Error("refused")
    const messages: unknown[] = []
    const reading = (async () => {
      for await (const message of socket.messages) messages.push(message)
    })()
    await expect(reading).rejects.toMatchObject({ code })
    expect(messages).toEqual(["hi"])
    if (what.startsWith("half")) return
    await bench.until(() => closes.length > 0)
    expect(closes).toEqual([code === "too-large" ? 1009 : what.startsWith("text") ? 1007 : 1002])
  })

  test("that sends a real message above the limit hears why", async () => {
    const codes: number[] = []
    const port = await bench.service((service) => {
      service.on("close", (code) => codes.push(code))
      service.send(new Uint8Array(limits.webSocketMessageBytesMax + 1))
    })
    const socket = await ask({ service: port })
    if (socket.type !== "open") throw new Error("refused")
    await expect(socket.closed).rejects.toMatchObject({ code: "too-large" })
    await bench.until(() => codes.length > 0)
    expect(codes).toEqual([1009])
  })

  describe("with long messages", () => {
    const long = 4 * limits.streamWindowBytes
    /** Room for two of them, with the window of each. */
    beforeEach(() => {
      bench.memory = new MessageMemory(2 * long)
    })

    /** Opens one that sends this, and reads it or does not. */
    async function speaking(speak: (service: WebSocket) => void) {
      const port = await bench.service(speak)
      const socket = await ask({ service: port })
      if (socket.type !== "open") throw new Error("refused")
      return { socket, end: socket.closed.catch((error: unknown) => error) }
    }

    test.each<[string, (service: WebSocket) => void]>([
      ["that never end", (service) => service.send(new Uint8Array(long), { fin: false })],
      [
        "that never end, between pongs",
        (service) => {
          for (let sent = 0; sent < long; sent += 65_536) {
            service.send(new Uint8Array(65_536), { fin: false })
            service.pong("x")
          }
        },
      ],
      ["that nobody reads", (service) => service.send(new Uint8Array(long))],
    ])("%s holds no more of the agent's memory than there is for all", async (_, speak) => {
      const [one, two, three] = [await speaking(speak), await speaking(speak), await speaking(speak)]
      // Which of them is too much depends on whose bytes come first.
      expect(await Promise.race([one.end, two.end, three.end])).toMatchObject({ code: "overloaded" })
      // Those that are short are not concerned, and the memory of what has left is free again.
      const short = await speaking((service) => service.send(new Uint8Array(1_000)))
      for await (const message of short.socket.messages) {
        expect(message).toHaveLength(1_000)
        break
      }
      for (const { socket } of [one, two, three]) socket.reset()
    })

    test("that are read makes room again with each", async () => {
      const count = 8
      const { socket } = await speaking((service) => {
        for (let sent = 0; sent < count; sent++) service.send(new Uint8Array(long))
        service.close(1000)
      })
      let bytes = 0
      for await (const message of socket.messages) bytes += message.length
      expect(bytes).toBe(count * long)
    })
  })

  test("whose client leaves while it is asked is let go", async () => {
    let asked = 0
    let gone = 0
    const port = await bench.tcp((socket) => {
      socket.on("data", () => {
        asked += 1
        bench.changed()
      })
      socket.on("close", () => {
        gone += 1
      })
    })
    const abort = new AbortController()
    const asking = ask({ service: port }, abort.signal)
    asking.catch(() => {})
    await bench.until(() => asked === 1)
    abort.abort()
    await expect(asking).rejects.toMatchObject({ code: "aborted" })
    await bench.until(() => gone === 1)
  })
})
