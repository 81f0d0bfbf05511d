/** HTTP to services at agents: which service a request is for, what the service sees of it, and what comes back. */
import { exports } from "cloudflare:workers"
import { httpTags, limits, TunnelError } from "@trunkline/protocol"
import { beforeEach, describe, expect, test, vi } from "vitest"
import { Machine } from "./machine.ts"
import { bearer, call, freshName, gatewaySecret, objectOf, textOf } from "./peers.ts"
import { Service } from "./service.ts"

let service: Service
beforeEach(async () => {
  service = await Service.start()
})

const visit = (url: string, init: RequestInit = {}): Promise<Response> => exports.default.fetch(new Request(url, init))

const failureOf = async (response: Response) => {
  const { error } = (await response.json()) as { error: { code: string; fault: string; message: string } }
  return { status: response.status, header: response.headers.get("trunkline-error"), code: error.code, fault: error.fault }
}

describe("the service a request is for", () => {
  test("is in the path, whose rest goes on as it was written", async () => {
    const [response, exchange] = await Promise.all([service.byPath("//a%2Fb/?x=1&y=%20", { headers: bearer }), service.answer()])
    expect(exchange.open).toMatchObject({ target: { service: 3000 }, method: "GET", path: "//a%2Fb/?x=1&y=%20" })
    expect(exchange.header("host")).toBe("localhost:3000")
    expect(exchange.header("x-forwarded-prefix")).toBe(service.prefix)
    expect(await textOf(response)).toBe("answered")
  })

  test.each([
    ["as it is", (host: string) => host, "/"],
    ["in capitals", (host: string) => host.toUpperCase(), "/x"],
    ["with the dot of an absolute name and a port", (host: string) => `${host}.:8787`, "/?"],
  ])("is in the host, %s", async (_title, asked, path) => {
    const host = asked(service.host)
    const [response, exchange] = await Promise.all([
      visit(`https://gateway.test${path}`, { headers: { ...bearer, host } }),
      service.answer(),
    ])
    expect(response.status).toBe(200)
    expect(exchange.open).toMatchObject({ target: { service: 3000 }, path })
    expect(exchange.header("host")).toBe(host)
    expect(exchange.header("x-forwarded-prefix")).toBeUndefined()
  })

  test.each([
    "x.localhost",
    "0--box.localhost",
    "65536--box.localhost",
    "03000--box.localhost",
    "3000--Box_.localhost",
    "a.3000--box.localhost",
  ])("is none for the host %s, which is never the API", async (host) => {
    const response = await visit(`https://${host}/healthz`, { headers: { ...bearer, host } })
    expect(await failureOf(response)).toEqual({ status: 404, header: "not-found", code: "not-found", fault: "client" })
  })

  test("is not the API's, whatever the path on its host", async () => {
    const [response, exchange] = await Promise.all([visit(`https://${service.host}/v1/endpoints`, { headers: bearer }), service.answer()])
    expect(exchange.open.path).toBe("/v1/endpoints")
    expect(await textOf(response)).toBe("answered")
  })

  test("needs a port and a name in the path", async () => {
    const refused = async (path: string) => failureOf(await call(path, { headers: bearer }))
    expect(await refused("/v1/agents/box/http/0/")).toMatchObject({ status: 400, code: "bad-request" })
    expect(await refused("/v1/agents/Box/http/80/")).toMatchObject({ status: 400, code: "bad-name" })
  })

  test("cannot be left by a Host that is read in two ways", async () => {
    const response = await visit("https://gateway.test/", { headers: { ...bearer, host: `evil#${service.host}` } })
    expect(await failureOf(response)).toMatchObject({ status: 400, code: "bad-request" })
  })
})

describe("who may", () => {
  test("is nobody without a credential, and nothing reaches the agent", async () => {
    const response = await visit(`https://${service.host}/`)
    expect(response.headers.get("www-authenticate")).toBe("Bearer")
    expect(await failureOf(response)).toEqual({ status: 401, header: "unauthorised", code: "unauthorised", fault: "client" })
    expect(await failureOf(await service.byPath("/"))).toMatchObject({ status: 401 })
    expect(await failureOf(await service.byPath("/", { headers: { authorization: "Bearer wrong" } }))).toMatchObject({ status: 401 })
    // Had one of them come, it would be the first here.
    const [, exchange] = await Promise.all([service.byPath("/first", { headers: bearer }), service.answer()])
    expect(exchange.open.path).toBe("/first")
  })

  test("is told to a browser on a page that says how to get in", async () => {
    const response = await visit(`https://${service.host}/`, { headers: { accept: "text/html,application/xhtml+xml,*/*;q=0.8" } })
    expect(response.status).toBe(401)
    expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8")
    expect(response.headers.get("cache-control")).toBe("no-store")
    expect(await response.text()).toContain(`<code>trunkline http ${service.name} 3000</code>`)
  })

  test.each([
    ["Authorization, which the service then does not get", { authorization: `Bearer ${gatewaySecret}` }, undefined],
    [
      "Trunkline-Authorization, which leaves the other to the service",
      { "trunkline-authorization": `Bearer ${gatewaySecret}`, authorization: "Basic eDp5" },
      "Basic eDp5",
    ],
    [
      "both, of which the service gets none",
      { "trunkline-authorization": `Bearer ${gatewaySecret}`, authorization: `bearer ${gatewaySecret}` },
      undefined,
    ],
  ])("may say so in %s", async (_title, headers, seen) => {
    const [response, exchange] = await Promise.all([service.byPath("/", { headers }), service.answer()])
    expect(response.status).toBe(200)
    expect(exchange.header("authorization")).toBe(seen)
    expect(exchange.header("trunkline-authorization")).toBeUndefined()
    expect(JSON.stringify(exchange.open)).not.toContain(gatewaySecret)
  })

  test("is nobody whose Trunkline-Authorization is wrong, whatever else there is", async () => {
    const response = await service.byPath("/", { headers: { ...bearer, "trunkline-authorization": "Bearer wrong" } })
    expect(await failureOf(response)).toMatchObject({ status: 401, code: "unauthorised" })
  })
})

describe("a request", () => {
  test("keeps its headers but for those of one connection and of Cloudflare's edge", async () => {
    const headers = {
      ...bearer,
      connection: "keep-alive, x-mine, x-forwarded-proto",
      "keep-alive": "timeout=5",
      "x-mine": "1",
      te: "trailers",
      expect: "100-continue",
      "cf-ray": "abc",
      "cf-connecting-ip": "6.6.6.6",
      "x-forwarded-host": "fake",
      "x-forwarded-prefix": "/fake",
      "x-custom": "ü €",
      cookie: "a=1; b=2",
    }
    const [, exchange] = await Promise.all([visit(`https://${service.host}/`, { headers }), service.answer()])
    const bytes = (text: string) => String.fromCharCode(...new TextEncoder().encode(text))
    expect(Object.fromEntries(exchange.open.headers)).toEqual({
      host: service.host,
      "x-custom": bytes("ü €"),
      cookie: "a=1; b=2",
      "x-forwarded-proto": "https",
      "x-forwarded-host": service.host,
      forwarded: `for=unknown;host="${service.host}";proto=https`,
    })
  })

  test("of any method passes, OPTIONS included, and nothing is added to the answer", async () => {
    for (const method of ["OPTIONS", "DELETE", "PROPFIND"]) {
      const headers = { ...bearer, origin: "https://page.test", "access-control-request-method": "PUT" }
      const answered = service.exchange().then((exchange) => {
        exchange
          .head(200, [["x-own", "1"]], "Fine")
          .body("ok")
          .end()
        return exchange
      })
      const [response, exchange] = await Promise.all([service.byPath("/", { method, headers }), answered])
      expect(exchange.open.method).toBe(method)
      expect([...response.headers]).toEqual([["x-own", "1"]])
      expect(response.statusText).toBe("Fine")
      expect(await textOf(response)).toBe("ok")
    }
  })

  test("has no body unless there is one", async () => {
    const [, none] = await Promise.all([service.byPath("/", { headers: bearer }), service.answer()])
    expect(none.open).not.toHaveProperty("bodyBytes")
    const sized = service.byPath("/", { method: "POST", headers: { ...bearer, "content-length": "5" }, body: "sized" })
    const exchange = await service.exchange()
    expect(exchange.open.bodyBytes).toBe(5)
    expect(await exchange.text()).toBe("sized")
    exchange.head(204).end()
    expect((await sized).status).toBe(204)
  })

  test("streams: each piece is there before the next is written", async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
    const writer = writable.getWriter()
    const write = (text: string) => writer.write(new TextEncoder().encode(text))
    const response = service.byPath("/", { method: "PUT", headers: bearer, body: readable })
    const exchange = await service.exchange()
    expect(exchange.open.bodyBytes).toBeNull()
    for (const piece of ["one", "two", "three"]) {
      await write(piece)
      expect(await exchange.next()).toBe(piece)
    }
    await writer.close()
    expect(await exchange.next()).toBeUndefined()
    exchange.head(200).end()
    expect(await textOf(await response)).toBe("")
  })

  test("that is given up is given up at the service", async () => {
    const controller = new AbortController()
    const response = service.byPath("/", { headers: bearer, signal: controller.signal })
    const exchange = await service.exchange()
    controller.abort()
    await expect(response).rejects.toThrow()
    expect(await exchange.closed).toBeInstanceOf(TunnelError)
  })

  test("with a head above the bound is refused with 431", async () => {
    const refused = async (value: string) => failureOf(await service.byPath("/", { headers: { ...bearer, "x-long": value } }))
    expect(await refused("a".repeat(limits.httpHeadBytesMax))).toEqual({
      status: 431,
      header: "too-large",
      code: "too-large",
      fault: "client",
    })
    const [response, exchange] = await Promise.all([
      service.byPath("/", { headers: { ...bearer, "x-long": '"'.repeat(limits.httpHeadBytesMax - 2_048) } }),
      service.answer(),
    ])
    expect(response.status).toBe(200)
    expect(exchange.header("x-long")).toHaveLength(limits.httpHeadBytesMax - 2_048)
  })
})

describe("an answer", () => {
  const answered = async (
    reply: (exchange: Awaited<ReturnType<Service["exchange"]>>) => void,
    init: RequestInit = {},
  ): Promise<Response> => {
    const [response] = await Promise.all([service.byPath("/", { ...init, headers: bearer }), service.exchange().then(reply)])
    return response
  }

  test("keeps its status, its headers as often as they come, and its length", async () => {
    const response = await answered((exchange) =>
      exchange
        .head(
          201,
          [
            ["Set-Cookie", "a=1"],
            ["set-cookie", "b=2; Expires=Thu, 01 Jan 2030 00:00:00 GMT"],
            ["Content-Length", "4"],
            ["X-Bytes", "Ã¼"],
            ["X-Latin", "ü"],
          ],
          "Made",
        )
        .body("made")
        .end(),
    )
    expect([response.status, response.statusText]).toEqual([201, "Made"])
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2; Expires=Thu, 01 Jan 2030 00:00:00 GMT"])
    expect(response.headers.get("content-length")).toBe("4")
    expect(response.headers.get("x-bytes")).toBe("ü")
    expect(response.headers.get("x-latin")).toBe("ü")
    expect(await textOf(response)).toBe("made")
  })

  test("is not taken for the gateway's own, and cannot set the browser's session", async () => {
    const response = await answered((exchange) =>
      exchange
        .head(500, [
          ["Trunkline-Error", "internal"],
          ["Set-Cookie", "trunkline-session=x"],
          ["Set-Cookie", " __Host-trunkline-session =x; Path=/"],
          ["Set-Cookie", "mine=1"],
        ])
        .end(),
    )
    expect(response.headers.has("trunkline-error")).toBe(false)
    expect(response.headers.getSetCookie()).toEqual(["mine=1"])
  })

  test.each([204, 205, 304])("of %i has no body", async (status) => {
    const response = await answered((exchange) => exchange.head(status, [["etag", '"x"']]).end())
    expect([response.status, response.headers.get("etag"), response.body]).toEqual([status, '"x"', null])
  })

  test("to HEAD keeps the length of the body it does not have", async () => {
    const response = await answered((exchange) => exchange.head(200, [["content-length", "1000"]]).end(), { method: "HEAD" })
    expect([response.status, response.headers.get("content-length")]).toEqual([200, "1000"])
  })

  test("streams: each piece is there before the next is written, and before the head's silence ends", async () => {
    let exchange: Awaited<ReturnType<Service["exchange"]>> | undefined
    const response = await answered((offered) => {
      exchange = offered.head(200, [["content-type", "text/event-stream"]])
    })
    if (response.body === null || exchange === undefined) throw new Error("no body")
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    for (const piece of ["data: 1\n\n", "data: 2\n\n"]) {
      exchange.body(piece)
      expect(new TextDecoder().decode((await reader.read()).value)).toBe(piece)
    }
    exchange.end()
    expect((await reader.read()).done).toBe(true)
    expect(await exchange.closed).toBeUndefined()
  })

  test("that nobody reads stops the service, which goes on when it is read", async () => {
    let exchange: Awaited<ReturnType<Service["exchange"]>> | undefined
    const response = await answered((offered) => {
      exchange = offered.head(200)
    })
    if (exchange === undefined) throw new Error("no exchange")
    const pieceBytes = 65_536
    const pieces = 200
    let written = 0
    let stops = 0
    const write = async (given: NonNullable<typeof exchange>) => {
      for (; written < pieces; written += 1) {
        if (given.stream.writableBytes === 0) {
          stops += 1
          await given.room()
        }
        given.body(new Uint8Array(pieceBytes))
      }
      given.end()
    }
    const done = write(exchange)
    // Until nothing moves any more.
    for (let before = -1; before < written; ) {
      before = written
      await service.machine.roundTrip()
    }
    expect(written).toBeLessThan(pieces)
    expect((await response.arrayBuffer()).byteLength).toBe(pieces * pieceBytes)
    await done
    expect(stops).toBeGreaterThan(0)
  })

  test("that breaks off does not look whole", async () => {
    let exchange: Awaited<ReturnType<Service["exchange"]>> | undefined
    const response = await answered((offered) => {
      exchange = offered.head(200).body("half")
    })
    const body = textOf(response)
    exchange?.fail()
    await expect(body).rejects.toThrow()
  })

  test("whose reader leaves is given up at the service", async () => {
    let exchange: Awaited<ReturnType<Service["exchange"]>> | undefined
    const response = await answered((offered) => {
      exchange = offered.head(200).body("some")
    })
    const reader = response.body?.getReader()
    await reader?.read()
    await reader?.cancel()
    exchange?.body("more")
    expect(await exchange?.closed).toBeInstanceOf(TunnelError)
  })

  test("whose status the platform cannot send is the service's failure", async () => {
    const response = await answered((exchange) => exchange.head(999).end())
    expect(await failureOf(response)).toEqual({ status: 502, header: "service-failed", code: "service-failed", fault: "service" })
  })
})

describe("a failure", () => {
  test.each([
    ["denied", 403, "owner"],
    ["service-refused", 502, "service"],
    ["service-unreachable", 502, "service"],
    ["service-timeout", 504, "service"],
    ["too-many-streams", 503, "gateway"],
  ] as const)("of the code %s is %i and the fault of the %s", async (code, status, fault) => {
    const [response] = await Promise.all([service.byPath("/", { headers: bearer }), service.reject(new TunnelError(code, "why not"))])
    expect(await failureOf(response)).toEqual({ status, header: code, code, fault })
  })

  test("of an agent that answers nonsense is the agent's", async () => {
    const nonsense = ({ stream }: Awaited<ReturnType<Service["exchange"]>>) =>
      stream.write(httpTags.head, new TextEncoder().encode("no head\n"))
    const [response] = await Promise.all([service.byPath("/", { headers: bearer }), service.exchange().then(nonsense)])
    expect(await failureOf(response)).toEqual({ status: 502, header: "protocol-error", code: "protocol-error", fault: "agent" })
  })

  test("of an agent that is not there is said at once, and whose it is", async () => {
    expect(await failureOf(await call("/v1/agents/nobody-here/http/80/", { headers: bearer }))).toMatchObject({
      status: 404,
      code: "agent-unknown",
    })
    const machine = await Machine.start(freshName())
    machine.stop()
    await vi.waitFor(async () => expect(await objectOf(machine.name).presence()).toBeNull())
    expect(await failureOf(await call(`/v1/agents/${machine.name}/http/80/`, { headers: bearer }))).toEqual({
      status: 503,
      header: "agent-stopped",
      code: "agent-stopped",
      fault: "agent",
    })
  })

  test("is a page for a browser, in which nothing of it is markup", async () => {
    const [response] = await Promise.all([
      service.byPath("/", { headers: { ...bearer, accept: "text/html" } }),
      service.reject(new TunnelError("service-refused", `nothing <script>alert("1")</script> there`)),
    ])
    expect(response.status).toBe(502)
    const page = await response.text()
    expect(page).toContain(`Nothing listens on port 3000 of ${service.name}`)
    expect(page).toContain("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;")
    expect(page).not.toContain("<script>")
    expect(response.headers.get("content-security-policy")).toContain("default-src 'none'")
  })
})
