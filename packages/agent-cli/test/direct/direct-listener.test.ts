/** The listener as clients find it: who is let in, in which order others are refused, and what those who are in may do. */
import { once } from "node:events"
import { connect } from "node:net"
import { endpointName, limits, silentLogger } from "@trunkline/protocol"
import { VirtualClock } from "@trunkline/protocol/testing"
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest"
import { type ClientOptions, WebSocket } from "ws"
import { Switchboard } from "../../src/agent/switchboard.ts"
import { secretAccess } from "../../src/direct/access.ts"
import { DirectClients } from "../../src/direct/direct-clients.ts"
import { DirectListener, type DirectListenerOptions } from "../../src/direct/direct-listener.ts"
import { Tickets } from "../../src/direct/tickets.ts"
import { linkMessage, RecordedKeeper } from "./recorded-keeper.ts"

let listener: DirectListener
let keeper: RecordedKeeper
let clients: DirectClients
let clock: VirtualClock
const epochMs = () => 1_800_000_000_000 + clock.now()

async function listen(more: Partial<DirectListenerOptions> = {}): Promise<void> {
  const name = endpointName("box")
  if (name === undefined) throw new Error("not a name")
  const host = { hostname: "h", os: "linux", arch: "x64" }
  listener = await DirectListener.listen({
    host: "127.0.0.1",
    port: 0,
    name,
    version: "1.2.3",
    access: secretAccess("secret"),
    logger: silentLogger,
    api: { tickets: new Tickets(epochMs), labels: { role: "ci" }, host, epochMs },
    ...more,
  })
  keeper = new RecordedKeeper()
  clients = new DirectClients({ board: new Switchboard(keeper), clock, instance: "keeper-1", version: "1.2.3" })
  listener.open(clients, "keeper-1")
}

beforeEach(async () => {
  clock = new VirtualClock()
  await listen()
})
afterEach(async () => {
  clients.close(1000, "")
  await listener.close()
})

const bearer = { authorization: "Bearer secret" }
const path = "/v1/agents/box/link"

class Client {
  readonly socket: WebSocket
  readonly texts: string[] = []
  readonly binaries: Buffer[] = []
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  readonly #waiting: (() => void)[] = []

  constructor(headers: Record<string, string> = bearer, protocols: readonly string[] = ["trunkline.v1"], at = path) {
    const options: ClientOptions = { headers, perMessageDeflate: false }
    this.socket = new WebSocket(`${listener.url.replace("http", "ws")}${at}`, [...protocols], options)
    this.closed = new Promise((resolve) => this.socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() })))
    this.socket.on("error", () => {})
    this.socket.on("message", (data, binary) => {
      if (!(data instanceof Buffer)) return
      if (binary) this.binaries.push(data)
      else this.texts.push(data.toString())
      for (const wake of this.#waiting.splice(0)) wake()
    })
  }

  async until(holds: (client: Client) => boolean): Promise<void> {
    while (!holds(this)) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  static async ready(): Promise<Client> {
    const client = new Client()
    await client.until(({ texts }) => texts.length > 0)
    return client
  }
}

/** The status and code of a refused upgrade. */
async function refusal(
  headers: Record<string, string>,
  at = path,
  protocols: readonly string[] = [],
): Promise<[number | undefined, string]> {
  const { socket } = new Client(headers, protocols, at)
  const [, response] = await once(socket, "unexpected-response")
  let body = ""
  for await (const chunk of response) body += chunk
  return [response.statusCode, JSON.parse(body).error.code]
}

const call = (at: string, init: RequestInit = {}): Promise<Response> => fetch(new URL(at, listener.url), init)
const codeOf = async (response: Response): Promise<[number, string]> => [
  response.status,
  ((await response.json()) as { error: { code: string } }).error.code,
]

describe("refusals", () => {
  test("[DR5] come in the gateway's order: name, credential, upgrade, version, whose agent", async () => {
    expect(await refusal({}, "/v1/agents/Not_A_Name/link")).toEqual([400, "bad-name"])
    expect(await refusal({}, "/v1/agents/other/link")).toEqual([401, "unauthorised"])
    expect(await refusal({ authorization: "Bearer wrong" })).toEqual([401, "unauthorised"])
    expect(await refusal({ authorization: "Basic secret" })).toEqual([401, "unauthorised"])
    expect(await refusal({}, `${path}?token=secret&secret=secret`)).toEqual([401, "unauthorised"])
    expect(await codeOf(await call(path))).toEqual([401, "unauthorised"])
    expect(await codeOf(await call(path, { headers: bearer }))).toEqual([426, "upgrade-required"])
    expect(await refusal(bearer, "/v1/agents/other/link")).toEqual([404, "agent-unknown"])
    expect(await refusal(bearer, "/elsewhere")).toEqual([404, "not-found"])
    const old = new Client(bearer, ["trunkline.v7"], "/v1/agents/other/link")
    expect(await old.closed).toEqual({ code: 4026, reason: "this agent speaks trunkline.v1 only" })
    expect(keeper.told).toEqual(["connected"])
  })

  test("a page of any origin needs a ticket: its browser brings nothing by itself", async () => {
    expect(await refusal({ origin: "https://evil.example", cookie: "secret=secret" })).toEqual([401, "unauthorised"])
    expect(await refusal({ origin: "https://evil.example" }, path, ["trunkline.v1", "trunkline.ticket.guess"])).toEqual([
      401,
      "unauthorised",
    ])
  })

  test("an agent without a keeper, about to stop, or full, says so", async () => {
    listener.away()
    expect(await refusal(bearer)).toEqual([503, "agent-away"])
    listener.open(Object.create(clients, { count: { value: limits.clientsMax } }), "keeper-1")
    expect(await refusal(bearer)).toEqual([503, "too-many-clients"])
    listener.open(clients, "keeper-1")
    const inside = await Client.ready()
    listener.drain()
    clients.drain()
    expect(await refusal(bearer)).toEqual([503, "agent-draining"])
    await inside.until(({ texts }) => texts.length > 1)
    expect(JSON.parse(inside.texts[1] ?? "")).toEqual({ type: "agent-state", state: "draining", generation: 1 })
    clients.stop()
    expect(await inside.closed).toEqual({ code: 1000, reason: "agent stopped" })
    expect(JSON.parse(inside.texts[2] ?? "")).toMatchObject({ state: "stopped" })
  })

  test("a peer that says nothing, or half a request, is hung up on", { timeout: 20_000 }, async () => {
    const { hostname, port } = new URL(listener.url)
    const half = connect(Number(port), hostname)
    half.on("error", () => {})
    half.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n`)
    half.resume()
    await once(half, "close")
  })

  test("who is refused and does not leave is hung up on: it would take a place, and keep the agent from stopping", async () => {
    const { hostname, port } = new URL(listener.url)
    // It does not close when the other end does.
    const peer = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
    const closed = new Promise((resolve) => peer.on("error", () => {}).on("close", resolve))
    peer.resume()
    peer.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`)
    await once(peer, "end")
    // A connection that is gone answers this with a reset.
    const poke = setInterval(() => peer.write("x"), 50)
    onTestFinished(() => clearInterval(poke))
    await closed
  })

  test("[DR5] a client of another version that goes on with what is no frame is no fault", async () => {
    const { hostname, port } = new URL(listener.url)
    const peer = connect(Number(port), hostname)
    peer.resume()
    const handshake = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: trunkline.v7"
    peer.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer secret\r\n${handshake}\r\n\r\n`,
    )
    peer.write(Buffer.alloc(6, 0xff))
    await once(peer, "close")
    expect((await call("/healthz")).status).toBe(200)
  })

  test("a handshake that is malformed is refused, and one that is given up is no fault", async () => {
    const { hostname, port } = new URL(listener.url)
    for (const head of [
      "Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 1",
    ]) {
      const socket = connect(Number(port), hostname)
      let heard = ""
      socket.on("data", (chunk) => {
        heard += chunk
      })
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer secret\r\n${head}\r\n\r\n`,
      )
      await once(socket, "close")
      expect(heard).toMatch(/^HTTP\/1\.1 4\d\d /)
    }
    const gone = connect(Number(port), hostname)
    gone.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`)
    gone.resetAndDestroy()
    expect(await refusal({})).toEqual([401, "unauthorised"])
  })
})

describe("a client that is in", () => {
  test("[DR1] hears ready first, then what the keeper sends at its slot, as slot 0", async () => {
    const client = await Client.ready()
    expect(JSON.parse(client.texts[0] ?? "")).toEqual({
      type: "ready",
      protocol: 1,
      agent: "here",
      generation: 1,
      instance: "keeper-1",
      version: "1.2.3",
    })
    expect(client.socket.protocol).toBe("trunkline.v1")
    client.socket.send(linkMessage(77, "to the agent"))
    await keeper.until((told) => told.includes("message 1 to the agent"))
    expect(keeper.told[1]).toBe("attached 1 direct")
    keeper.leg.send(linkMessage(1, "to the client"))
    await client.until(({ binaries }) => binaries.length > 0)
    expect(client.binaries[0]).toEqual(linkMessage(0, "to the client"))
    client.socket.close()
    await keeper.until((told) => told.includes("detached 1"))
  })

  test("gets what was sent, also where it waits while the keeper fills its buffer anew", async () => {
    const client = await Client.ready()
    client.socket.pause()
    const message = linkMessage(1, "x".repeat(1_000_000))
    // One more than the bound lets wait; the kernel takes a few.
    const letters = [..."abcdefghi"]
    for (const letter of letters) {
      message.fill(letter, 16).writeUInt32BE(1, 0)
      keeper.leg.send(message)
    }
    message.fill(0)
    client.socket.resume()
    await client.until(({ binaries }) => binaries.length === letters.length)
    expect(client.binaries.map((bytes) => [bytes.toString("latin1", 16, 17), bytes.toString("latin1").slice(-1)])).toEqual(
      letters.map((letter) => [letter, letter]),
    )
  })

  test("is answered in text and by the protocol's own pings, and may say no other word", async () => {
    const client = await Client.ready()
    client.socket.send("ping")
    await client.until(({ texts }) => texts.includes("pong"))
    client.socket.ping("are you there")
    expect(String((await once(client.socket, "pong"))[0])).toBe("are you there")
    client.socket.send("hello")
    expect(await client.closed).toMatchObject({ code: 1002 })
  })

  test.each([
    ["a message without a header", Buffer.alloc(15), 1002],
    ["a message above a mebibyte", Buffer.alloc(limits.messageBytesMax + 1), 1009],
  ])("is closed for %s, and the others go on", async (_, message, code) => {
    const other = await Client.ready()
    const client = await Client.ready()
    client.socket.send(message)
    expect(await client.closed).toMatchObject({ code })
    await keeper.until((told) => told.includes("detached 2"))
    other.socket.send(linkMessage(0, "here"))
    await keeper.until((told) => told.includes("message 1 here"))
  })

  test("that does not read is closed with 4029 above the gateway's bound, and holds nobody up", async () => {
    const slow = await Client.ready()
    const other = await Client.ready()
    slow.socket.pause()
    const message = linkMessage(1, "x".repeat(1_000_000))
    let sent = 0
    // The kernel takes some megabytes; the bound is on what it has not taken.
    while (!keeper.told.includes("detached 1") && sent < 100) {
      message.writeUInt32BE(1, 0)
      keeper.leg.send(message)
      sent += 1
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(keeper.leg.bufferedBytes).toBe(0)
    keeper.leg.send(linkMessage(2, "meanwhile"))
    await other.until(({ binaries }) => binaries.length > 0)
    slow.socket.resume()
    expect(await slow.closed).toMatchObject({ code: 4029 })
    expect(slow.binaries.length).toBeLessThan(100)
  })

  test("[DR1] that is silent for longer than clients ever are is taken for gone", async () => {
    const silent = await Client.ready()
    clock.run(limits.pingIntervalMs)
    const other = await Client.ready()
    other.socket.send("ping")
    await other.until(({ texts }) => texts.includes("pong"))
    clock.run(limits.pingDeadMs + limits.pingIntervalMs)
    expect(await silent.closed).toMatchObject({ code: 1006 })
    expect(other.socket.readyState).toBe(WebSocket.OPEN)
    await keeper.until((told) => told.includes("detached 1"))
  })

  test("is read no further than the keeper takes", async () => {
    const client = await Client.ready()
    keeper.leg.setReading(false)
    const late = await Client.ready()
    client.socket.send(linkMessage(0, "waits"))
    late.socket.send(linkMessage(0, "waits too"))
    // The event loop has been round many times before a client that is read could not have been.
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(keeper.told.some((what) => what.startsWith("message"))).toBe(false)
    keeper.leg.setReading(true)
    await keeper.until((told) => told.includes("message 1 waits") && told.includes("message 2 waits too"))
  })
})

describe("the API of an agent without a gateway", () => {
  test("lists itself, to who has the secret", async () => {
    expect((await call("/v1/endpoints")).status).toBe(401)
    const { endpoints, cursor } = (await (await call("/v1/endpoints", { headers: bearer })).json()) as { endpoints: object[]; cursor: null }
    expect(cursor).toBeNull()
    expect(endpoints).toEqual([
      expect.objectContaining({ name: "box", status: "online", mode: "direct", labels: { role: "ci" }, clients: 0 }),
    ])
    for (const [query, rows] of [
      ["label=role=ci&status=online", 1],
      ["label=role=other", 0],
      ["label=constructor=x", 0],
      ["status=offline", 0],
    ] as const) {
      const page = (await (await call(`/v1/endpoints?${query}`, { headers: bearer })).json()) as { endpoints: object[] }
      expect(page.endpoints, query).toHaveLength(rows)
    }
    expect(await codeOf(await call("/v1/endpoints?label=none", { headers: bearer }))).toEqual([400, "bad-request"])
    expect(await codeOf(await call("/v1/endpoints/Not_A_Name"))).toEqual([400, "bad-name"])
    expect(await codeOf(await call("/v1/endpoints/other", { headers: bearer }))).toEqual([404, "agent-unknown"])
    expect(await (await call("/v1/endpoints/box", { headers: bearer })).json()).toMatchObject({
      instance: "keeper-1",
      host: { os: "linux" },
    })
  })

  test("gives tickets, each good for one connection within a minute", async () => {
    const mint = (body: string) => call("/v1/tickets", { method: "POST", headers: bearer, body })
    const given = (await (await mint(JSON.stringify({ agent: "box" }))).json()) as { ticket: string; expiresAt: number }
    const protocols = (ticket: string) => ["trunkline.v1", `trunkline.ticket.${ticket}`]
    const client = new Client({ origin: "https://dashboard.example" }, protocols(given.ticket))
    await client.until(({ texts }) => texts.length > 0)
    expect(client.socket.protocol).toBe("trunkline.v1")
    expect(await refusal({}, path, protocols(given.ticket))).toEqual([401, "unauthorised"])
    const late = (await (await mint(JSON.stringify({ agent: "box" }))).json()) as { ticket: string }
    clock.run(60_000)
    expect(await refusal({}, path, protocols(late.ticket))).toEqual([401, "unauthorised"])
    expect(await codeOf(await mint("nonsense"))).toEqual([400, "bad-request"])
    expect(await codeOf(await mint("null"))).toEqual([400, "bad-name"])
    expect(await codeOf(await mint(JSON.stringify({ agent: "other" })))).toEqual([404, "agent-unknown"])
    expect(await codeOf(await mint("x".repeat(16_385)))).toEqual([413, "too-large"])
    expect((await call("/v1/tickets", { method: "POST", body: "{}" })).status).toBe(401)
  })

  test("is there for pages, and for nothing that is not in it", async () => {
    const preflight = await call("/v1/tickets", { method: "OPTIONS", headers: { origin: "https://dashboard.example" } })
    expect([preflight.status, preflight.headers.get("access-control-allow-methods")]).toEqual([204, "POST"])
    expect((await call("/v1/endpoints", { headers: bearer })).headers.get("access-control-allow-origin")).toBe("*")
    const wrong = await call("/v1/tickets", { headers: bearer })
    expect([wrong.headers.get("allow"), ...(await codeOf(wrong))]).toEqual(["POST", 405, "method-not-allowed"])
    expect(await codeOf(await call("/v1/agents/box/exec", { method: "POST", headers: bearer, body: "{}" }))).toEqual([404, "not-found"])
    expect(await (await call("/healthz")).json()).toEqual({ ok: true, version: "1.2.3" })
  })

  test("is not there behind a published URL, where only the link route is", async () => {
    await listener.close()
    await listen({ api: undefined } as unknown as Partial<DirectListenerOptions>)
    for (const at of ["/v1/endpoints", "/v1/endpoints/box", "/v1/tickets"])
      expect(await codeOf(await call(at, { headers: bearer }))).toEqual([404, "not-found"])
    expect((await call("/healthz")).status).toBe(200)
  })
})

test("an address that is taken, or is not this machine's, is named", async () => {
  const { port } = new URL(listener.url)
  const taken = (host: string, at: string) =>
    DirectListener.listen({
      host,
      port: Number(at),
      name:
        endpointName("box") ??
        (() => {
          throw new Error("not a name")
        })(),
      version: "1",
      access: secretAccess("s"),
      logger: silentLogger,
    })
  await expect(taken("127.0.0.1", port)).rejects.toMatchObject({
    code: "address-in-use",
    message: expect.stringContaining(`127.0.0.1:${port}`),
  })
  await expect(taken("192.0.2.1", "0")).rejects.toMatchObject({ code: "bad-request", message: expect.stringContaining("192.0.2.1:0") })
})
