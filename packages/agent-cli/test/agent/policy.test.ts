/** Scopes, whole and narrowed to targets. */
import { type HttpTarget, kinds, type StreamTarget } from "@trunkline/protocol"
import { describe, expect, test } from "vitest"
import { isNarrowed, refusal, targetRefusal } from "../../src/agent/policy.ts"

const me = (...scopes: string[]) => ({ id: "me", scopes })
const kindsOf = (...scopes: string[]) => kinds.filter((kind) => refusal(me(...scopes), kind) === undefined)

describe("a scope", () => {
  test.each([
    ["admin", kinds],
    ["tcp", ["tcp", "listen", "accept"]],
    ["http", ["http", "websocket"]],
    ["tcp:localhost:5432", ["tcp"]],
    ["http:3000", ["http", "websocket"]],
    ["tcp:unix:/run/app.sock", ["tcp"]],
    ["exec", ["exec", "attach", "processes"]],
    // What can be narrowed is what has a target.
    ["exec:git", []],
    ["listen:8080", []],
    ["tcpx", []],
    ["TCP", []],
  ])("%s is for %j", (scope, allowed) => {
    expect(kindsOf(scope)).toEqual(allowed)
  })

  test("that is narrowed is asked about the target, one that is not is not", () => {
    expect(isNarrowed(me("tcp:5432"), "tcp")).toBe(true)
    expect(isNarrowed(me("tcp:5432", "tcp"), "tcp")).toBe(false)
    expect(isNarrowed(me("tcp:5432", "admin"), "tcp")).toBe(false)
    expect(isNarrowed(me("tcp"), "listen")).toBe(false)
    expect(targetRefusal(me("tcp:5432", "tcp"), "tcp", { host: "a", port: 1 })).toBeUndefined()
  })
})

describe("a narrowed scope", () => {
  test.each<[string, "tcp" | "http" | "websocket", StreamTarget | HttpTarget]>([
    ["tcp:db.internal:5432", "tcp", { host: "DB.internal.", port: 5432 }],
    ["tcp:*.internal:*", "tcp", { host: "db.internal", port: 1 }],
    ["tcp:10.0.0.5:5432", "tcp", { host: "0x0a000005", port: 5432 }],
    ["tcp:[fd00::5]:5432", "tcp", { host: "FD00:0::5", port: 5432 }],
    ["tcp:localhost:5432", "tcp", { host: "127.0.0.1", port: 5432 }],
    ["tcp:unix:/run/app.sock", "tcp", { path: "/run/app.sock" }],
    ["http:3000", "http", { service: 3000 }],
    ["http:3000", "websocket", { service: 3000 }],
    ["http:3000", "http", { host: "localhost", port: 3000 }],
    ["http:3000-3999", "http", { service: 3500 }],
    ["http:app.internal:80", "http", { host: "app.internal", port: 80, tls: { verify: true } }],
    ["http:unix:/run/*", "http", { path: "/run/app.sock" }],
  ])("%s lets %s through to %j", (scope, kind, target) => {
    expect(targetRefusal(me("exec", scope), kind, target)).toBeUndefined()
  })

  test.each<[string, "tcp" | "http" | "websocket", StreamTarget | HttpTarget]>([
    ["tcp:db.internal:5432", "tcp", { host: "db.internal", port: 5433 }],
    ["tcp:db.internal:5432", "tcp", { host: "a.db.internal", port: 5432 }],
    ["tcp:localhost:5432", "tcp", { host: "10.0.0.1", port: 5432 }],
    // Whether a name stands for it, the resolver would have to say.
    ["tcp:10.0.0.5:5432", "tcp", { host: "db.internal", port: 5432 }],
    ["tcp:*:*", "tcp", { path: "/run/app.sock" }],
    ["tcp:unix:/run/*", "tcp", { path: "/run/../etc/app.sock" }],
    ["tcp:unix:/run/app.sock", "tcp", { host: "localhost", port: 1 }],
    ["http:3000", "tcp", { host: "localhost", port: 3000 }],
    ["tcp:3000", "http", { service: 3000 }],
    ["http:3000", "http", { service: 3001 }],
    ["http:app.internal:3000", "http", { service: 3000 }],
    ["http:3000", "http", { path: "/run/app.sock" }],
    ["tcp:", "tcp", { host: "localhost", port: 1 }],
    ["tcp:nothing", "tcp", { host: "nothing", port: 1 }],
    ["tcp:*:*", "tcp", { host: "a..b", port: 1 }],
  ])("%s does not let %s through to %j", (scope, kind, target) => {
    expect(targetRefusal(me("exec", scope), kind, target)).toMatchObject({ code: "denied", delivered: "no" })
  })

  test("that refuses says what there is", () => {
    expect(targetRefusal(me("tcp:5432", "tcp:6379"), "tcp", { host: "localhost", port: 22 })?.message).toBe(
      '"me" may not use tcp to localhost:22 on this machine: its scopes are for tcp:5432, tcp:6379',
    )
  })
})
