/** What the HTTP edge makes of a request's line, host and headers, and of Accept. */
import { describe, expect, test } from "vitest"
import { withoutSession } from "../src/http-edge/browser-session.ts"
import { bytesOfText, textOfBytes } from "../src/http-edge/field-value.ts"
import { clientAddress, forwardedHeaders } from "../src/http-edge/forwarded-headers.ts"
import { requestTarget } from "../src/http-edge/request-target.ts"
import { serviceDomains, serviceOfHost, serviceOfPath, serviceUrl } from "../src/http-edge/service-address.ts"

/** A request as the runtime gives it: its URL is the Host and the path put together, and parsed by nobody. */
const asGiven = (url: string, headers: Record<string, string> = {}, cf?: object) =>
  ({ url, headers: new Headers(headers), cf }) as unknown as Request

describe("the request's line", () => {
  test.each([
    ["http://h/a/../b%2e/?", "h", "/a/../b%2e/?"],
    ["http://h//x//y?a=/../&b=%zz", "h", "//x//y?a=/../&b=%zz"],
    ["http://h:80", "h:80", "/"],
    ["http://h:80?q", "h:80", "/?q"],
    ["http://h*", "h", "*"],
    ["http://h:8787*", "h:8787", "*"],
    ["http://H.Example:1/\\x", "H.Example:1", "/\\x"],
    ["http://[::1]:8787/x", "[::1]:8787", "/x"],
  ])("of %s is as it came", (url, host, path) => {
    expect(requestTarget(asGiven(url, { host }))).toEqual({ scheme: "http", authority: host, path })
  })

  test("is the URL's where there is no Host, and without a fragment", () => {
    expect(requestTarget(asGiven("https://h.example:8443/x?y#z"))).toEqual({ scheme: "https", authority: "h.example:8443", path: "/x?y" })
  })

  test.each(["a/b", "a?b", "a#b", "a@b", "a b", "a\\b"])("is refused with the Host %s", (host) => {
    expect(() => requestTarget(asGiven(`http://${host}/`, { host }))).toThrow(expect.objectContaining({ code: "bad-request" }))
  })
})

describe("the service of a host", () => {
  test("is below localhost, and below the domain that is set", () => {
    const both = serviceDomains("Tunnel.Example.com:8443")
    expect(serviceOfHost("80--a.tunnel.example.com", both)).toEqual({ agent: "a", port: 80 })
    expect(serviceOfHost("80--a--b.localhost", both)).toEqual({ agent: "a--b", port: 80 })
    expect(serviceOfHost("80--a.tunnel.example.com", serviceDomains(undefined))).toBeUndefined()
  })

  test.each(["localhost", "127.0.0.1:8787", "tunnel.example.com", "80--a.eviltunnel.example.com", "80--a.localhost.example.com"])(
    "is none for %s, which is the gateway's own",
    (host) => {
      expect(serviceOfHost(host, serviceDomains("tunnel.example.com"))).toBeUndefined()
    },
  )

  test("has a URL wherever a host is known to lead here", () => {
    const service = { agent: "a", port: 80 } as Parameters<typeof serviceUrl>[0]
    const at = (url: string, domain?: string) => serviceUrl(service, requestTarget(asGiven(url)), domain)?.href
    expect(at("http://127.0.0.1:8787/v1/tickets")).toBe("http://80--a.localhost:8787/")
    expect(at("http://[::1]/v1/tickets")).toBe("http://80--a.localhost/")
    expect(at("https://gateway.example/v1/tickets", "tunnel.example:8443")).toBe("https://80--a.tunnel.example:8443/")
    expect(at("https://gateway.example/v1/tickets")).toBeUndefined()
  })
})

test.each([
  ["/v1/agents/a/http/80", "/"],
  ["/v1/agents/a/http/80?q", "/?q"],
  ["/v1/agents/a/http/80/../../../x", "/../../../x"],
])("the service of the path %s gets %s", (path, rest) => {
  expect(serviceOfPath({ path })).toEqual({ agent: "a", port: 80, prefix: "/v1/agents/a/http/80", path: rest })
})

test.each(["/v1/agents/a/exec", "/v1/agents/a/exec/../http/80/", "/v1/agents/a/http", "//v1/agents/a/http/80/"])(
  "the path %s is no service's",
  (path) => {
    expect(serviceOfPath({ path })).toBeUndefined()
  },
)

describe("header values", () => {
  test.each(["plain", "ü", "€ 😀"])("are bytes on the wire and text here: %s", (text) => {
    const bytes = bytesOfText(text)
    expect(Array.from(bytes, (character) => character.charCodeAt(0))).toEqual([...new TextEncoder().encode(text)])
    expect(textOfBytes(bytes)).toBe(text)
  })

  test("that are no UTF-8 are taken for Latin-1", () => {
    expect(textOfBytes("caf\xe9")).toBe("café")
  })
})

describe("who asked", () => {
  const place = { host: "h", askedHost: "h", scheme: "http", client: undefined } as const
  const sent = (headers: Record<string, string>, client?: string) =>
    Object.fromEntries(forwardedHeaders(new Headers(headers), { ...place, client }))

  test("is put behind those before", () => {
    expect(sent({ "x-forwarded-for": "1.1.1.1", forwarded: "for=1.1.1.1" }, "2.2.2.2")).toMatchObject({
      "x-forwarded-for": "1.1.1.1, 2.2.2.2",
      forwarded: 'for=1.1.1.1, for=2.2.2.2;host="h";proto=http',
    })
    expect(sent({}, "::1")).toMatchObject({ "x-forwarded-for": "::1", forwarded: 'for="[::1]";host="h";proto=http' })
    expect(sent({ "x-forwarded-for": "1.1.1.1" })).toMatchObject({ "x-forwarded-for": "1.1.1.1" })
    expect(sent({})).not.toHaveProperty("x-forwarded-for")
  })

  test("is what the runtime says, and no header where the runtime is not Cloudflare's", () => {
    const header = { "cf-connecting-ip": "6.6.6.6" }
    expect(clientAddress(asGiven("http://h/", header, { clientIp: "10.0.0.1:4711" }))).toBe("10.0.0.1")
    expect(clientAddress(asGiven("http://h/", header, { clientIp: "[fe80::1]:4711" }))).toBe("fe80::1")
    expect(clientAddress(asGiven("http://h/", header, { clientIp: "unix:x" }))).toBeUndefined()
    expect(clientAddress(asGiven("http://h/", header, { colo: "FRA" }))).toBe("6.6.6.6")
    expect(clientAddress(asGiven("http://h/", header))).toBeUndefined()
  })
})

test.each([
  ["a=1; b=2", "a=1; b=2"],
  ["trunkline-session=x", undefined],
  ["trunkline-session=x; a=1", "a=1"],
  ["a=1;  __Host-trunkline-session=x;b=2", "a=1;b=2"],
  ["a=1; trunkline-session=x; trunkline-session=y", "a=1"],
  ["a=1, trunkline-session=x", "a=1"],
  ["my-trunkline-session=x; a=trunkline-session=y", "my-trunkline-session=x; a=trunkline-session=y"],
])("of the cookies %s a service gets %s", (cookies, rest) => {
  expect(withoutSession(cookies)).toBe(rest)
})
