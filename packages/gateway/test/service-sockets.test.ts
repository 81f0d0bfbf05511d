/** WebSockets to services at agents: messages and closes as they are, both ways. */
import { limits, TunnelError } from "@trunkline/protocol"
import { beforeEach, describe, expect, test } from "vitest"
import { Arrivals } from "./machine.ts"
import { bearer, socketOf } from "./peers.ts"
import { Service, type ServiceSocket } from "./service.ts"

let service: Service
beforeEach(async () => {
  service = await Service.start()
})

/** The client's end, what comes in order. A close comes as `{ code, reason }`. */
class Client {
  readonly socket: WebSocket
  readonly #arrived = new Arrivals<unknown>()

  constructor(socket: WebSocket) {
    this.socket = socket
    socket.binaryType = "arraybuffer"
    socket.addEventListener("message", ({ data }) => this.#arrived.push(typeof data === "string" ? data : new Uint8Array(data)))
    socket.addEventListener("close", ({ code, reason }) => this.#arrived.push({ code, reason }))
    socket.accept({ allowHalfOpen: true })
  }

  next(): Promise<unknown> {
    return this.#arrived.next()
  }
}

const same = (arrived: unknown, sent: Uint8Array): boolean =>
  arrived instanceof Uint8Array && arrived.byteLength === sent.byteLength && arrived.every((byte, at) => byte === sent[at])

const upgrade = (headers: Record<string, string> = {}): Promise<Response> =>
  service.byPath("/socket?x=1", { headers: { ...bearer, upgrade: "websocket", ...headers } })

async function open(): Promise<{ client: Client; socket: ServiceSocket }> {
  const [response, socket] = await Promise.all([upgrade(), service.socket().then((offered) => offered.head(101))])
  return { client: new Client(socketOf(response)), socket }
}

describe("the handshake", () => {
  test("is each leg's own; the subprotocols, the origin and the answer's headers pass", async () => {
    const headers = {
      "sec-websocket-protocol": "one, two",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      "sec-websocket-version": "13",
      "sec-websocket-extensions": "permessage-deflate",
      connection: "Upgrade",
      origin: "https://page.test",
    }
    const answered = service.socket().then((socket) =>
      socket.head(101, [
        ["Sec-WebSocket-Accept", "theirs"],
        ["Sec-WebSocket-Protocol", "two"],
        ["Upgrade", "websocket"],
        ["Set-Cookie", "a=1"],
      ]),
    )
    const [response, { open: asked }] = await Promise.all([upgrade(headers), answered])
    expect(asked).toMatchObject({ target: { service: 3000 }, path: "/socket?x=1", protocols: ["one", "two"] })
    expect(
      asked.headers.map(([name]) => name).filter((name) => name.startsWith("sec-") || ["connection", "upgrade"].includes(name)),
    ).toEqual([])
    expect(Object.fromEntries(asked.headers)).toMatchObject({ origin: "https://page.test", host: "localhost:3000" })
    expect(response.status).toBe(101)
    expect([...response.headers]).toEqual([
      ["sec-websocket-protocol", "two"],
      ["set-cookie", "a=1"],
    ])
    socketOf(response).accept()
  })

  test("that the service refuses is its answer", async () => {
    const refused = service.socket().then((socket) =>
      socket
        .head(403, [["x-why", "no"]], "Nope")
        .body("not so")
        .end(),
    )
    const [response] = await Promise.all([upgrade(), refused])
    expect([response.status, response.statusText, response.headers.get("x-why"), await response.text()]).toEqual([
      403,
      "Nope",
      "no",
      "not so",
    ])
  })

  test("that does not reach the service is a failure like any other", async () => {
    const [response] = await Promise.all([upgrade(), service.reject(new TunnelError("service-refused", "nothing listens"))])
    expect([response.status, response.headers.get("trunkline-error")]).toEqual([502, "service-refused"])
    expect((await upgrade({ authorization: "Bearer wrong" })).status).toBe(401)
  })
})

describe("messages", () => {
  test("pass one for one, as text and as bytes, empty ones too", async () => {
    const { client, socket } = await open()
    for (const message of ["text ü", "", new Uint8Array([0, 255, 1]), new Uint8Array(0)]) {
      client.socket.send(message)
      expect(await socket.next()).toEqual(message)
      socket.send(message)
      expect(await client.next()).toEqual(message)
    }
  })

  test("of many frames arrive whole and in order", async () => {
    const { client, socket } = await open()
    const large = new Uint8Array(1_000_000).map((_, index) => index)
    client.socket.send(large)
    client.socket.send("behind")
    expect(same(await socket.next(), large)).toBe(true)
    expect(await socket.next()).toBe("behind")
    socket.send(large).send("behind")
    expect(same(await client.next(), large)).toBe(true)
    expect(await client.next()).toBe("behind")
  })

  test("that the service does not take end the socket when more wait than one may have", { timeout: 20_000 }, async () => {
    const { client, socket } = await open()
    socket.reading = false
    const message = new Uint8Array(4_194_304)
    for (let sent = 0; sent <= limits.webSocketMessageBytesMax + 2 * message.byteLength; sent += message.byteLength)
      client.socket.send(message)
    expect(await client.next()).toMatchObject({ code: 1013 })
    expect(await socket.closed).toBeInstanceOf(TunnelError)
  })
})

describe("a close", () => {
  test.each([
    [1000, "done"],
    [3001, "länger"],
    [4999, ""],
  ])("of the client with %i reaches the service, and the service's answer the client", async (code, reason) => {
    const { client, socket } = await open()
    client.socket.close(code, reason)
    expect(await socket.next()).toEqual({ code, reason })
    // Half closed: what the service still says is heard.
    socket.send("last words").close(4000, "answered")
    expect(await client.next()).toBe("last words")
    expect(await client.next()).toEqual({ code: 4000, reason: "answered" })
    expect(await socket.closed).toBeUndefined()
  })

  test.each([
    [1000, "done"],
    [1011, "x".repeat(123)],
    [4001, ""],
  ])("of the service with %i reaches the client behind what was sent, and ends the stream", async (code, reason) => {
    const { client, socket } = await open()
    socket.send("before").close(code, reason)
    expect(await client.next()).toBe("before")
    expect(await client.next()).toEqual({ code, reason })
    expect(await socket.closed).toBeUndefined()
  })

  test("without a code stays without one, both ways", async () => {
    const first = await open()
    first.client.socket.close()
    expect(await first.socket.next()).toEqual({ code: 1005, reason: "" })
    const second = await open()
    second.socket.close()
    expect(await second.client.next()).toEqual({ code: 1005, reason: "" })
  })

  test.each([1004, 1006, 1015, 2999])("of the service with %i, which nobody may send, is a plain one for the client", async (code) => {
    const { client, socket } = await open()
    socket.close(code, "odd")
    expect(await client.next()).toMatchObject({ code: expect.toBeOneOf([1000, 1014]) })
  })

  test("that never comes from a service that breaks off is 1014, with the reason", async () => {
    const { client, socket } = await open()
    socket.fail(new TunnelError("service-failed", "it fell over", { delivered: "yes" }))
    expect(await client.next()).toEqual({ code: 1014, reason: "it fell over" })
  })
})
