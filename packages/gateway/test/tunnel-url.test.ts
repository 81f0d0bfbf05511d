/** Links to agents at their URL: which way is taken, what the agent is told, what a client hears, and what the listing says. */
import { evictDurableObject } from "cloudflare:test"
import { limits, readSlot } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { agentKey, hmac } from "../src/auth.ts"
import { base64UrlDecode } from "../src/base64url.ts"
import {
  bearer,
  bodyOf,
  call,
  callJson,
  connectAgent,
  data,
  freshName,
  gatewaySecret,
  listed,
  listing,
  objectOf,
  openClient,
  previousSecret,
  refusal,
  socketOf,
  upgrade,
  waitingClient,
} from "./peers.ts"

/** What is published at a URL: the answer to the gateway's next dials, which are kept. */
const dials: { readonly url: string; readonly init: RequestInit }[] = []
let published: (init: RequestInit) => Promise<Response>

beforeEach(() => {
  dials.length = 0
  published = async () => new Response("nothing is published", { status: 502 })
  vi.spyOn(globalThis, "fetch").mockImplementation((input, init = {}) => {
    dials.push({ url: String(input), init })
    return published(init)
  })
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

const agentUrl = "https://tunnel.example/box"
const ready = JSON.stringify({ type: "ready", protocol: 1, agent: "here", generation: 1, instance: "direct", version: "1.2.3" })

const register = async (name: string, more: object = {}): Promise<Response> =>
  call(`/v1/heartbeats/${name}`, { method: "PUT", headers: bearer, body: JSON.stringify({ url: agentUrl, version: "1.0.0", ...more }) })

/** An agent at the URL: it greets, and sends back what it is sent. */
function publishAgent(headers: Record<string, string> = {}): void {
  published = async () => {
    const [near, far] = Object.values(new WebSocketPair())
    if (near === undefined || far === undefined) throw new Error("no pair")
    far.binaryType = "arraybuffer"
    far.accept()
    far.addEventListener("message", ({ data }) => (data === "leave" ? far.close(1000, "agent stopped") : far.send(data)))
    far.send(ready)
    return new Response(null, { status: 101, webSocket: near, headers: { "sec-websocket-protocol": "trunkline.v1", ...headers } })
  }
}

const headersOf = (dial: { readonly init: RequestInit } | undefined): Headers => new Headers(dial?.init.headers)
const assertionOf = (dial: { readonly init: RequestInit } | undefined): string[] =>
  (headersOf(dial).get("authorization") ?? "").replace("Bearer ", "").split(".")
const claimsOf = (dial: { readonly init: RequestInit } | undefined): Record<string, unknown> =>
  JSON.parse(new TextDecoder().decode(base64UrlDecode(assertionOf(dial)[0] ?? "")))

/** An agent that has a socket no more. */
async function lostAgent(): Promise<string> {
  const name = freshName()
  const { agent } = await connectAgent(name)
  agent.close(1001, "")
  await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "offline" }))
  return name
}

describe("an agent that is known by its heartbeats alone", () => {
  test("[DR2] is dialled at its URL, whose socket is the client's as it is", async () => {
    const name = freshName()
    await register(name)
    publishAgent({ "set-cookie": "publisher=1" })
    const response = await upgrade(`/v1/agents/${name}/link`, { ...bearer, cookie: "a=b", "sec-websocket-protocol": "trunkline.v1" })
    expect([response.status, response.headers.get("sec-websocket-protocol"), response.headers.get("set-cookie")]).toEqual([
      101,
      "trunkline.v1",
      null,
    ])
    const socket = socketOf(response)
    socket.binaryType = "arraybuffer"
    const heard: (string | Uint8Array)[] = []
    socket.addEventListener("message", ({ data }) => {
      heard.push(typeof data === "string" ? data : new Uint8Array(data))
    })
    const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener("close", resolve))
    socket.accept()
    socket.send("ping")
    socket.send(data(7, "body"))
    socket.send("leave")
    expect(await closed).toMatchObject({ code: 1000, reason: "agent stopped" })
    expect(heard.slice(0, 2)).toEqual([ready, "ping"])
    // The slot is the agent's to give: nothing on the way has touched it.
    const message = heard[2] as Uint8Array
    expect([readSlot(message), bodyOf(message)]).toEqual([7, "body"])
    expect(dials.map(({ url, init }) => [url, init.redirect])).toEqual([[`${agentUrl}/v1/agents/${name}/link`, "manual"]])
    expect([...headersOf(dials[0]).keys()].sort()).toEqual(["authorization", "sec-websocket-protocol", "upgrade"])
  })

  test("[DR3] is told who the client is, signed with the agent's key of each valid secret, and anew each time", async () => {
    const name = freshName()
    await register(name)
    publishAgent()
    const before = Date.now()
    await upgrade(`/v1/agents/${name}/link`)
    await upgrade(`/v1/agents/${name}/link`)
    const claims = claimsOf(dials[0])
    expect(claims).toMatchObject({ agent: name, principal: { id: "gateway" } })
    expect(Number(claims.expiresAt)).toBeGreaterThanOrEqual(before + limits.assertionLifeMs)
    expect(Number(claims.expiresAt)).toBeLessThanOrEqual(Date.now() + limits.assertionLifeMs)
    expect(claimsOf(dials[1]).nonce).not.toBe(claims.nonce)
    const [payload = "", ...signatures] = assertionOf(dials[0])
    const expected = await Promise.all(
      [gatewaySecret, previousSecret].map(async (secret) => hmac(await agentKey(secret, name), `assertion:${payload}`)),
    )
    expect(signatures.map(base64UrlDecode)).toEqual(expected)
    expect(headersOf(dials[0]).get("authorization")).not.toContain(gatewaySecret)
  })

  test("[DR4] passes a ticket's nonce and expiry on, so that the agent takes it once", async () => {
    const name = freshName()
    await register(name)
    publishAgent()
    const { body } = await callJson("/v1/tickets", { method: "POST", headers: bearer, body: JSON.stringify({ agent: name }) })
    const { ticket, expiresAt } = body as { ticket: string; expiresAt: number }
    const { status } = await upgrade(`/v1/agents/${name}/link`, { "sec-websocket-protocol": `trunkline.v1, trunkline.ticket.${ticket}` })
    expect(status).toBe(101)
    const { nonce } = JSON.parse(new TextDecoder().decode(base64UrlDecode(ticket.split(".")[0] ?? "")))
    expect(claimsOf(dials[0])).toMatchObject({ nonce, expiresAt })
    expect(headersOf(dials[0]).get("sec-websocket-protocol")).toBe("trunkline.v1")
  })

  test("has no object: the first touch would fix where it lives", async () => {
    const name = freshName()
    await register(name)
    publishAgent()
    await upgrade(`/v1/agents/${name}/link`)
    await callJson(`/v1/endpoints/${name}`, { headers: bearer })
    await expect(evictDurableObject(objectOf(name))).rejects.toThrow()
  })

  test("runs commands for HTTP callers, who hear the same of a URL that is down", async () => {
    const name = freshName()
    await register(name)
    const response = await call(`/v1/agents/${name}/exec`, { method: "POST", headers: bearer, body: JSON.stringify({ argv: ["true"] }) })
    expect(await refusal(response)).toMatchObject({ status: 503, code: "agent-offline", retryable: true })
    expect(dials).toHaveLength(1)
  })
})

describe("of two ways", () => {
  test("[DR7] the socket is preferred, and no record is asked for", async () => {
    const name = freshName()
    await register(name)
    const { agent } = await connectAgent(name)
    const client = await openClient(name)
    expect(await client.nextControl()).toMatchObject({ type: "ready", agent: "here" })
    expect(await agent.nextControl()).toMatchObject({ type: "attached" })
    expect(dials).toEqual([])
  })

  test.each([
    ["was lost a moment ago", lostAgent],
    [
      "stopped",
      async () => {
        const name = freshName()
        const { agent } = await connectAgent(name)
        agent.send(JSON.stringify({ type: "bye" }))
        await vi.waitFor(async () => expect(await listed(name)).toBeUndefined())
        return name
      },
    ],
  ])("the URL is taken when the socket's agent %s, and the socket again when it is back", async (_, gone) => {
    const name = await gone()
    await register(name)
    publishAgent()
    const client = await openClient(name)
    expect(await client.nextControl()).toMatchObject({ instance: "direct" })
    const { agent } = await connectAgent(name)
    await openClient(name)
    expect(await agent.nextControl()).toMatchObject({ type: "attached" })
    // The first client's leg is where it was.
    client.send("ping")
    expect(await client.next()).toBe("ping")
    expect(dials).toHaveLength(1)
  })

  test("an agent that is about to stop is that either way", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    await register(name)
    agent.send(JSON.stringify({ type: "drain" }))
    await agent.settled()
    expect(await refusal(await upgrade(`/v1/agents/${name}/link`))).toMatchObject({ code: "agent-draining" })
    expect(dials).toEqual([])
  })

  test("[DR7] with both cut the client waits for the socket, which is back first", async () => {
    const name = await lostAgent()
    await register(name)
    const client = await waitingClient(name)
    expect(dials).toHaveLength(1)
    await connectAgent(name)
    expect(await client.nextControl()).toMatchObject({ type: "agent-state", state: "back" })
  })

  test("[DR7] clients of a socket that is lost dial again, and are sent to the URL", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const client = await openClient(name)
    await client.nextControl()
    await register(name)
    publishAgent()
    agent.close(1001, "")
    expect(await client.closed).toMatchObject({ code: 1012, reason: "the agent has another way in" })
    expect(await (await openClient(name)).nextControl()).toMatchObject({ instance: "direct" })
  })

  test.each(["socket", "url"] as const)("a ticket that was used over the %s is used for the other way too", async (first) => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    publishAgent()
    const { body } = await callJson("/v1/tickets", { method: "POST", headers: bearer, body: JSON.stringify({ agent: name }) })
    const protocols = { "sec-websocket-protocol": `trunkline.v1, trunkline.ticket.${(body as { ticket: string }).ticket}` }
    const lose = async (): Promise<void> => {
      agent.close(1001, "")
      await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "offline" }))
      await register(name)
    }
    if (first === "url") await lose()
    expect((await upgrade(`/v1/agents/${name}/link`, protocols)).status).toBe(101)
    if (first === "url") await connectAgent(name)
    else await lose()
    expect(await refusal(await upgrade(`/v1/agents/${name}/link`, protocols))).toMatchObject({ status: 401, code: "unauthorised" })
    expect(dials).toHaveLength(first === "url" ? 1 : 0)
  })
})

describe("a URL that gives no socket", () => {
  const refused = (code: string, status: number): Response =>
    Response.json({ error: { code, message: "words of whoever answers there", retryable: false } }, { status })

  test.each<[string, () => Promise<Response>, { status: number; code: string; says: RegExp }]>([
    [
      "that cannot be reached",
      async () => Promise.reject(new Error("no route to 10.1.2.3")),
      { status: 503, code: "agent-offline", says: /cannot be reached/ },
    ],
    [
      "that is a tunnel without its agent",
      async () => new Response("<h1>Bad gateway</h1>", { status: 502 }),
      { status: 503, code: "agent-offline", says: /HTTP 502: is the tunnel up/ },
    ],
    [
      "that answers what no agent does",
      async () => new Response("hello"),
      { status: 503, code: "agent-offline", says: /HTTP 200: is the tunnel up/ },
    ],
    [
      "that leads elsewhere",
      async () => new Response(null, { status: 302, headers: { location: "http://169.254.169.254/" } }),
      { status: 503, code: "agent-offline", says: /HTTP 302/ },
    ],
    [
      "that does not take our word",
      async () => refused("unauthorised", 401),
      { status: 503, code: "agent-offline", says: /both clocks right/ },
    ],
    [
      "that is another agent's",
      async () => refused("agent-unknown", 404),
      { status: 503, code: "agent-offline", says: /HTTP 404 \(agent-unknown\)/ },
    ],
    [
      "whose agent is about to stop",
      async () => refused("agent-draining", 503),
      { status: 503, code: "agent-draining", says: /about to stop/ },
    ],
    ["whose agent is full", async () => refused("too-many-clients", 503), { status: 503, code: "too-many-clients", says: /retry later/ }],
    [
      "that answers without end",
      async () => new Response(new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(8_192)) }), { status: 500 }),
      { status: 503, code: "agent-offline", says: /HTTP 500/ },
    ],
  ])("%s is a typed error that names its origin alone", async (_, answer, { status, code, says }) => {
    const name = freshName()
    await register(name)
    published = answer
    const told = await refusal(await upgrade(`/v1/agents/${name}/link`))
    expect(told).toMatchObject({ status, code, retryable: true })
    expect(told.message).toMatch(says)
    expect(told.message).not.toMatch(/\/box|whoever|10\.1\.2\.3/)
    expect(dials).toHaveLength(1)
  })
})

describe("the listing", () => {
  test("says online for two periods after a heartbeat, then stale until the record is gone", async () => {
    const name = freshName()
    await register(name)
    const { lastSeen = 0 } = (await listed(name)) ?? {}
    vi.useFakeTimers({ toFake: ["Date"], now: lastSeen + 599_000 })
    expect(await listed(name)).toMatchObject({ status: "online" })
    vi.setSystemTime(lastSeen + 600_000)
    expect(await listed(name)).toMatchObject({ status: "stale", since: lastSeen + 600_000, lastSeen })
    expect((await listing("?status=stale&limit=1000")).endpoints.map((endpoint) => endpoint.name)).toContain(name)
    expect((await listing("?status=online&limit=1000")).endpoints.map((endpoint) => endpoint.name)).not.toContain(name)
    await register(name)
    expect(await listed(name)).toMatchObject({ status: "online" })
  })

  test("shows the way that is taken: the socket, the URL when it is lost, the socket again", async () => {
    const name = freshName()
    const one = async (): Promise<unknown> => (await callJson(`/v1/endpoints/${name}`, { headers: bearer })).body
    const { agent } = await connectAgent(name, { labels: { way: "socket" } })
    await register(name, { labels: { way: "url" } })
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "online", mode: "socket" }))
    agent.close(1001, "")
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "online", mode: "tunnel-url", labels: { way: "url" } }))
    expect(await one()).toMatchObject({ status: "online", mode: "tunnel-url", url: agentUrl })
    for (const query of ["", "&label=way=url", "&label=way=socket", "&status=offline"]) {
      const rows = (await listing(`?limit=1000${query}`)).endpoints.filter((endpoint) => endpoint.name === name)
      expect(rows, query).toHaveLength(query === "" || query === "&label=way=url" ? 1 : 0)
    }
    await connectAgent(name, { labels: { way: "socket" } })
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ mode: "socket", labels: { way: "socket" } }))
    expect(await one()).toMatchObject({ status: "online", mode: "socket" })
  })
})

test.each(["https://tunnel.example/?token=1", "https://tunnel.example/#here", "ftp://tunnel.example"])(
  "%s is no URL to register",
  async (url) => {
    expect(await refusal(await register(freshName(), { url }))).toMatchObject({ status: 400, code: "bad-request" })
  },
)
