/** The owner's rules: what each way to write one is about, and what is refused. */
import { describe, expect, test } from "vitest"
import { readHost } from "../../src/targets/address.ts"
import { includesAddress, includesPath, includesPort, namesHost, readRule } from "../../src/targets/rule.ts"
import { readServicePort, readServiceUrl } from "../../src/targets/service-url.ts"
import { UsageError } from "../../src/usage-error.ts"

/** Whether the rule is about this host at this port, without resolving anything. */
function isAbout(text: string, host: string, port = 80): boolean {
  const rule = readRule(text)
  const read = readHost(host)
  if (rule.type === "path" || read === undefined || !includesPort(rule.ports, port)) return false
  return read.type === "name" ? namesHost(rule, read.name) : includesAddress(rule, read.address)
}

describe("a rule", () => {
  test.each([
    ["db.internal:5432", ["tcp", "http"]],
    ["tcp:5432", ["tcp"]],
    ["http:*:80", ["http"]],
    ["listen:loopback:*", ["listen"]],
    ["unix:/run/app.sock", ["tcp", "http"]],
    ["http:unix:/run/app.sock", ["http"]],
  ])("%s is for %j", (text, uses) => {
    expect(readRule(text).uses).toEqual(uses)
  })

  test.each([
    ["db.internal:80", "db.internal"],
    ["DB.internal:80", "db.INTERNAL."],
    ["*.example.com:80", "a.b.example.com"],
    ["*:80", "anything.at.all"],
    ["*:80", "10.1.2.3"],
    ["*:80", "fd00::1"],
    ["10.0.0.0/8:80", "10.255.0.1"],
    ["10.0.0.0/8:80", "::ffff:10.1.1.1"],
    ["10.1.2.3:80", "0x0a010203"],
    ["[::ffff:10.0.0.0]/104:80", "10.9.9.9"],
    ["[fd00::]/8:80", "fdab::1"],
    ["[fd00::/8]:80", "fdab::1"],
    ["fd00::/8:80", "fdab::1"],
    ["[::1]:80", "0:0::1"],
    ["[fe80::]/10:80", "fe80::1%eth0"],
    ["loopback:80", "127.9.9.9"],
    ["loopback:80", "::1"],
    ["loopback:80", "localhost"],
    ["loopback:80", "app.localhost"],
    ["localhost:80", "127.0.0.1"],
    ["LOCALHOST.:80", "127.0.0.1"],
    ["80", "127.0.0.1"],
    ["80-90", "localhost"],
    ["http:80", "::1"],
    ["0.0.0.0/0:80", "8.8.8.8"],
  ])("%s is about %s", (text, host) => {
    expect(isAbout(text, host)).toBe(true)
  })

  test.each([
    ["db.internal:80", "a.db.internal"],
    ["db.internal:80", "db.internal.evil.com"],
    ["*.example.com:80", "example.com"],
    ["*.example.com:80", "badexample.com"],
    ["*.com:80", "10.0.0.1"],
    ["10.0.0.0/8:80", "11.0.0.1"],
    ["10.0.0.0/8:80", "db.internal"],
    ["0.0.0.0/0:80", "::1"],
    ["::/0:80", "10.0.0.1"],
    ["::/0:80", "::ffff:10.0.0.1"],
    ["127.0.0.1:80", "localhost"],
    ["loopback:80", "128.0.0.1"],
    ["loopback:80", "::2"],
    ["loopback:80", "notlocalhost"],
    ["loopback:80", "0.0.0.0"],
  ])("%s is not about %s", (text, host) => {
    expect(isAbout(text, host)).toBe(false)
  })

  test.each([
    ["h:8000-8999", [8000, 8999], [7999, 9000]],
    ["h:443", [443], [442, 444]],
    ["h:*", [1, 65_535], []],
  ])("%s is about its ports alone", (text, inside, outside) => {
    expect(inside.filter((port) => !isAbout(text, "h", port))).toEqual([])
    expect(outside.filter((port) => isAbout(text, "h", port))).toEqual([])
  })

  test.each([
    ["unix:/run/app.sock", "/run/app.sock", true],
    ["unix:/run/app.sock", "/run/app.sock2", false],
    ["unix:/run/app/*", "/run/app/a", true],
    ["unix:/run/app/*", "/run/app/", false],
    ["unix:/run/app/*", "/run/app/a/b", false],
    ["unix:/tmp/.X11-unix/X*", "/tmp/.X11-unix/X0", true],
    ["unix:/tmp/.X11-unix/X*", "/tmp/.X11-unix/Y0", false],
  ])("%s is about %s: %s", (text, path, about) => {
    const rule = readRule(text)
    expect(rule.type === "path" && includesPath(rule, path)).toBe(about)
  })
})

test.each([
  ["", /HOST:PORT, as in db\.internal:5432/],
  ["db.internal", /names no port: write db\.internal:5432/],
  ["10.0.0.0/8", /names no port: write 10\.0\.0\.0\/8:5432/],
  ["fd00::/8", /names no port: write fd00::\/8:5432/],
  ["[::1]", /names no port/],
  ["*", /names no port/],
  [":80", /HOST:PORT/],
  ["::1:80", /brackets/],
  ["fe80::1", /brackets/],
  ["http://localhost:80", /it is a URL/],
  ["db:0", /neither a port nor a range/],
  ["db:65536", /neither a port nor a range/],
  ["db:9-8", /neither a port nor a range/],
  ["db:http", /neither a port nor a range/],
  ["db:", /neither a port nor a range/],
  ["99999", /neither a port nor a range/],
  ["10.0.0.0/33:80", /\/33 is not a length/],
  ["::/129:80", /\/129 is not a length/],
  ["[::ffff:10.0.0.0]/95:80", /\/95 is not a length/],
  ["010.0.0.1:80", /is not a name/],
  ["2852039166:80", /is not a name/],
  ["db/8:80", /is not a name/],
  ["a b:80", /is not a name/],
  ["[fe80::1%eth0]:80", /is not a name/],
  ["*.10.0.0.1:80", /behind \*\. goes a name/],
  ["a*.com:80", /is not a name/],
  ["udp:53:53", /brackets/],
  ["listen:db.internal:80", /listens at an IP address/],
  ["listen:*.db:80", /listens at an IP address/],
  ["unix:run/app.sock", /absolute path/],
  ["unix:/run/../app.sock", /absolute path/],
  ["unix:/run//app.sock", /absolute path/],
  ["unix:/run/*/app.sock", /last character/],
  ["unix:", /absolute path/],
])('"%s" is refused with what is wrong and how it should look', (text, message) => {
  expect(() => readRule(text)).toThrow(UsageError)
  expect(() => readRule(text)).toThrow(message)
  expect(() => readRule(text)).toThrow(`"${text}" is not a rule`)
})

describe("the URL of a service", () => {
  test.each([
    ["http://localhost:3000", { host: "localhost", port: 3000 }, undefined],
    ["http://app.internal", { host: "app.internal", port: 80 }, undefined],
    ["https://App.internal/", { host: "app.internal", port: 443 }, { verify: true }],
    ["https://app.internal:80", { host: "app.internal", port: 80 }, { verify: true }],
    ["https+insecure://[::1]:8443", { host: "::1", port: 8443 }, { verify: false }],
    ["http://127.1:80", { host: "127.0.0.1", port: 80 }, undefined],
    ["unix:/run/app.sock", { path: "/run/app.sock" }, undefined],
    ["unix+tls:/run/app.sock", { path: "/run/app.sock" }, { verify: true }],
  ])("%s", (url, target, tls) => {
    expect(readServiceUrl(url).service).toEqual({ target, tls })
  })

  test.each([
    ...[
      "",
      "localhost:3000",
      "ftp://a",
      "http://",
      "http://a:0",
      "http://a:65536",
      "http://a/path",
      "http://a?b",
      "http://u:p@a",
      "http://*:80",
    ],
    ...[
      "http://*.a:80",
      "http://256.1.1.1",
      "http:/a",
      "unix:a",
      "unix:/a/../b",
      "unix:/a/*",
      "unix:/a/",
      "unix+insecure:/a",
      "https+insecure:/a",
    ],
  ])('"%s" is refused', (url) => {
    expect(() => readServiceUrl(url)).toThrow(UsageError)
    expect(() => readServiceUrl(url)).toThrow(/https\+insecure:\/\/HOST:PORT/)
  })

  test.each(["", "0", "65536", "080", "1e3", "http"])('goes with a port, which "%s" is not', (text) => {
    expect(() => readServicePort(text)).toThrow(UsageError)
  })
})
