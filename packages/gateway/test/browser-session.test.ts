/** How a browser gets to a service: a ticket, a page that takes it, a cookie, and what other pages cannot do with that. */
import { env, exports } from "cloudflare:workers"
import { beforeEach, describe, expect, test, vi } from "vitest"
import { sessionCookie, sessionLifeMs } from "../src/http-edge/browser-session.ts"
import { requireName } from "../src/route.ts"
import { bearer, call, callJson, freshName, gatewaySecret, objectOf, refusal, upgrade } from "./peers.ts"
import { Service } from "./service.ts"

let service: Service
beforeEach(async () => {
  service = await Service.start()
})

const visit = (url: string, init: RequestInit = {}): Promise<Response> =>
  exports.default.fetch(new Request(url, { redirect: "manual", ...init }))
const at = (path: string, init: RequestInit = {}, scheme = "http"): Promise<Response> =>
  visit(`${scheme}://${service.host}:8787${path}`, init)

interface Ticket {
  readonly ticket: string
  readonly expiresAt: number
  readonly url: string | null
  readonly enterUrl: string | null
}

/** As `trunkline http` asks for it. */
async function ticket(body: object = { agent: service.name, http: 3000 }, origin = "http://127.0.0.1:8787"): Promise<Ticket> {
  const response = await visit(`${origin}/v1/tickets`, { method: "POST", headers: bearer, body: JSON.stringify(body) })
  expect(response.status).toBe(201)
  return response.json()
}

const enter = (text: string, headers: Record<string, string> = {}, scheme = "http"): Promise<Response> =>
  at("/.trunkline/enter", { method: "POST", body: text, headers: { "content-length": String(text.length), ...headers } }, scheme)

/** The Cookie header of a browser that has entered. */
async function session(scheme = "http"): Promise<string> {
  const response = await enter((await ticket()).ticket, {}, scheme)
  expect(response.status).toBe(303)
  return response.headers.getSetCookie()[0]?.split(";")[0] ?? ""
}

const codeOf = async (response: Response) => {
  const { status, code } = await refusal(response)
  return [status, code]
}

describe("a ticket for a service", () => {
  test("comes with the service's URL, and with the one that lets a browser in", async () => {
    const given = await ticket()
    expect(given.url).toBe(`http://${service.host}:8787/`)
    expect(given.enterUrl).toBe(`http://${service.host}:8787/.trunkline/enter#${given.ticket}`)
    expect(given.expiresAt).toBeGreaterThan(Date.now())
  })

  test("has no URL where no host leads to the service", async () => {
    expect(await ticket(undefined, "https://gateway.test")).toMatchObject({ url: null, enterUrl: null })
  })

  test.each([0, 65_536, 1.5, "3000", null])("is not made for the port %s", async (http) => {
    const asked = { method: "POST", headers: bearer, body: JSON.stringify({ agent: service.name, http }) }
    expect(await callJson("/v1/tickets", asked)).toMatchObject({ status: 400, body: { error: { code: "bad-request" } } })
  })

  test("opens no link, and one for a link opens no service", async () => {
    const linked = (text: string) =>
      upgrade(`/v1/agents/${service.name}/link`, { "sec-websocket-protocol": `trunkline.v1, trunkline.ticket.${text}` })
    expect(await codeOf(await linked((await ticket()).ticket))).toEqual([401, "unauthorised"])
    expect(await codeOf(await enter((await ticket({ agent: service.name })).ticket))).toEqual([401, "unauthorised"])
  })
})

describe("entering", () => {
  test("begins with a page that keeps the ticket out of every URL that is sent", async () => {
    const response = await at("/.trunkline/enter")
    expect(response.status).toBe(200)
    const headers = Object.fromEntries(response.headers)
    expect(headers).toMatchObject({
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "content-type": "text/html; charset=utf-8",
    })
    const nonce = /script-src 'nonce-([^']+)'/.exec(headers["content-security-policy"] ?? "")?.[1]
    expect(nonce).toBeDefined()
    expect(await response.text()).toContain(`<script nonce="${nonce}">`)
  })

  test.each([
    ["http", /^trunkline-session=[\w.-]+; Path=\/; Max-Age=28800; HttpOnly; SameSite=Lax$/],
    ["https", /^__Host-trunkline-session=[\w.-]+; Path=\/; Max-Age=28800; HttpOnly; SameSite=Lax; Secure$/],
  ])("over %s ends with a cookie of that host, and at the service's start", async (scheme, expected) => {
    const response = await enter((await ticket()).ticket, {}, scheme)
    expect([response.status, response.headers.get("location")]).toEqual([303, "/"])
    expect(response.headers.getSetCookie()).toEqual([expect.stringMatching(expected)])
  })

  test("takes a ticket once", async () => {
    const { ticket: text } = await ticket()
    expect((await enter(text)).status).toBe(303)
    expect(await codeOf(await enter(text))).toEqual([401, "unauthorised"])
  })

  test("takes a ticket for this service alone", async () => {
    expect(await codeOf(await enter((await ticket({ agent: service.name, http: 3001 })).ticket))).toEqual([401, "unauthorised"])
    expect(await codeOf(await enter((await ticket({ agent: freshName(), http: 3000 })).ticket))).toEqual([401, "unauthorised"])
    expect(await codeOf(await enter("nothing.at-all"))).toEqual([401, "unauthorised"])
  })

  test("is refused to another page, whose ticket stays good", async () => {
    const { ticket: text } = await ticket()
    expect(await codeOf(await enter(text, { origin: "https://evil.test" }))).toEqual([403, "denied"])
    expect((await enter(text, { origin: `http://${service.host}:8787` })).status).toBe(303)
  })

  test("leaves no client at the agent", async () => {
    await session()
    await vi.waitFor(async () => expect((await objectOf(service.name).presence())?.clients).toBe(0))
  })

  test("takes no body that is larger than a ticket, whether its length is said or not", async () => {
    expect(await codeOf(await enter("x".repeat(5_000)))).toEqual([413, "too-large"])
    expect(await codeOf(await at("/.trunkline/enter", { method: "POST", body: new Blob(["x".repeat(5_000)]).stream() }))).toEqual([
      413,
      "too-large",
    ])
  })

  test("is all there is below its path, which is never the service's", async () => {
    expect(await codeOf(await at("/.trunkline/other", { headers: bearer }))).toEqual([404, "not-found"])
    expect(await codeOf(await at("/.trunkline/enter", { method: "DELETE", headers: bearer }))).toEqual([405, "method-not-allowed"])
  })
})

describe("a session", () => {
  test("lets the browser in, and the service sees the other cookies and its own Authorization", async () => {
    const headers = { cookie: `a=1; ${await session()}; b=2`, authorization: "Basic eDp5" }
    const [response, exchange] = await Promise.all([at("/page", { headers }), service.answer()])
    expect(response.status).toBe(200)
    expect([exchange.header("cookie"), exchange.header("authorization")]).toEqual(["a=1; b=2", "Basic eDp5"])
  })

  test("is not the service's either when a bearer lets in", async () => {
    const [, exchange] = await Promise.all([at("/", { headers: { ...bearer, cookie: await session() } }), service.answer()])
    expect(exchange.header("cookie")).toBeUndefined()
  })

  test("is for its host, port and agent, over either scheme's cookie, and for no path of the API", async () => {
    const cookie = await session()
    const refused = async (url: string) => codeOf(await visit(url, { headers: { cookie } }))
    expect(await refused(`http://3001--${service.name}.localhost:8787/`)).toEqual([401, "unauthorised"])
    expect(await refused(`http://3000--${freshName()}.localhost:8787/`)).toEqual([401, "unauthorised"])
    expect(await refused(`http://${service.host}:8788/`)).toEqual([401, "unauthorised"])
    expect(await codeOf(await call(`${service.prefix}/`, { headers: { cookie } }))).toEqual([401, "unauthorised"])
  })

  test("is found behind what a neighbour has put in its place, and no further than a browser would", async () => {
    const good = await session()
    const tossed = (count: number) => `${"trunkline-session=e30.AAAA; ".repeat(count)}${good}`
    const [response, exchange] = await Promise.all([at("/", { headers: { cookie: tossed(7) } }), service.answer()])
    expect([response.status, exchange.header("cookie")]).toEqual([200, undefined])
    // Each that is looked at is a signature made for somebody unknown.
    expect(await codeOf(await at("/", { headers: { cookie: tossed(2_000) } }))).toEqual([401, "unauthorised"])
  })

  test("that was changed, made with another secret or has expired is none", async () => {
    const cookie = await session()
    const claims = { port: 3000, host: `${service.host}:8787`, expiresAt: Date.now() + sessionLifeMs }
    const made = async (secret: string, expiresAt: number) =>
      (
        await sessionCookie(
          [secret],
          { ...claims, agent: requireName(service.name), expiresAt, principal: { id: "gateway", scopes: ["http:3000"] } },
          false,
        )
      ).split(";")[0] ?? ""
    for (const bad of [
      `${cookie}x`,
      cookie.replace("=", "=x"),
      await made("another", claims.expiresAt),
      await made(gatewaySecret, Date.now() - 1),
    ]) {
      expect(await codeOf(await at("/", { headers: { cookie: bad } }))).toEqual([401, "unauthorised"])
    }
    const good = await made(gatewaySecret, claims.expiresAt)
    const [response] = await Promise.all([at("/", { headers: { cookie: good } }), service.answer()])
    expect(response.status).toBe(200)
  })

  test.each([
    ["a POST of another origin", { method: "POST", headers: { origin: "http://4000--other.localhost:8787" } }],
    ["a POST of no origin that can be named", { method: "POST", headers: { origin: "null" } }],
    ["a DELETE that the browser calls same-site", { method: "DELETE", headers: { "sec-fetch-site": "same-site" } }],
    ["a socket of another origin", { headers: { upgrade: "websocket", origin: "https://evil.test" } }],
  ])("does not let %s through", async (_title, init) => {
    const response = await at("/", { ...init, headers: { ...init.headers, cookie: await session() } })
    expect(response.headers.get("trunkline-error")).toBe("denied")
    expect(((await response.json()) as { error: { fault: string } }).error.fault).toBe("client")
  })

  test.each([
    ["a POST of its own page", { method: "POST", own: true, headers: { "sec-fetch-site": "same-origin" } }],
    ["a POST of no browser's page", { method: "POST", own: false, headers: {} }],
    ["a link from another page", { method: "GET", own: false, headers: { "sec-fetch-site": "cross-site", referer: "https://evil.test/" } }],
  ])("lets %s through", async (_title, { method, own, headers }) => {
    const origin: Record<string, string> = own ? { origin: `http://${service.host}:8787` } : {}
    const cookie = await session()
    const [response] = await Promise.all([at("/", { method, headers: { ...headers, ...origin, cookie } }), service.answer()])
    expect(response.status).toBe(200)
  })

  test("gives the agent a principal for this service and no other", async () => {
    expect(env.GATEWAY_SECRET).toBe(gatewaySecret)
    const { ticket: text } = await ticket()
    const claims = JSON.parse(atob(text.split(".")[0]?.replaceAll("-", "+").replaceAll("_", "/") ?? "")) as unknown
    expect(claims).toMatchObject({ principal: { scopes: ["http:3000"] } })
  })
})
