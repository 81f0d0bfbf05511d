import { describe, expect, test } from "vitest"
import { checkBody, httpHeadSchema, httpOpenSchema, InvalidBody } from "../../src/index.ts"

const open = { target: { service: 80 }, method: "GET", path: "/", headers: [] }

describe("[KH1] a request", () => {
  test.each([
    open,
    { ...open, target: { host: "::1", port: 443, tls: { verify: false } } },
    { ...open, target: { path: "/run/service.sock" } },
    { ...open, method: "M-SEARCH", path: "*", bodyBytes: null, firstByteMs: 1 },
    { ...open, path: "/a%20b?c=\u00e9#", headers: [["X!#$%&'*+.^_`|~-", "\t\u00ff \"'"]], bodyBytes: 0 },
  ])("%j is one", (body) => {
    expect(checkBody(httpOpenSchema, body)).toEqual(body)
  })

  test("verifies certificates where it does not say otherwise", () => {
    const target = { host: "a", port: 443, tls: {} }
    expect(checkBody(httpOpenSchema, { ...open, target }).target).toEqual({ ...target, tls: { verify: true } })
  })

  test.each([
    { ...open, target: undefined },
    { ...open, target: { service: 0 } },
    { ...open, method: "" },
    { ...open, method: "GET /" },
    { ...open, method: "CONNECT" },
    { ...open, method: "M".repeat(65) },
    { ...open, path: "" },
    { ...open, path: "http://a/" },
    { ...open, path: "/a b" },
    { ...open, path: "/a\nb" },
    { ...open, path: "/\u0100" },
    { ...open, headers: [["", "a"]] },
    { ...open, headers: [["a b", "c"]] },
    { ...open, headers: [["a:", "c"]] },
    { ...open, headers: [["a", "b\r\nc: d"]] },
    { ...open, headers: [["a", "\0"]] },
    { ...open, headers: [["a", "\u0100"]] },
    { ...open, headers: [["a"]] },
    { ...open, headers: { a: "b" } },
    { ...open, bodyBytes: -1 },
    { ...open, bodyBytes: 1.5 },
    { ...open, firstByteMs: 0 },
  ])("%j is none", (body) => {
    expect(() => checkBody(httpOpenSchema, body)).toThrow(InvalidBody)
  })
})

describe("[KH4] the head of an answer", () => {
  test.each([99, 1_000, 200.5, "200"])("has no status %j", (status) => {
    expect(() => checkBody(httpHeadSchema, { status, statusText: "", headers: [] })).toThrow(InvalidBody)
  })
})
