/** WebSockets through the tunnel, against an agent that does what the test says. */
import {
  encodeClose,
  encodeHead,
  encodePiece,
  limits,
  type MuxStream,
  PieceReader,
  pieceHeader,
  readClose,
  type TunnelError,
  webSocketEnd,
  webSocketOpcodes,
} from "@trunkline/protocol"
import { beforeEach, describe, expect, test } from "vitest"
import { TunnelError as Thrown, type TunnelWebSocket } from "../src/index.ts"
import { MemoryAgent, settle } from "./memory-agent.ts"

const { text, binary, close, ping, pong } = webSocketOpcodes
const utf8 = (value: string): Uint8Array => new TextEncoder().encode(value)
const request = { target: { service: 3000 }, path: "/chat?x=1", headers: [["X-One", "1"]] as [string, string][] }

/** The agent's side of one stream. */
class Service {
  readonly stream: MuxStream
  readonly body: unknown
  /** What the client has sent: messages, closes and pongs. */
  readonly heard: unknown[] = []
  /** Bytes of each piece the client sent, as the frames brought them. */
  readonly frames: number[] = []
  finished = false
  closed: { readonly error: TunnelError | undefined } | undefined
  /** What the client sends is granted only while it is read. */
  reading = true

  constructor(stream: MuxStream, body: unknown) {
    this.stream = stream
    this.body = body
    let parts = ""
    const reader = new PieceReader(({ opcode, last, payload }) => {
      parts += opcode === close ? JSON.stringify(readClose(payload)) : new TextDecoder().decode(payload)
      if (!last) return
      this.heard.push([opcode, parts.length > 100 ? parts.length : parts])
      parts = ""
    })
    stream.accept(
      {},
      {
        data: (_, bytes, cost) => {
          this.frames.push(bytes.byteLength)
          reader.push(bytes)
          if (this.reading) stream.consumed(cost)
        },
        finished: () => {
          this.finished = true
        },
        closed: (error) => {
          this.closed = { error }
        },
      },
    )
  }

  head(status = 101, headers: [string, string][] = [], statusText = ""): this {
    this.stream.write(1, encodeHead({ status, statusText, headers }))
    return this
  }

  say(...pieces: readonly Uint8Array[]): this {
    for (const piece of pieces) this.stream.write(2, piece)
    return this
  }
}

let agent: MemoryAgent
beforeEach(() => {
  agent = new MemoryAgent()
})

async function asked(options: object = {}) {
  const answer = agent.agent.webSocket({ ...request, ...options })
  answer.catch(() => {})
  const { stream, body } = await agent.next()
  return { answer, service: new Service(stream, body) }
}

async function opened(options: object = {}): Promise<{ socket: TunnelWebSocket; service: Service }> {
  const { answer, service } = await asked(options)
  service.head()
  const socket = await answer
  if (socket.type !== "open") throw new Error("refused")
  return { socket, service }
}

async function all(messages: ReadableStream<string | Uint8Array>): Promise<unknown[]> {
  const found: unknown[] = []
  for await (const message of messages) found.push(message)
  return found
}

describe("[KW1] [KW2] asking for a WebSocket", () => {
  test("sends the request, and opens with what the service agreed to", async () => {
    const { answer, service } = await asked({ protocols: ["chat", "talk"] })
    expect(service.body).toEqual({ ...request, protocols: ["chat", "talk"] })
    service.head(101, [
      ["Sec-WebSocket-Protocol", "talk"],
      ["Set-Cookie", "a"],
    ])
    expect(await answer).toMatchObject({
      type: "open",
      protocol: "talk",
      headers: [
        ["Sec-WebSocket-Protocol", "talk"],
        ["Set-Cookie", "a"],
      ],
    })
  })

  test("takes an answer that comes byte by byte, a message behind it", async () => {
    const { answer, service } = await asked()
    for (const byte of encodeHead({ status: 101, statusText: "", headers: [] })) {
      service.stream.write(1, Uint8Array.of(byte))
      await settle()
    }
    service.say(encodePiece(text, utf8("hi")), encodeClose(1000, ""))
    service.stream.finish()
    const socket = await answer
    expect(socket.type === "open" && (await all(socket.messages))).toEqual(["hi"])
  })

  test("gives the refusal, its body at the reader's pace, and has nothing to say itself", async () => {
    const { answer, service } = await asked()
    service.head(403, [["x-why", "not you"]], "No")
    service.stream.write(0, utf8("go "))
    const refused = await answer
    service.stream.write(0, utf8("away"))
    service.stream.finish()
    expect(refused).toMatchObject({ type: "refused", status: 403, statusText: "No", headers: [["x-why", "not you"]] })
    expect(refused.type === "refused" && (await new Response(refused.body).text())).toBe("go away")
    await settle()
    expect([service.finished, service.closed]).toEqual([true, { error: undefined }])
  })

  test("fails with what the agent says, also behind half a refusal", async () => {
    const denied = agent.agent.webSocket(request)
    const { stream } = await agent.next()
    stream.reject(new Thrown("denied", "not here"))
    await expect(denied).rejects.toMatchObject({ code: "denied" })
    const { answer, service } = await asked()
    service.head(500)
    const refused = await answer
    if (refused.type !== "refused") throw new Error("open")
    const body = new Response(refused.body).text()
    service.stream.reset(new Thrown("service-failed", "gone"))
    await expect(body).rejects.toMatchObject({ code: "service-failed" })
  })

  test("refuses what is no request before anything is sent", async () => {
    await expect(agent.agent.webSocket({ ...request, path: "no/slash" })).rejects.toMatchObject({ code: "bad-request" })
    await expect(agent.agent.webSocket({ ...request, protocols: ["a b"] })).rejects.toMatchObject({ code: "bad-request" })
    expect(agent.dials).toBe(0)
  })

  test("ends when it is aborted, before the answer and after it", async () => {
    const abort = new AbortController()
    const first = await asked({ signal: abort.signal })
    abort.abort()
    await expect(first.answer).rejects.toMatchObject({ code: "aborted" })
    const later = new AbortController()
    const { socket, service } = await opened({ signal: later.signal })
    later.abort()
    await expect(socket.closed).rejects.toMatchObject({ code: "aborted" })
    await settle()
    expect(service.closed?.error?.code).toBe("aborted")
  })
})

describe("[KW3] sending", () => {
  test("makes pieces that fill frames, in the order of the calls, whoever awaits them", async () => {
    const { socket, service } = await opened()
    const sent = Promise.all([socket.send("a".repeat(200_000)), socket.send(Uint8Array.of(98)), socket.send(""), socket.send("é")])
    await sent
    await settle()
    expect(service.heard).toEqual([
      [text, 200_000],
      [binary, "b"],
      [text, ""],
      [text, "é"],
    ])
    expect(service.frames.slice(0, 3)).toEqual([65_536, 65_536, 65_536])
  })

  test("waits for room, within a message too", async () => {
    const { socket, service } = await opened()
    service.reading = false
    let done = false
    const sent = socket.send(new Uint8Array(8_388_608)).then(() => {
      done = true
    })
    await settle()
    expect(done).toBe(false)
    // A window with the agent and one in the queue here.
    expect(service.frames.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(limits.streamWindowBytes)
    service.stream.reset(new Thrown("service-failed", "gone"))
    await expect(sent).rejects.toMatchObject({ code: "service-failed" })
    expect(done).toBe(false)
  })

  test("refuses what is too large or no message, and the socket goes on", async () => {
    const { socket, service } = await opened()
    await expect(socket.send(new Uint8Array(limits.webSocketMessageBytesMax + 1))).rejects.toMatchObject({ code: "too-large" })
    await expect(socket.send(5 as unknown as string)).rejects.toMatchObject({ code: "bad-request" })
    await socket.send("on")
    await settle()
    expect(service.heard).toEqual([[text, "on"]])
  })
})

describe("[KW3] receiving", () => {
  test("gives whole messages, of parts that come in any bits", async () => {
    const { socket, service } = await opened()
    const pieces = [
      encodePiece(text, utf8("on"), false),
      encodePiece(pong, utf8("nobody asked")),
      encodePiece(text, utf8("e é")),
      encodePiece(binary, Uint8Array.of(1, 2)),
      encodePiece(text, new Uint8Array(0)),
      encodeClose(1000, ""),
    ]
    for (const byte of pieces.flatMap((piece) => [...piece])) service.say(Uint8Array.of(byte))
    service.stream.finish()
    expect(await all(socket.messages)).toEqual(["one é", Uint8Array.of(1, 2), ""])
    await settle()
    expect([service.heard, service.closed]).toEqual([[], { error: undefined }])
  })

  test("lets in no more than the window while nobody reads, and a whole message of any length for one who waits", async () => {
    const { socket, service } = await opened()
    const bytes = new Uint8Array(limits.webSocketMessageBytesMax)
    const write = async () => {
      service.say(pieceHeader(binary, bytes.byteLength))
      for (let at = 0; at < bytes.byteLength; at += 65_536) {
        for (; service.stream.writableBytes === 0; ) await new Promise<void>((resolve) => setImmediate(resolve))
        service.say(bytes.subarray(at, at + 65_536))
      }
    }
    const writing = write()
    await settle()
    expect(service.stream.writableBytes).toBe(0)
    const reader = socket.messages.getReader()
    expect((await reader.read()).value).toHaveLength(bytes.byteLength)
    await writing
    // The next one waits again, with nobody to read it.
    const again = write()
    await settle()
    expect(service.stream.writableBytes).toBe(0)
    expect((await reader.read()).value).toHaveLength(bytes.byteLength)
    await again
  })

  test("of many small messages lets in no more than the window, and then all of them", async () => {
    const { socket, service } = await opened()
    const crowd = Uint8Array.from(Array.from({ length: 1_000 }, () => [...encodePiece(text, utf8("x".repeat(60)))]).flat())
    let crowds = 0
    const reader = socket.messages.getReader()
    const fill = async () => {
      for (let turn = 0; turn < 30; turn++) {
        for (; service.stream.writableBytes > 0 && crowds < 100; crowds++) service.say(crowd)
        await settle()
      }
    }
    await fill()
    expect(crowds).toBeLessThan(20)
    for (let read = 0; read < 1_000 * crowds; read++) expect((await reader.read()).value).toHaveLength(60)
    await fill()
    expect(crowds).toBeGreaterThan(0)
  })

  test("gives what came before the socket broke off, then the error", async () => {
    const { socket, service } = await opened()
    service.say(encodePiece(text, utf8("first")), encodePiece(text, utf8("second")))
    service.stream.finish(webSocketEnd(new Thrown("service-failed", "the service is gone")))
    await expect(socket.closed).rejects.toMatchObject({ code: "service-failed", message: "the service is gone" })
    const reader = socket.messages.getReader()
    expect([await reader.read(), await reader.read()].map(({ value }) => value)).toEqual(["first", "second"])
    await expect(reader.read()).rejects.toMatchObject({ code: "service-failed" })
    await expect(socket.send("late")).rejects.toMatchObject({ code: "service-failed" })
    await settle()
    expect(service.closed?.error?.code).toBe("service-failed")
  })

  test("that has stopped the service, and that its reader then leaves, lets it go on to its goodbye", async () => {
    const { socket, service } = await opened()
    while (service.stream.writableBytes > 0) {
      service.say(encodePiece(binary, new Uint8Array(30_000)))
      await settle()
    }
    service.say(encodeClose(1000, "done"))
    await socket.messages.cancel()
    expect(await socket.closed).toEqual({ code: 1000, reason: "done" })
  })

  test("that its reader leaves goes on unheard, and says goodbye", async () => {
    const { socket, service } = await opened()
    service.say(encodePiece(text, utf8("one")))
    await settle()
    await socket.messages.cancel()
    for (let count = 0; count < 20; count++) {
      for (; service.stream.writableBytes === 0; ) await settle()
      service.say(encodePiece(binary, new Uint8Array(60_000)))
    }
    await settle()
    expect(service.heard).toEqual([[close, JSON.stringify({ code: 1005, reason: "" })]])
    service.say(encodeClose(1000, "bye"))
    service.stream.finish()
    expect(await socket.closed).toEqual({ code: 1000, reason: "bye" })
  })
})

describe("[KW4] goodbyes", () => {
  test("of the service end the messages and the sending, and are answered with an end", async () => {
    const { socket, service } = await opened()
    service.reading = false
    const waiting = socket.send(new Uint8Array(1_000_000))
    await settle()
    service.say(encodePiece(text, utf8("last")), encodeClose(4000, "enough"))
    service.stream.finish()
    await expect(waiting).rejects.toMatchObject({ code: "service-failed" })
    expect(await all(socket.messages)).toEqual(["last"])
    expect(await socket.closed).toEqual({ code: 4000, reason: "enough" })
    socket.close(1000)
  })

  test("of ours go behind what was sent, and what the service still says is heard", async () => {
    const { socket, service } = await opened()
    const sent = socket.send("a".repeat(500_000))
    socket.close(4001, "done")
    socket.close(4002, "again")
    await sent
    await settle()
    expect(service.heard).toEqual([
      [text, 500_000],
      [close, JSON.stringify({ code: 4001, reason: "done" })],
    ])
    expect(service.finished).toBe(true)
    await expect(socket.send("late")).rejects.toMatchObject({ code: "bad-request", delivered: "no" })
    service.say(encodePiece(text, utf8("one more")), encodeClose(4001, ""))
    service.stream.finish()
    expect(await all(socket.messages)).toEqual(["one more"])
    expect(await socket.closed).toEqual({ code: 4001, reason: "" })
    await settle()
    expect(service.closed).toEqual({ error: undefined })
  })

  test.each([999, 1004, 1006, 1015, 2000, 5000, 1.5, Number.NaN])("with code %d are none, and the socket goes on", async (code) => {
    const { socket, service } = await opened()
    expect(() => socket.close(code)).toThrow(expect.objectContaining({ code: "bad-request" }))
    await socket.send("on")
    await settle()
    expect(service.heard).toEqual([[text, "on"]])
  })

  test("need not be said: a reset breaks off", async () => {
    const { socket, service } = await opened()
    socket.reset()
    await expect(socket.closed).rejects.toMatchObject({ code: "aborted" })
    await expect(all(socket.messages)).rejects.toMatchObject({ code: "aborted" })
    await settle()
    expect(service.closed?.error?.code).toBe("aborted")
  })
})

describe("[KW5] a ping of the agent", () => {
  test("is answered, and dropped where there is no room for an answer", async () => {
    const { socket, service } = await opened()
    service.say(encodePiece(ping, utf8("there?")))
    await settle()
    expect(service.heard).toEqual([[pong, "there?"]])
    service.reading = false
    socket.send(new Uint8Array(1_000_000)).catch(() => {})
    for (let count = 0; count < 1_000; count++) service.say(encodePiece(ping, utf8("there?")))
    await settle()
    service.stream.consumed(200_000)
    service.reading = true
    await settle()
    expect(service.heard).toEqual([
      [pong, "there?"],
      [binary, 1_000_000],
    ])
    socket.reset()
  })
})

describe("an agent that breaks the rules", () => {
  test.each<[string, (service: Service) => void]>([
    ["sends messages before the answer", (service) => service.say(encodePiece(text, utf8("x")))],
    ["sends a body with an open socket", (service) => service.head().stream.write(0, utf8("x"))],
    ["answers twice", (service) => service.head().head()],
    ["sends messages behind a refusal", (service) => service.head(404).say(encodePiece(text, utf8("x")))],
    ["uses a tag that is none", (service) => service.head().stream.write(3, utf8("x"))],
    ["sends text that is not UTF-8", (service) => service.head().say(encodePiece(text, Uint8Array.of(0xff)))],
    ["sends a close with a code of its own making", (service) => service.head().say(encodePiece(close, Uint8Array.of(3, 0xee)))],
    ["sends a message that is too long", (service) => service.head().say(pieceHeader(binary, limits.webSocketMessageBytesMax + 1))],
    ["sends behind its close", (service) => service.head().say(encodeClose(1000, ""), encodePiece(text, utf8("x")))],
    ["ends without an answer", (service) => service.stream.finish()],
    ["ends without a close or a reason", (service) => service.head().stream.finish()],
  ])("that %s is reset", async (_, act) => {
    const { answer, service } = await asked()
    act(service)
    await settle()
    expect(service.closed?.error).toMatchObject({ code: "bad-request" })
    await answer.catch((error: unknown) => expect(error).toMatchObject({ code: "bad-request" }))
  })
})
