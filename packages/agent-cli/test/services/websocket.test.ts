/** Streams of the kind websocket between the SDK and real services: messages, handshakes, refusals and goodbyes. */
import { createHash, randomBytes } from "node:crypto"
import { createServer, type IncomingMessage } from "node:http"
import type { TunnelWebSocket, WebSocketRequest } from "@trunkline/client"
import { limits } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { WebSocket } from "ws"
import { settle } from "./settle.ts"
import { WebSocketBench } from "./websocket-bench.ts"

let bench: WebSocketBench
beforeEach(() => {
  bench = new WebSocketBench()
})
afterEach(() => bench.close())

const ask = (port: number, request: Partial<WebSocketRequest> = {}) =>
  bench.agent.webSocket({ target: { service: port }, path: "/", headers: [], ...request })

async function opened(port: number, request: Partial<WebSocketRequest> = {}): Promise<TunnelWebSocket> {
  const socket = await ask(port, request)
  if (socket.type !== "open") throw new Error(`refused with ${socket.status}`)
  return socket
}

async function refused(port: number) {
  const answer = await ask(port)
  if (answer.type !== "refused") throw new Error("not refused")
  return answer
}

const echo = (socket: WebSocket): void => void socket.on("message", (data, binary) => socket.send(data, { binary }))

async function next(socket: TunnelWebSocket): Promise<string | Uint8Array | undefined> {
  const reader = socket.messages.getReader()
  try {
    return (await reader.read()).value
  } finally {
    reader.releaseLock()
  }
}

const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex")

describe("[KW3] messages", () => {
  test.each([
    ["text", "hello é 🦊"],
    ["empty text", ""],
    ["text that begins with a byte order mark", "\u{feff}x"],
    ["binary", Uint8Array.of(0, 255, 128)],
    ["empty binary", new Uint8Array(0)],
    ["a mebibyte of text", "0123456789abcdeé".repeat(65_536)],
    ["eight mebibytes", new Uint8Array(randomBytes(8_388_608))],
    ["the longest there is", new Uint8Array(limits.webSocketMessageBytesMax).fill(7)],
  ])("come back as they were: %s", async (_, message) => {
    const socket = await opened(await bench.service(echo))
    const [, back] = await Promise.all([socket.send(message), next(socket)])
    expect([typeof back, back?.length]).toEqual([typeof message, message.length])
    expect(sha256(back ?? "nothing")).toBe(sha256(message))
  })

  test("keep their order and their ends both ways at once", async () => {
    const sent = Array.from({ length: 300 }, (_, index) => "x".repeat((index * 7_919) % 40_000) + index)
    const heard: string[] = []
    const port = await bench.service((service) => {
      service.on("message", (data) => heard.push(String(data)))
      for (const message of sent) service.send(message)
    })
    const socket = await opened(port)
    const send = async () => {
      for (const message of sent) await socket.send(message)
    }
    const read = async () => {
      const back: unknown[] = []
      while (back.length < sent.length) back.push(await next(socket))
      return back
    }
    const [back] = await Promise.all([read(), send()])
    expect(back).toEqual(sent)
    await bench.until(() => heard.length === sent.length)
    expect(heard).toEqual(sent)
  })

  test("of a service that come in fragments are whole, and pings between them do no harm", async () => {
    const port = await bench.service((service) => {
      for (const [index, part] of ["one ", "", "two ", "three"].entries()) {
        service.send(part, { fin: index === 3 })
        service.ping()
      }
    })
    expect(await next(await opened(port))).toBe("one two three")
  })

  test("of 64 KiB reach a service that knows no fragments, and longer ones one that does", async () => {
    const heard: number[] = []
    const keep = (service: WebSocket) => void service.on("message", (data: Buffer) => heard.push(data.length))
    const plain = await opened(await bench.service(keep, { maxFragments: 1 }))
    await plain.send(new Uint8Array(65_536))
    await plain.send(new Uint8Array(65_536))
    await bench.until(() => heard.length === 2)
    const other = await opened(await bench.service(keep, { maxFragments: 2 }))
    await other.send(new Uint8Array(65_537))
    await bench.until(() => heard.length === 3)
    expect(heard).toEqual([65_536, 65_536, 65_537])
  })
})

describe("[KW1] the handshake", () => {
  async function asking(serve: (request: IncomingMessage) => void = () => {}) {
    let asked: IncomingMessage | undefined
    const port = await bench.service(() => {}, {
      verifyClient: ({ req }: { req: IncomingMessage }) => {
        asked = req
        serve(req)
        return true
      },
    })
    return { port, asked: () => asked }
  }

  test("carries path and headers to the letter, and its own where each leg has its own", async () => {
    const { port, asked } = await asking()
    await opened(port, {
      path: "/a/../b/%2E%2e/[x]?q=^&q='\"",
      headers: [
        ["HOST", "example.test:99"],
        ["Cookie", "a=1"],
        ["X-Two", "1"],
        ["x-two", "2"],
        ["Origin", "https://example.test"],
        ["User-Agent", "stock/1"],
        ["Connection", "keep-alive, Upgrade, X-Hop"],
        ["X-Hop", "1"],
        ["Upgrade", "websocket"],
        ["Sec-WebSocket-Key", "c2VjcmV0IHNlY3JldCEhIQ=="],
        ["Sec-WebSocket-Version", "99"],
        ["Sec-WebSocket-Extensions", "permessage-deflate"],
        ["Sec-WebSocket-Protocol", "smuggled"],
        ["Content-Length", "0"],
      ],
    })
    const { url, rawHeaders = [] } = asked() ?? {}
    expect(url).toBe("/a/../b/%2E%2e/[x]?q=^&q='\"")
    const pairs = Array.from({ length: rawHeaders.length / 2 }, (_, at) => `${rawHeaders[2 * at]}: ${rawHeaders[2 * at + 1]}`)
    expect(pairs.filter((pair) => !pair.startsWith("Sec-WebSocket-Key:")).sort()).toEqual([
      "Connection: Upgrade",
      "Cookie: a=1",
      "HOST: example.test:99",
      "Origin: https://example.test",
      "Sec-WebSocket-Version: 13",
      "Upgrade: websocket",
      "User-Agent: stock/1",
      "X-Two: 1",
      "X-Two: 2",
    ])
    expect(pairs.join()).not.toContain("c2VjcmV0")
  })

  test("says the service's own place as host where the client says none", async () => {
    const { port, asked } = await asking()
    await opened(port)
    expect(asked()?.headers.host).toBe(`localhost:${port}`)
  })

  test("brings the service's headers back, less those of the connection", async () => {
    const port = await bench.byHand({
      headers: ["X-Hop: 1", "Connection: X-Hop", "Set-Cookie: a=1", "Set-Cookie: b=2", `X-Long: ${"x".repeat(100_000)}`],
    })
    const socket = await opened(port)
    expect(socket.headers).toEqual([
      ["Set-Cookie", "a=1"],
      ["Set-Cookie", "b=2"],
      ["X-Long", "x".repeat(100_000)],
    ])
  })

  test.each([
    ["the second of those asked for", ["one", "two"], "two"],
    ["none where some were asked for", ["one"], ""],
    ["one nobody asked for", ["one"], "other"],
    ["one where none was asked for", [], "other"],
    ["one of a list that names it twice", ["one", "one"], "one"],
  ])("leaves the subprotocol to the service and its client: %s", async (_, protocols, agreed) => {
    let asked: string | undefined
    const port = await bench.byHand({
      headers: agreed === "" ? [] : [`Sec-WebSocket-Protocol: ${agreed}`],
      serve: (_, request) => {
        asked = request.headers["sec-websocket-protocol"]
      },
    })
    const socket = await opened(port, { protocols })
    expect([asked, socket.protocol]).toEqual([protocols.length === 0 ? undefined : protocols.join(", "), agreed])
  })

  test("asks for no subprotocol where the client asks for none", async () => {
    const { port, asked } = await asking()
    expect((await opened(port)).protocol).toBe("")
    expect(asked()?.headers["sec-websocket-protocol"]).toBeUndefined()
  })
})

describe("[KW2] a refusal", () => {
  const answering = (status: number, headers: Record<string, string | string[]>, body: string | Uint8Array) =>
    bench.listen(createServer((_, response) => response.writeHead(status, headers).end(body)))

  test.each([
    [401, { "www-authenticate": "Basic", "set-cookie": ["a", "b"] }, "who are you?"],
    [404, {}, ""],
    [426, { "sec-websocket-version": "99" }, "newer, please"],
    [301, { location: "/elsewhere" }, "moved"],
    [200, { "content-type": "text/plain" }, "no WebSocket here"],
    [503, { "content-encoding": "gzip" }, "not touched"],
  ])("with %i is passed on as it is", async (status, headers, body) => {
    const answer = await refused(await answering(status, headers, body))
    expect(answer.status).toBe(status)
    for (const [name, value] of Object.entries(headers)) {
      expect(answer.headers.filter(([other]) => other === name).map(([, found]) => found)).toEqual([value].flat())
    }
    expect(await new Response(answer.body).text()).toBe(body)
  })

  test("is read at its reader's pace, to the last byte", async () => {
    const bytes = new Uint8Array(randomBytes(16_777_216))
    let sent: { readonly writableLength: number } | undefined
    const port = await bench.listen(
      createServer((_, response) => {
        response.end(bytes)
        sent = response.socket ?? undefined
      }),
    )
    const answer = await refused(port)
    await settle(500)
    expect(sent?.writableLength).toBeGreaterThan(8_388_608)
    expect(sha256(new Uint8Array(await new Response(answer.body).arrayBuffer()))).toBe(sha256(bytes))
  })

  test("that breaks off is no whole answer", async () => {
    const port = await bench.tcp((socket) => {
      socket.once("data", () => socket.end("HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nhalf"))
    })
    const answer = await refused(port)
    await expect(new Response(answer.body).text()).rejects.toMatchObject({ code: "service-failed" })
  })

  test("whose body stops is given up", async () => {
    bench.settings = { ...bench.settings, idleMs: 50 }
    const answer = await refused(await bench.tcp((socket) => void socket.write("HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nhalf")))
    await expect(new Response(answer.body).text()).rejects.toMatchObject({ code: "service-timeout" })
  })

  test("whose reader leaves lets the service go", async () => {
    let gone = false
    const port = await bench.listen(
      createServer((_, response) => {
        response.on("close", () => {
          gone = true
          bench.changed()
        })
        response.write("a beginning")
      }),
    )
    const answer = await refused(port)
    await answer.body.cancel()
    await bench.until(() => gone)
  })
})

describe("[KW4] a close", () => {
  test.each([
    [1000, ""],
    [1000, "done"],
    [1001, "leaving, ñ"],
    [1011, "x".repeat(123)],
    [3000, ""],
    [4999, "mine"],
    [1005, ""],
  ])("of the service with %i %j is heard behind its last message", async (code, reason) => {
    const port = await bench.service((service) => {
      service.send("last")
      if (code === 1005) service.close()
      else service.close(code, reason)
    })
    const socket = await opened(port)
    const messages: unknown[] = []
    for await (const message of socket.messages) messages.push(message)
    expect(messages).toEqual(["last"])
    expect(await socket.closed).toEqual({ code, reason })
    await expect(socket.send("late")).rejects.toMatchObject({ code: "service-failed" })
  })

  test.each([
    [1000, "", 1000, ""],
    [1001, "done", 1001, "done"],
    [4321, "é".repeat(100), 4321, "é".repeat(61)],
    [undefined, undefined, 1005, ""],
  ])("of the client with %s %j reaches the service behind what was sent", async (code, reason, heardCode, heardReason) => {
    const heard: unknown[] = []
    const port = await bench.service((service) => {
      service.on("message", (data: Buffer) => heard.push(data.length))
      service.on("close", (...close) => heard.push([close[0], String(close[1])]))
    })
    const socket = await opened(port)
    const sent = socket.send(new Uint8Array(1_000_000))
    socket.close(code, reason)
    await sent
    await expect(socket.send("late")).rejects.toMatchObject({ code: "bad-request" })
    expect(await socket.closed).toEqual({ code: heardCode, reason: heardReason })
    await bench.until(() => heard.length === 2)
    expect(heard).toEqual([1_000_000, [heardCode, heardReason]])
  })

  test("of the client leaves the service its last words", async () => {
    const port = await bench.byHand({
      serve: (connection) =>
        // Close, then: text "hi", close 1000.
        void connection.on(
          "data",
          (frame: Buffer) => frame[0] === 0x88 && connection.end(Uint8Array.of(0x81, 2, 104, 105, 0x88, 2, 3, 232)),
        ),
    })
    const socket = await opened(port)
    socket.close(4000)
    const messages: unknown[] = []
    for await (const message of socket.messages) messages.push(message)
    expect([messages, await socket.closed]).toEqual([["hi"], { code: 1000, reason: "" }])
  })

  test("that never comes is a failure: the service breaks off", async () => {
    const port = await bench.service((service) => service.send("first", () => service.terminate()))
    const socket = await opened(port)
    const messages: unknown[] = []
    const read = (async () => {
      for await (const message of socket.messages) messages.push(message)
    })()
    await expect(read).rejects.toMatchObject({ code: "service-failed" })
    await expect(socket.closed).rejects.toMatchObject({ code: "service-failed" })
    expect(messages).toEqual(["first"])
  })

  test("that never comes is one to the service: the client breaks off", async () => {
    const codes: number[] = []
    const port = await bench.service((service) => void service.on("close", (code) => codes.push(code)))
    const socket = await opened(port)
    socket.reset()
    await bench.until(() => codes.length === 1)
    expect(codes).toEqual([1006])
    await expect(socket.closed).rejects.toMatchObject({ code: "aborted" })
    await expect(socket.send("late")).rejects.toMatchObject({ code: "aborted" })
  })
})

describe("[KW5] pings", () => {
  test("of the service are answered by the agent", async () => {
    const pongs: string[] = []
    const port = await bench.service((service) => {
      service.on("pong", (payload) => pongs.push(String(payload)))
      service.ping("are you there?")
    })
    await opened(port)
    await bench.until(() => pongs.length > 0)
    expect(pongs).toEqual(["are you there?"])
  })
})

describe("[FC1] a slow side", () => {
  const part = new Uint8Array(65_536)
  const parts = 512

  test("that does not read holds the service up, and then gets all of it", async () => {
    let service: WebSocket | undefined
    const port = await bench.service((accepted) => {
      service = accepted
      for (let count = 0; count < parts; count++) accepted.send(part)
      accepted.close(1000)
    })
    const socket = await opened(port)
    await settle(300)
    expect(service?.bufferedAmount).toBeGreaterThan((parts * part.byteLength) / 2)
    let bytes = 0
    for await (const message of socket.messages) bytes += message.length
    expect([bytes, await socket.closed]).toEqual([parts * part.byteLength, { code: 1000, reason: "" }])
  })

  test("that is the service holds the client up, and then gets all of it", async () => {
    let service: WebSocket | undefined
    let heardBytes = 0
    const port = await bench.service((accepted) => {
      service = accepted
      accepted.pause()
      accepted.on("message", (data: Buffer) => {
        heardBytes += data.length
      })
    })
    const socket = await opened(port)
    let sent = 0
    const sending = (async () => {
      for (; sent < parts; sent++) await socket.send(part)
    })()
    await settle(300)
    expect(sent * part.byteLength).toBeLessThan((parts * part.byteLength) / 2)
    service?.resume()
    await sending
    await bench.until(() => heardBytes === parts * part.byteLength)
  })
})
