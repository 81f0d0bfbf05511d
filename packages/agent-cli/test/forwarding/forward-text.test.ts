import { describe, expect, test } from "vitest"
import { forwardDocument, forwardLine, isPrivate } from "../../src/forwarding/forward-text.ts"

describe("a forward that is ready", () => {
  test.each([
    [
      { type: "local", agent: "b", listen: { host: "localhost", port: 5433 }, target: { host: "::1", port: 5432 } },
      "127.0.0.1:5433 -> b [::1]:5432",
      { type: "local", agent: "b", listen: { host: "127.0.0.1", port: 5433 }, target: { host: "::1", port: 5432 } },
    ],
    [
      { type: "local", agent: "b", listen: { path: "/tmp/a" }, target: { path: "/run/b" } },
      "/tmp/a -> b /run/b",
      { type: "local", agent: "b", listen: { path: "/tmp/a" }, target: { path: "/run/b" } },
    ],
    [
      { type: "reverse", agent: "b", listen: { host: "localhost", port: 9000 }, target: { host: "localhost", port: 3000 } },
      "b 127.0.0.1:9000 -> localhost:3000",
      { type: "reverse", agent: "b", listen: { host: "127.0.0.1", port: 9000 }, target: { host: "localhost", port: 3000 } },
    ],
    [
      { type: "socks", agent: "b", listen: { host: "*", port: 1080 } },
      "*:1080 -> b, SOCKS5",
      { type: "socks", agent: "b", listen: { host: "*", port: 1080 } },
    ],
  ] as const)("%j is a line and a document", (forward, line, document) => {
    expect(forwardLine(forward)).toBe(line)
    expect(forwardDocument(forward)).toEqual(document)
  })

  test.each([
    [{ host: "localhost", port: 1 }, true],
    [{ host: "127.8.0.1", port: 1 }, true],
    [{ host: "::1", port: 1 }, true],
    [{ path: "/tmp/a" }, true],
    [{ host: "*", port: 1 }, false],
    [{ host: "0.0.0.0", port: 1 }, false],
    [{ host: "::", port: 1 }, false],
    [{ host: "192.168.1.7", port: 1 }, false],
    [{ host: "127.0.0.1.example.com", port: 1 }, false],
  ])("%j is for this machine alone: %s", (address, expected) => {
    expect(isPrivate(address)).toBe(expected)
  })
})
