import { TunnelError } from "@trunkline/protocol"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { encodeReply, replyOf, SocksHandshake, type SocksVerdict, socksReplies } from "../../src/forwarding/socks-handshake.ts"

const bytes = (...parts: readonly (number | string)[]): Uint8Array =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : Buffer.of(part))))

interface Outcome {
  readonly replies: Buffer
  readonly verdict: SocksVerdict
}

/** Until a verdict is the last; `rest` includes what came behind it. */
function feed(pieces: readonly Uint8Array[]): Outcome {
  const handshake = new SocksHandshake()
  const replies: Uint8Array[] = []
  let verdict: SocksVerdict = { type: "more" }
  for (const [at, piece] of pieces.entries()) {
    verdict = handshake.take(piece)
    if (verdict.reply !== undefined) replies.push(verdict.reply)
    if (verdict.type === "connect")
      verdict = {
        type: "connect",
        version: verdict.version,
        target: verdict.target,
        rest: Buffer.concat([verdict.rest, ...pieces.slice(at + 1)]),
      }
    if (verdict.type !== "more") break
  }
  return { replies: Buffer.concat(replies), verdict }
}

const greeting = bytes(5, 1, 0)

describe("CONNECT", () => {
  test.each([
    ["an IPv4 address", bytes(5, 1, 0, 1, 10, 0, 0, 7, 0x1f, 0x90), { host: "10.0.0.7", port: 8080 }],
    ["an IPv6 address", bytes(5, 1, 0, 4, ..."\0".repeat(15), 1, 0, 80), { host: "::1", port: 80 }],
    [
      "a long IPv6 address",
      bytes(5, 1, 0, 4, "\x20\x01\x0d\xb8\0\x01\0\0\0\0\0\0\0\0\xab\xcd", 0, 80),
      { host: "2001:db8:1::abcd", port: 80 },
    ],
    ["a name", bytes(5, 1, 0, 3, 11, "db.internal", 0x15, 0x38), { host: "db.internal", port: 5432 }],
    ["an address written as a name", bytes(5, 1, 0, 3, 5, "[::1]", 0, 80), { host: "::1", port: 80 }],
  ])("version 5 to %s", (_what, request, target) => {
    const { replies, verdict } = feed([greeting, request])
    expect([...replies]).toEqual([5, 0])
    expect(verdict).toMatchObject({ type: "connect", version: 5, target })
  })

  test.each([
    ["an address", bytes(4, 1, 0x1f, 0x90, 10, 0, 0, 7, "user", 0), { host: "10.0.0.7", port: 8080 }],
    ["a name (4a)", bytes(4, 1, 0, 80, 0, 0, 0, 1, 0, "db.internal", 0), { host: "db.internal", port: 80 }],
  ])("version 4 to %s", (_what, request, target) => {
    expect(feed([request])).toMatchObject({ replies: Buffer.alloc(0), verdict: { type: "connect", version: 4, target } })
  })

  const request5 = fc
    .tuple(fc.domain(), fc.integer({ min: 1, max: 65_535 }), fc.uint8Array({ maxLength: 3 }))
    .map(([host, port, methods]) => ({
      host,
      port,
      request: bytes(5, methods.length + 1, ...methods, 0, 5, 1, 0, 3, host.length, host, port >> 8, port & 255),
    }))
  const request4 = fc
    .tuple(fc.domain(), fc.integer({ min: 1, max: 65_535 }), fc.string({ unit: "grapheme-ascii", maxLength: 40 }))
    .map(([host, port, user]) => ({ host, port, request: bytes(4, 1, port >> 8, port & 255, 0, 0, 0, 9, user, 0, host, 0) }))

  test("is understood however it is split, and what follows belongs to the connection", () => {
    fc.assert(
      fc.property(
        fc.oneof(request5, request4),
        fc.uint8Array({ maxLength: 300 }),
        fc.array(fc.nat(600)),
        ({ host, port, request }, payload, cuts) => {
          const all = Buffer.concat([request, payload])
          const at = [0, ...cuts.filter((cut) => cut < all.byteLength).sort((a, b) => a - b), all.byteLength]
          const { verdict } = feed(at.slice(1).map((end, index) => all.subarray(at[index], end)))
          expect(verdict).toMatchObject({ type: "connect", target: { host, port } })
          expect(verdict.type === "connect" && Buffer.from(verdict.rest).equals(payload)).toBe(true)
        },
      ),
    )
  })
})

describe("what is refused", () => {
  test.each([
    ["a password alone", bytes(5, 1, 2), [5, 0xff], /authentication/],
    ["no method at all", bytes(5, 0), [5, 0xff], /authentication/],
    ["BIND", bytes(5, 1, 0, 5, 2, 0, 1), [5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0], /BIND/],
    ["UDP ASSOCIATE", bytes(5, 1, 0, 5, 3, 0, 1), [5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0], /UDP/],
    ["a command that there is not", bytes(5, 1, 0, 5, 99), [5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0], /command 99/],
    ["a type of address that there is not", bytes(5, 1, 0, 5, 1, 0, 2), [5, 0, 5, 8, 0, 1, 0, 0, 0, 0, 0, 0], /type 2/],
    ["a name of no characters", bytes(5, 1, 0, 5, 1, 0, 3, 0), [5, 0, 5, 8, 0, 1, 0, 0, 0, 0, 0, 0], /no name/],
    ["a name that is none", bytes(5, 1, 0, 5, 1, 0, 3, 3, "a\0b", 0, 80), [5, 0, 5, 4, 0, 1, 0, 0, 0, 0, 0, 0], /no host name/],
    ["port 0", bytes(5, 1, 0, 5, 1, 0, 1, 10, 0, 0, 7, 0, 0), [5, 0, 5, 4, 0, 1, 0, 0, 0, 0, 0, 0], /no port/],
    ["another version after the greeting", bytes(5, 1, 0, 4, 1), [5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0], /SOCKS5/],
    ["BIND of version 4", bytes(4, 2), [0, 91, 0, 0, 0, 0, 0, 0], /BIND/],
    ["an endless user name", bytes(4, 1, 0, 80, 10, 0, 0, 7, "u".repeat(256)), [0, 91, 0, 0, 0, 0, 0, 0], /longer than 255/],
    ["an endless name", bytes(4, 1, 0, 80, 0, 0, 0, 1, 0, "n".repeat(256)), [0, 91, 0, 0, 0, 0, 0, 0], /longer than 255/],
    ["TLS", bytes(0x16, 3, 1), [], /does not speak SOCKS/],
  ])("%s", (_what, sent, reply, why) => {
    const { replies, verdict } = feed([sent])
    expect([...replies]).toEqual(reply)
    expect(verdict).toMatchObject({ type: "refuse", why: expect.stringMatching(why) })
  })

  test("HTTP gets an answer that HTTP clients show", () => {
    const { replies, verdict } = feed([bytes("CONNECT db:5432 HTTP/1.1\r\n")])
    expect(verdict).toMatchObject({ type: "refuse", why: expect.stringContaining("HTTP") })
    const [head = "", body = ""] = replies.toString().split("\r\n\r\n")
    expect(head).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
    expect(head).toContain(`Content-Length: ${body.length}`)
    expect(body).toContain("SOCKS5")
  })

  test("whatever comes, an answer is short, and nothing waits for more than a request can be", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 80 }), { minLength: 20 }),
        fc.constantFrom(4, 5, undefined),
        (pieces, version) => {
          const all = version === undefined ? pieces : [Uint8Array.of(version), ...pieces]
          const { replies, verdict } = feed(all)
          expect(replies.byteLength).toBeLessThan(400)
          const total = all.reduce((sum, piece) => sum + piece.byteLength, 0)
          if (total > 8 + 2 * 256 + 80) expect(verdict.type).not.toBe("more")
        },
      ),
    )
  })
})

describe("answers", () => {
  test("are ten bytes of version 5 and eight of version 4", () => {
    expect([...encodeReply(5, socksReplies.succeeded)]).toEqual([5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    expect([...encodeReply(5, socksReplies.refused)]).toEqual([5, 5, 0, 1, 0, 0, 0, 0, 0, 0])
    expect([...encodeReply(4, socksReplies.succeeded)]).toEqual([0, 90, 0, 0, 0, 0, 0, 0])
    expect([...encodeReply(4, socksReplies.refused)]).toEqual([0, 91, 0, 0, 0, 0, 0, 0])
  })

  test.each([
    ["denied", 2],
    ["service-refused", 5],
    ["service-unreachable", 4],
    ["service-timeout", 6],
    ["agent-offline", 3],
    ["link-lost", 3],
    ["internal", 1],
  ] as const)("%s is reply %i", (code, reply) => {
    expect(replyOf(new TunnelError(code, "why"))).toBe(reply)
  })
})
