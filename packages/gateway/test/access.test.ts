/** Who gets in: credentials, tickets, the order of refusals, and the shape of every refusal. */
import { evictDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { agentKey, gatewayPrincipal } from "../src/auth.ts"
import { mintTicket } from "../src/tickets.ts"
import {
  bearer,
  call,
  callJson,
  connectAgent,
  dialAgent,
  freshName,
  gatewaySecret,
  objectOf,
  openClient,
  previousSecret,
  refusal,
  socketOf,
  upgrade,
} from "./peers.ts"

describe("GET /ws/connect", () => {
  test("refuses in the order name, credential, upgrade", async () => {
    expect(await refusal(await call("/ws/connect"))).toMatchObject({ status: 400, code: "bad-name" })
    expect(await refusal(await call("/ws/connect?name=Not_A_Name"))).toMatchObject({ status: 400, code: "bad-name" })
    expect(await refusal(await call("/ws/connect?name=build-7"))).toMatchObject({ status: 401, code: "unauthorised" })
    expect(await refusal(await call("/ws/connect?name=build-7", { headers: bearer }))).toMatchObject({
      status: 426,
      code: "upgrade-required",
    })
  })

  test("refuses a wrong secret, a near miss and an empty one", async () => {
    for (const secret of ["wrong", `${gatewaySecret}x`, gatewaySecret.slice(0, -1), " "]) {
      const response = await upgrade("/ws/connect?name=build-7", { authorization: `Bearer ${secret}` })
      expect(await refusal(response)).toMatchObject({ status: 401, code: "unauthorised", retryable: false })
    }
    expect((await upgrade("/ws/connect?name=build-7", { authorization: `Basic ${gatewaySecret}` })).status).toBe(401)
  })

  test("never reads a secret from the query", async () => {
    for (const key of ["secret", "token", "access_token", "authorization"]) {
      const response = await upgrade(`/ws/connect?name=build-7&${key}=${gatewaySecret}`, {})
      expect(await refusal(response)).toMatchObject({ status: 401, code: "unauthorised" })
    }
  })

  test("takes the previous secret while secrets are rotated", async () => {
    const agent = await dialAgent(freshName(), { authorization: `Bearer ${previousSecret}` })
    await agent.settled()
  })

  test("takes an agent's own key, of either secret, and no other agent's", async () => {
    const name = freshName()
    for (const secret of [gatewaySecret, previousSecret]) {
      const agent = await dialAgent(name, { authorization: `Bearer ${await agentKey(secret, name)}` })
      await agent.settled()
    }
    const other = await agentKey(gatewaySecret, freshName())
    expect((await upgrade(`/ws/connect?name=${name}`, { authorization: `Bearer ${other}` })).status).toBe(401)
  })

  test("derives agent keys as hex HMAC-SHA256 over agent:NAME", async () => {
    const name = freshName()
    const key = await crypto.subtle.importKey("raw", new TextEncoder().encode("s"), { name: "HMAC", hash: "SHA-256" }, false, ["verify"])
    const bytes = Uint8Array.from((await agentKey("s", name)).match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
    expect(await crypto.subtle.verify("HMAC", key, bytes, new TextEncoder().encode(`agent:${name}`))).toBe(true)
  })

  test("does not take headers from outside for the Worker's own", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const forged = encodeURIComponent(JSON.stringify({ type: "client", name, principal: { id: "root", scopes: ["everything"] } }))
    await openClient(name, { ...bearer, "x-trunkline-upgrade": forged })
    expect(await agent.nextControl()).toMatchObject({ type: "attached", principal: { id: "gateway" } })
  })
})

describe("subprotocol", () => {
  test("trunkline.v1 is echoed, on both sockets", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const response = await upgrade(`/v1/agents/${name}/link`, { ...bearer, "sec-websocket-protocol": "trunkline.v2, trunkline.v1" })
    expect(response.headers.get("sec-websocket-protocol")).toBe("trunkline.v1")
    socketOf(response).accept()
    const redial = await upgrade(`/ws/connect?name=${name}`, { ...bearer, "sec-websocket-protocol": "trunkline.v1" })
    expect(redial.headers.get("sec-websocket-protocol")).toBe("trunkline.v1")
    socketOf(redial).accept()
    await agent.nextControl()
  })

  test.each(["/ws/connect?name=NAME", "/v1/agents/NAME/link"])(
    "only other versions: %s opens and closes with the final 4026",
    async (path) => {
      const name = freshName()
      await connectAgent(name)
      const response = await upgrade(path.replace("NAME", name), { ...bearer, "sec-websocket-protocol": "trunkline.v7" })
      expect(response.headers.get("sec-websocket-protocol")).toBe("trunkline.v7")
      const socket = socketOf(response)
      const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener("close", resolve))
      socket.accept()
      expect(await closed).toMatchObject({ code: 4026, reason: "this gateway speaks trunkline.v1 only" })
    },
  )
})

describe("GET /v1/agents/NAME/link", () => {
  test("refuses name, credential, upgrade, and then an unknown agent", async () => {
    expect(await refusal(await call("/v1/agents/-bad-/link"))).toMatchObject({ status: 400, code: "bad-name" })
    expect(await refusal(await call("/v1/agents/nobody/link"))).toMatchObject({ status: 401, code: "unauthorised" })
    expect(await refusal(await call("/v1/agents/nobody/link", { headers: bearer }))).toMatchObject({
      status: 426,
      code: "upgrade-required",
    })
    expect(await refusal(await upgrade("/v1/agents/nobody/link"))).toMatchObject({ status: 404, code: "agent-unknown", retryable: false })
  })

  test("does not touch the object of a name no agent has dialled under", async () => {
    const name = freshName()
    await upgrade(`/v1/agents/${name}/link`)
    await callJson(`/v1/endpoints/${name}`, { headers: bearer })
    await expect(evictDurableObject(objectOf(name))).rejects.toThrow()
  })

  test("refuses an agent's key: it opens the agent's own socket only", async () => {
    const name = freshName()
    await connectAgent(name)
    const response = await upgrade(`/v1/agents/${name}/link`, { authorization: `Bearer ${await agentKey(gatewaySecret, name)}` })
    expect(response.status).toBe(401)
  })
})

describe("tickets", () => {
  afterEach(() => vi.useRealTimers())

  const mint = async (agent: string): Promise<{ ticket: string; expiresAt: number }> => {
    const { status, body } = await callJson("/v1/tickets", { method: "POST", headers: bearer, body: JSON.stringify({ agent }) })
    expect(status).toBe(201)
    return body as { ticket: string; expiresAt: number }
  }
  const withTicket = (name: string, ticket: string): Promise<Response> =>
    upgrade(`/v1/agents/${name}/link`, { "sec-websocket-protocol": `trunkline.v1, trunkline.ticket.${ticket}` })

  test("open one link, echo the version and never the ticket", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const { ticket } = await mint(name)
    const response = await withTicket(name, ticket)
    expect(response.status).toBe(101)
    expect(response.headers.get("sec-websocket-protocol")).toBe("trunkline.v1")
    socketOf(response).accept()
    expect(await agent.nextControl()).toMatchObject({ type: "attached", principal: gatewayPrincipal })
  })

  test("are good for one connection, also after the object was evicted", async () => {
    const name = freshName()
    await connectAgent(name)
    const { ticket } = await mint(name)
    socketOf(await withTicket(name, ticket)).accept()
    const again = await refusal(await withTicket(name, ticket))
    expect(again).toMatchObject({ status: 401, code: "unauthorised" })
    expect(again.message).toContain("used before")
    await evictDurableObject(objectOf(name))
    expect((await refusal(await withTicket(name, ticket))).message).toContain("used before")
  })

  test("expire after 60 seconds", async () => {
    const name = freshName()
    await connectAgent(name)
    const { ticket, expiresAt } = await mint(name)
    vi.useFakeTimers({ toFake: ["Date"], now: expiresAt })
    const refused = await refusal(await withTicket(name, ticket))
    expect(refused).toMatchObject({ status: 401, code: "unauthorised" })
    expect(refused.message).toContain("expired")
  })

  test("are for one agent", async () => {
    const [name, other] = [freshName(), freshName()]
    await connectAgent(name)
    await connectAgent(other)
    const { ticket } = await mint(name)
    const refused = await refusal(await withTicket(other, ticket))
    expect(refused).toMatchObject({ status: 401, code: "unauthorised" })
    expect(refused.message).toContain(other)
  })

  test("cannot be made up or changed", async () => {
    const name = freshName()
    await connectAgent(name)
    const { ticket: foreign } = await mintTicket(["another-gateways-secret"], name, gatewayPrincipal, Date.now())
    const { ticket } = await mint(name)
    const [payload = "", mac = ""] = ticket.split(".")
    const swapped = `${payload.startsWith("a") ? "b" : "a"}${payload.slice(1)}.${mac}`
    for (const bad of [foreign, swapped, payload, `${payload}.`, `${ticket}.x`, "", "...", "%%"])
      expect((await withTicket(name, bad)).status).toBe(401)
    expect((await withTicket(name, ticket)).status).toBe(101)
  })

  test("are minted for the gateway secret and a valid name only", async () => {
    const post = (headers: Record<string, string>, body: string): Promise<Response> =>
      call("/v1/tickets", { method: "POST", headers, body })
    expect((await post({}, '{"agent":"a"}')).status).toBe(401)
    expect(await refusal(await post(bearer, "{}"))).toMatchObject({ status: 400, code: "bad-name" })
    expect(await refusal(await post(bearer, "not json"))).toMatchObject({ status: 400, code: "bad-request" })
    expect(await refusal(await post(bearer, "[]"))).toMatchObject({ status: 400, code: "bad-request" })
    expect(await refusal(await post(bearer, `{"agent":"${"a".repeat(20_000)}"}`))).toMatchObject({ status: 413, code: "too-large" })
  })
})

describe("a gateway without a secret", () => {
  beforeEach(() => {
    Object.assign(env, { GATEWAY_SECRET: undefined, GATEWAY_SECRET_PREVIOUS: undefined })
  })
  afterEach(() => {
    Object.assign(env, { GATEWAY_SECRET: gatewaySecret, GATEWAY_SECRET_PREVIOUS: previousSecret })
  })

  test.each(["/healthz", "/ws/connect?name=build-7", "/v1/endpoints", "/v1/agents/build-7/link"])(
    "refuses %s and says what to do",
    async (path) => {
      for (const authorization of ["Bearer ", "Bearer undefined", `Bearer ${gatewaySecret}`]) {
        const refused = await refusal(await upgrade(path, { authorization }))
        expect(refused).toMatchObject({ status: 500, code: "internal" })
        expect(refused.message).toContain("GATEWAY_SECRET")
      }
    },
  )
})

describe("the API", () => {
  test("GET /healthz says ok and the version, to anybody", async () => {
    expect(await callJson("/healthz")).toEqual({ status: 200, body: { ok: true, version: expect.stringMatching(/^\d+\.\d+\.\d+/) } })
  })

  test("answers 404 and 405 in JSON, the latter with the methods that exist", async () => {
    expect(await refusal(await call("/nothing/here"))).toMatchObject({ status: 404, code: "not-found" })
    const wrong = await call("/v1/tickets", { headers: bearer })
    expect(wrong.headers.get("allow")).toBe("POST")
    expect(await refusal(wrong)).toMatchObject({ status: 405, code: "method-not-allowed" })
    expect((await call("/v1/heartbeats/x", { method: "POST" })).headers.get("allow")).toBe("PUT, DELETE")
  })

  test("gives each error a request id, also in a header", async () => {
    const response = await call("/v1/endpoints")
    const { error } = (await response.json()) as { error: { requestId: string } }
    expect(error.requestId).toMatch(/^[0-9a-f-]{36}$/)
    expect(response.headers.get("x-request-id")).toBe(error.requestId)
    expect(response.headers.get("www-authenticate")).toBe("Bearer")
  })

  test("lets any page call /v1 with a token of its own, and answers its preflight", async () => {
    const preflight = await call("/v1/tickets", { method: "OPTIONS" })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get("access-control-allow-origin")).toBe("*")
    expect(preflight.headers.get("access-control-allow-methods")).toBe("POST")
    expect(preflight.headers.get("access-control-allow-headers")).toContain("authorization")
    expect((await call("/v1/endpoints", { headers: bearer })).headers.get("access-control-allow-origin")).toBe("*")
    expect((await call("/healthz")).headers.get("access-control-allow-origin")).toBeNull()
  })

  test.each([
    "GET /v1/endpoints",
    "GET /v1/endpoints/a",
    "POST /v1/tickets",
    "PUT /v1/heartbeats/a",
    "DELETE /v1/heartbeats/a",
    "POST /v1/admin/drain",
  ])("%s needs a credential", async (route) => {
    const [method = "", path = ""] = route.split(" ")
    expect((await call(path, { method })).status).toBe(401)
    expect((await call(path, { method, headers: { authorization: "Bearer wrong" } })).status).toBe(401)
  })
})
