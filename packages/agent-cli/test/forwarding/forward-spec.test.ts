import { describe, expect, test } from "vitest"
import { parseForward, parseListenAddress } from "../../src/forwarding/forward-spec.ts"
import { UsageError } from "../../src/usage-error.ts"

describe("a forward", () => {
  test.each([
    ["5432", { host: "localhost", port: 5432 }, { host: "localhost", port: 5432 }],
    ["8080:3000", { host: "localhost", port: 8080 }, { host: "localhost", port: 3000 }],
    ["0:3000", { host: "localhost", port: 0 }, { host: "localhost", port: 3000 }],
    ["5433:db.internal:5432", { host: "localhost", port: 5433 }, { host: "db.internal", port: 5432 }],
    ["127.0.0.1:5432", { host: "127.0.0.1", port: 5432 }, { host: "localhost", port: 5432 }],
    ["127.0.0.1:8080:3000", { host: "127.0.0.1", port: 8080 }, { host: "localhost", port: 3000 }],
    ["0.0.0.0:5433:10.0.0.7:5432", { host: "0.0.0.0", port: 5433 }, { host: "10.0.0.7", port: 5432 }],
    ["*:5433:db:5432", { host: "*", port: 5433 }, { host: "db", port: 5432 }],
    ["*:5432", { host: "*", port: 5432 }, { host: "localhost", port: 5432 }],
    ["[::1]:5433:[fe80::1%eth0]:5432", { host: "::1", port: 5433 }, { host: "fe80::1%eth0", port: 5432 }],
    ["5433:[::1]:5432", { host: "localhost", port: 5433 }, { host: "::1", port: 5432 }],
    ["/tmp/db.sock:/run/pg/.s.PGSQL.5432", { path: "/tmp/db.sock" }, { path: "/run/pg/.s.PGSQL.5432" }],
    ["5433:/run/pg.sock", { host: "localhost", port: 5433 }, { path: "/run/pg.sock" }],
    ["127.0.0.1:5433:/run/pg.sock", { host: "127.0.0.1", port: 5433 }, { path: "/run/pg.sock" }],
    ["/tmp/db.sock:5432", { path: "/tmp/db.sock" }, { host: "localhost", port: 5432 }],
    ["/tmp/db.sock:db:5432", { path: "/tmp/db.sock" }, { host: "db", port: 5432 }],
    ["[/tmp/a:b.sock]:[/run/c:d.sock]", { path: "/tmp/a:b.sock" }, { path: "/run/c:d.sock" }],
  ])("%s", (text, listen, target) => {
    expect(parseForward(text)).toEqual({ listen, target })
  })

  test.each([
    ["", /is not a forward/],
    [":5432", /is not a forward/],
    ["5432:", /is not a forward/],
    ["::1:5432", /IPv6 address goes in brackets/],
    ["5432:::1:5432", /IPv6 address goes in brackets/],
    ["[]:5432", /is not a forward/],
    ["[::1:5432", /is not a forward/],
    ["db.internal", /names no port to listen on/],
    ["localhost:db:5432", /names no port to listen on/],
    ["5433:db", /names no port to connect to: write 5433:db:5432/],
    ["5433:db:http", /is not a forward/],
    ["5433:80:5432", /is not a forward/],
    ["1:2:3:4:5", /is not a forward/],
    ["5433:/run/pg.sock:5432", /is not a forward/],
    ["0", /does not say where to: write 0:localhost:5432/],
    ["/tmp/db.sock", /does not say where to/],
    ["65536", /65536 is not a port/],
    ["5433:db:0", /0 is not a port: give one from 1 to 65535$/],
    ["5433:db:99999999999", /is not a port/],
    ["-1", /names no port/],
    ["5433:a b:5432", /not a host name/],
    ["5433:a\u0000b:5432", /not a host name/],
    [`5433:${"a".repeat(254)}:5432`, /at most 253 characters/],
    ["./db.sock:5432", /begins with \//],
    [`/${"a".repeat(107)}:5432`, /at most 107 bytes/],
    [`5432:/${"é".repeat(54)}`, /at most 107 bytes/],
    ["5432:/a\u0000b", /NUL/],
  ])("%j is refused with what is wrong with it", (text, message) => {
    expect(() => parseForward(text)).toThrow(UsageError)
    expect(() => parseForward(text)).toThrow(message)
  })
})

describe("where SOCKS listens", () => {
  test.each([
    ["1080", { host: "localhost", port: 1080 }],
    ["0", { host: "localhost", port: 0 }],
    ["0.0.0.0:1080", { host: "0.0.0.0", port: 1080 }],
    ["[::1]:1080", { host: "::1", port: 1080 }],
    ["/tmp/socks.sock", { path: "/tmp/socks.sock" }],
  ])("%s", (text, address) => {
    expect(parseListenAddress(text)).toEqual(address)
  })

  test.each(["1080:db:5432", "1080:3000", "socks", "", "70000"])("%j is refused", (text) => {
    expect(() => parseListenAddress(text)).toThrow(UsageError)
  })
})
