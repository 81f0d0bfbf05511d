/** An address is the same in every spelling that the system's resolver knows. */
import { lookup } from "node:dns/promises"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { facesOf, readHost } from "../../src/targets/address.ts"

const addressText = (host: string): string | undefined => {
  const read = readHost(host)
  return read?.type === "address" ? read.address.text : undefined
}

const octet = fc.oneof(fc.constantFrom(0, 1, 8, 127, 169, 254, 255), fc.integer({ min: 0, max: 255 }))
const octets = fc.tuple(octet, octet, octet, octet)
const spelledNumber = (value: number, base: "decimal" | "octal" | "hex" | "HEX"): string => {
  switch (base) {
    case "decimal":
      return String(value)
    case "octal":
      return value === 0 ? "0" : `0${value.toString(8)}`
    case "hex":
      return `0x${value.toString(16)}`
    case "HEX":
      return `0X${value.toString(16).toUpperCase()}`
  }
}
/** One to four parts, each in a base of its own; the last one holds what is left. */
const spelled = fc
  .tuple(
    octets,
    fc.integer({ min: 1, max: 4 }),
    fc.array(fc.constantFrom("decimal", "octal", "hex", "HEX"), { minLength: 4, maxLength: 4 }),
  )
  .map(([parts, count, bases]) => {
    const last = parts.slice(count - 1).reduce((value, part) => value * 256 + part, 0)
    const numbers = [...parts.slice(0, count - 1), last]
    const text = numbers.map((number, index) => spelledNumber(number, bases[index] ?? "decimal")).join(".")
    return { text, plain: parts.join(".") }
  })

describe("an IPv4 address", () => {
  test("is itself in every base and with parts left out", () => {
    fc.assert(
      fc.property(spelled, ({ text, plain }) => {
        expect(addressText(text)).toBe(plain)
      }),
    )
  })

  test("is what the system's resolver makes of it", async () => {
    // Numbers are no question to a name server.
    await fc.assert(
      fc.asyncProperty(spelled, async ({ text }) => {
        expect(addressText(text)).toBe((await lookup(text, { family: 4 })).address)
      }),
      { numRuns: 50 },
    )
  })

  test.each([
    ["2852039166", "169.254.169.254"],
    ["0xA9FEA9FE", "169.254.169.254"],
    ["0251.254.169.254", "169.254.169.254"],
    ["169.254.43518", "169.254.169.254"],
    ["169.254.169.254.", "169.254.169.254"],
    ["127.1", "127.0.0.1"],
    ["0", "0.0.0.0"],
  ])("may come as %s", (text, plain) => {
    expect(readHost(text)).toEqual({ type: "address", address: { family: "ipv4", text: plain }, connectText: plain })
  })

  test("is itself behind every spelling of the IPv6 address that maps it", () => {
    const mapped = fc
      .tuple(octets, fc.constantFrom("::ffff:", "::FFFF:", "0:0:0:0:0:ffff:", "0000::ffff:"), fc.boolean())
      .map(([parts, prefix, hex]) => {
        const [a, b, c, d] = parts
        const tail = hex ? `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}` : parts.join(".")
        return { text: `${prefix}${tail}`, plain: parts.join(".") }
      })
    fc.assert(
      fc.property(mapped, ({ text, plain }) => {
        expect(addressText(text)).toBe(plain)
      }),
    )
  })
})

describe("an IPv6 address", () => {
  test("has one spelling", () => {
    for (const text of ["fe80::1", "FE80::1", "fe80:0:0:0:0:0:0:1", "fe80:0000::0001"]) expect(addressText(text)).toBe("fe80::1")
  })

  test("keeps its zone for who connects to it, and is compared without", () => {
    expect(readHost("FE80::1%eth0")).toEqual({ type: "address", address: { family: "ipv6", text: "fe80::1" }, connectText: "fe80::1%eth0" })
  })

  test("has a second face where it carries an IPv4 address", () => {
    const carried = fc.tuple(octets, fc.constantFrom("nat64", "6to4", "teredo", "translated", "compatible")).map(([parts, form]) => {
      const [a, b, c, d] = parts
      const [high, low] = [a * 256 + b, c * 256 + d]
      const hex = (group: number) => group.toString(16)
      switch (form) {
        case "nat64":
          return { text: `64:ff9b::${parts.join(".")}`, plain: parts.join(".") }
        case "6to4":
          return { text: `2002:${hex(high)}:${hex(low)}:1::1`, plain: parts.join(".") }
        case "teredo":
          return { text: `2001:0:4136:e378:8000:63bf:${hex(high ^ 0xffff)}:${hex(low ^ 0xffff)}`, plain: parts.join(".") }
        case "translated":
          return { text: `::ffff:0:${hex(high)}:${hex(low)}`, plain: parts.join(".") }
        default:
          // :: and ::1 are addresses of their own.
          return { text: `::${hex(high | 1)}:${hex(low)}`, plain: [a, b | 1, c, d].join(".") }
      }
    })
    fc.assert(
      fc.property(carried, ({ text, plain }) => {
        const host = readHost(text)
        expect(host?.type === "address" ? facesOf(host.address).map((face) => face.text) : []).toEqual([addressText(text), plain])
      }),
    )
  })

  test.each(["::1", "2606:4700::1111", "fd00::1", "64:ff9c::1"])("has one face otherwise: %s", (text) => {
    expect(facesOf({ family: "ipv6", text })).toEqual([{ family: "ipv6", text }])
  })
})

test("what is unspecified leads to loopback", () => {
  expect(facesOf({ family: "ipv4", text: "0.0.0.0" }).at(-1)?.text).toBe("127.0.0.1")
  expect(facesOf({ family: "ipv6", text: "::" }).at(-1)?.text).toBe("::1")
})

test.each([
  ["localhost", "localhost"],
  ["DB.Internal.", "db.internal"],
  ["1f2e3d4c5b6a", "1f2e3d4c5b6a"],
  ["my_service.default.svc", "my_service.default.svc"],
])("%s is the name %s", (text, name) => {
  expect(readHost(text)).toEqual({ type: "name", name })
})

test.each([
  "",
  ".",
  "..",
  "a..b",
  "-a",
  "a b",
  "1.2.3.4.5",
  "256.1.1.1",
  "1.2.3.08",
  "4294967296",
  "169.254.169.25%34",
  "[::1]",
  "::1::",
  "a/b",
  "x".repeat(254),
])('"%s" is neither a name nor an address', (text) => {
  expect(readHost(text)).toBeUndefined()
})
