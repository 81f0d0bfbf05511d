/** Both dials against real sockets: what every transport owes a link, how a dial fails, and how a socket is left. */
import { once } from "node:events"
import type { Duplex } from "node:stream"
import type { TransportEvents } from "@trunkline/protocol"
import { type OpenTransports, registerTransportConformance } from "@trunkline/protocol/testing"
import { afterEach, describe, expect, test } from "vitest"
import type { WebSocket } from "ws"
import type { Dial, Socket, SocketEvents } from "../src/dial.ts"
import { dialNode } from "../src/transports/node.ts"
import { dialWeb } from "../src/transports/web.ts"
import { acceptKey, type LoopbackAnswers, LoopbackGateway } from "./loopback-gateway.ts"

const gateways: LoopbackGateway[] = []
const start = async (answers?: LoopbackAnswers): Promise<LoopbackGateway> => {
  const gateway = await LoopbackGateway.start(answers)
  gateways.push(gateway)
  return gateway
}
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.stop()
})

const deaf: SocketEvents = { message() {}, drained() {}, closed() {} }
const dials: readonly (readonly [string, Dial])[] = [
  ["dialNode", dialNode],
  ["dialWeb", dialWeb(fetch)],
]

const targetOf = (gateway: URL, signal = new AbortController().signal) => ({ gateway, agent: "box", token: "secret", signal })

/** The far end as a transport, as plain as can be. */
function far(socket: WebSocket, events: TransportEvents) {
  socket.on("message", (data, binary) => {
    if (binary && data instanceof Buffer) events.message(data)
  })
  socket.on("close", (code, reason) => events.closed(code, reason.toString()))
  return {
    send: (message: Uint8Array) => socket.send(message, () => events.drained()),
    get bufferedBytes() {
      return socket.bufferedAmount
    },
    close: (code: number, reason: string) => socket.close(code, reason),
  }
}

const openWith =
  (dial: Dial): OpenTransports =>
  async (left, right) => {
    const gateway = await LoopbackGateway.start()
    const accepted = gateway.accepted().then((socket) => far(socket, right))
    const near: Socket = await dial(targetOf(gateway.url), {
      message: (message) => typeof message === "string" || left.message(message),
      drained: () => left.drained(),
      closed: (code, reason) => left.closed(code, reason),
    })
    return { left: near, right: await accepted, dispose: () => gateway.stop() }
  }

for (const [name, dial] of dials) {
  describe(name, () => {
    registerTransportConformance(test, openWith(dial))

    test("asks at a gateway below a path, with the protocol's name and no token in the URL", async () => {
      const gateway = await start()
      await dial(targetOf(new URL("below/here/", gateway.url)), deaf)
      const { url, headers } = gateway.requests.at(-1) ?? {}
      expect(url).toBe("/below/here/v1/agents/box/link")
      expect(headers?.["sec-websocket-protocol"]).toMatch(/^trunkline\.v1/)
      for (const request of gateway.requests) expect(request.url).not.toContain("secret")
      expect(gateway.requests[0]?.headers.authorization).toBe("Bearer secret")
    })

    test("rejects with gateway-unreachable where nobody listens", async () => {
      const gateway = await LoopbackGateway.start()
      await gateway.stop()
      await expect(dial(targetOf(gateway.url), deaf)).rejects.toMatchObject({ code: "gateway-unreachable", delivered: "no" })
    })

    test("ends at an abort before, and while the gateway does not answer", async () => {
      const silent = await start({ request() {}, upgrade() {} })
      await expect(dial(targetOf(silent.url, AbortSignal.abort()), deaf)).rejects.toThrow()
      const abort = new AbortController()
      const asked = dial(targetOf(silent.url, abort.signal), deaf)
      asked.catch(() => {})
      while (silent.requests.length === 0) await new Promise((resolve) => setImmediate(resolve))
      abort.abort()
      await expect(asked).rejects.toThrow()
    })

    test("tells nothing after its own close", async () => {
      const gateway = await start()
      const accepted = gateway.accepted()
      const heard: string[] = []
      const socket = await dial(targetOf(gateway.url), {
        message: () => heard.push("message"),
        drained: () => heard.push("drained"),
        closed: () => heard.push("closed"),
      })
      const other = await accepted
      socket.close(1000, "done")
      other.send("late")
      await once(other, "close")
      await new Promise((resolve) => setImmediate(resolve))
      expect(heard).toEqual([])
    })

    test.each([1000, 1002, 1009, 1012, 4029])("closes with %i without a throw, allowed or not", async (code) => {
      const gateway = await start()
      const accepted = gateway.accepted()
      const socket = await dial(targetOf(gateway.url), deaf)
      const closed = once(await accepted, "close")
      socket.close(code, "why")
      socket.send("nothing")
      await closed
    })
  })
}

describe("dialNode", () => {
  const answerWith = (head: string, body: string) => (_: unknown, socket: { end(text: string): void }) =>
    socket.end(`HTTP/1.1 ${head}\r\nconnection: close\r\n\r\n${body}`)
  const errorBody = (code: string, retryable: boolean) => JSON.stringify({ error: { code, message: "because", retryable } })

  test.each([
    ["401 Unauthorized", errorBody("unauthorised", false), { code: "unauthorised", message: "because", retryable: false }],
    ["404 Not Found", errorBody("agent-unknown", false), { code: "agent-unknown", retryable: false }],
    ["503 Service Unavailable", errorBody("agent-offline", true), { code: "agent-offline", retryable: true }],
    ["502 Bad Gateway", "<html>nginx</html>", { code: "gateway-unreachable", retryable: true }],
    ["404 Not Found", "<html>nginx</html>", { code: "protocol-error", retryable: false }],
    ["400 Bad Request", "", { code: "protocol-error", retryable: false }],
    ["200 OK", errorBody("nonsense", true), { code: "protocol-error", retryable: false }],
  ])("rejects the answer %s with what it says", async (head, body, error) => {
    const gateway = await start({ upgrade: answerWith(head, body) })
    await expect(dialNode(targetOf(gateway.url), deaf)).rejects.toMatchObject(error)
  })

  test("ends at an abort while a refusal's body does not come", async () => {
    const gateway = await start({ upgrade: (_, socket) => void socket.write("HTTP/1.1 503 Oh\r\ncontent-length: 100\r\n\r\nhalf") })
    const abort = new AbortController()
    const asked = dialNode(targetOf(gateway.url, abort.signal), deaf)
    asked.catch(() => {})
    while (gateway.requests.length === 0) await new Promise((resolve) => setImmediate(resolve))
    abort.abort()
    await expect(asked).rejects.toMatchObject({ code: "gateway-unreachable" })
  })

  // Longer than it takes, and shorter than the 30 s after which the library would.
  describe("with a far end that keeps the connection for ever", { timeout: 15_000 }, () => {
    test("hangs up by itself after a close", async () => {
      const far = await silentFarEnd()
      const socket = await dialNode(targetOf(far.url), deaf)
      socket.close(1000, "done")
      await far.ended
    })

    test("tells of the far end's close without waiting for more", async () => {
      const far = await silentFarEnd()
      const closed = Promise.withResolvers<number>()
      await dialNode(targetOf(far.url), { ...deaf, closed: (code) => closed.resolve(code) })
      // A close frame with the code 4029.
      far.say(Buffer.of(0x88, 0x02, 0x0f, 0xbd))
      expect(await closed.promise).toBe(4029)
      await far.ended
    })
  })
})

/** Shakes hands and says nothing more but what the test says, whatever it hears. `ended`: we have hung up. */
async function silentFarEnd() {
  const ended = Promise.withResolvers<void>()
  let connection: Duplex | undefined
  const gateway = await start({
    upgrade(request, socket) {
      const head = ["101 Switching Protocols", "upgrade: websocket", "connection: upgrade", `sec-websocket-accept: ${acceptKey(request)}`]
      socket.write(`HTTP/1.1 ${head.join("\r\n")}\r\nsec-websocket-protocol: trunkline.v1\r\n\r\n`)
      connection = socket
      socket
        .on("end", ended.resolve)
        .on("error", () => ended.resolve())
        .resume()
    },
  })
  return { url: gateway.url, ended: ended.promise, say: (bytes: Buffer) => connection?.write(bytes) }
}

describe("dialWeb", () => {
  test.each([
    ["no ticket", "{}"],
    ["one that fits in no header", JSON.stringify({ ticket: "a, b" })],
    ["no JSON", "<html>"],
  ])("rejects a gateway that gives %s", async (_, body) => {
    const gateway = await start({ request: (__, response) => void response.end(body) })
    await expect(dialWeb(fetch)(targetOf(gateway.url), deaf)).rejects.toMatchObject({ code: "protocol-error" })
  })

  test("says why a handshake failed, as far as the gateway's own record tells", async () => {
    let known = true
    const gateway = await start({
      request(request, response) {
        if (request.url === "/v1/tickets") return void response.end(JSON.stringify({ ticket: "a.b" }))
        response.statusCode = known ? 200 : 404
        response.end(JSON.stringify(known ? { name: "box" } : { error: { code: "agent-unknown", message: "no such agent" } }))
      },
      upgrade: (_, socket) => void socket.end("HTTP/1.1 503 Oh\r\nconnection: close\r\n\r\n"),
    })
    await expect(dialWeb(fetch)(targetOf(gateway.url), deaf)).rejects.toMatchObject({ code: "agent-offline", retryable: true })
    known = false
    await expect(dialWeb(fetch)(targetOf(gateway.url), deaf)).rejects.toMatchObject({ code: "agent-unknown" })
  })

  test("says that nothing waits where the runtime does not count", async () => {
    const gateway = await start()
    const descriptor = Object.getOwnPropertyDescriptor(globalThis.WebSocket.prototype, "bufferedAmount")
    if (descriptor === undefined) throw new Error("no such property")
    Object.defineProperty(globalThis.WebSocket.prototype, "bufferedAmount", { ...descriptor, get: () => undefined })
    try {
      expect((await dialWeb(fetch)(targetOf(gateway.url), deaf)).bufferedBytes).toBe(0)
    } finally {
      Object.defineProperty(globalThis.WebSocket.prototype, "bufferedAmount", descriptor)
    }
  })
})
