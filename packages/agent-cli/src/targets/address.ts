/** Hosts as they are compared: a name, or an IP address of one spelling, whichever of its many it came in. */
import { isIPv4, isIPv6 } from "node:net"

export interface Address {
  readonly family: "ipv4" | "ipv6"
  /** Without a zone. */
  readonly text: string
}

/** `connectText` is the address with its zone (`fe80::1%eth0`), for whoever connects to it. */
export type Host =
  | { readonly type: "address"; readonly address: Address; readonly connectText: string }
  | { readonly type: "name"; readonly name: string }

const namePattern = /^(?!-)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?$/i

/**
 * Undefined for what is neither. What a resolver would take for an IPv4 address is one: `127.1`, `2852039166`, `0xA9FEA9FE`, `0251.254.169.254`.
 * A name comes in lower case and without the dot at its end.
 */
export function readHost(text: string): Host | undefined {
  if (isIPv6(text)) {
    const [bare = "", zone] = text.split("%")
    const address = ipv6Address(bare)
    return {
      type: "address",
      address,
      connectText: address.family === "ipv6" && zone !== undefined ? `${address.text}%${zone}` : address.text,
    }
  }
  if (!namePattern.test(text) || text.length > 253) return undefined
  const name = text.toLowerCase().replace(/\.$/, "")
  // The URL standard's rule for hosts that are IPv4 addresses or nothing.
  if (!/(?:^|\.)(?:\d+|0x[0-9a-f]*)$/.test(name)) return { type: "name", name }
  const ipv4 = URL.parse(`http://${name}`)?.hostname
  if (ipv4 === undefined || !isIPv4(ipv4)) return undefined
  return { type: "address", address: { family: "ipv4", text: ipv4 }, connectText: ipv4 }
}

const ipv4Of = (high: number, low: number): Address => ({
  family: "ipv4",
  text: [high >> 8, high & 0xff, low >> 8, low & 0xff].join("."),
})

/** The IPv4 address itself where IPv6 only maps it: the system connects to that. */
function ipv6Address(text: string): Address {
  const { hostname } = new URL(`http://[${text}]`)
  const [a, b, c, d, e, f, high = 0, low = 0] = groupsOf(hostname)
  if (a === 0 && b === 0 && c === 0 && d === 0 && e === 0 && f === 0xffff) return ipv4Of(high, low)
  return { family: "ipv6", text: hostname.slice(1, -1) }
}

/** The eight numbers of an address in brackets, as URLs spell it. */
function groupsOf(bracketed: string): readonly number[] {
  const [front, back] = bracketed
    .slice(1, -1)
    .split("::")
    .map((half) => (half === "" ? [] : half.split(":").map((group) => Number.parseInt(group, 16))))
  if (front === undefined || back === undefined) return front ?? []
  return [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back]
}

/** Where IPv6 addresses carry an IPv4 address, which a translator or a tunnel may connect to in their place. */
const carriers: readonly { readonly prefix: readonly number[]; readonly at: number; readonly inverted?: true }[] = [
  /** NAT64, RFC 6052. */
  { prefix: [0x64, 0xff9b, 0, 0, 0, 0], at: 6 },
  /** 6to4, RFC 3056. */
  { prefix: [0x2002], at: 1 },
  /** Teredo, RFC 4380. */
  { prefix: [0x2001, 0], at: 6, inverted: true },
  /** Translated, RFC 2765, and compatible, RFC 4291. */
  { prefix: [0, 0, 0, 0, 0xffff, 0], at: 6 },
  { prefix: [0, 0, 0, 0, 0, 0], at: 6 },
]

/** The address, and the one that connecting to it can lead to. */
export function facesOf(address: Address): readonly Address[] {
  if (address.text === "0.0.0.0") return [address, { family: "ipv4", text: "127.0.0.1" }]
  if (address.text === "::") return [address, { family: "ipv6", text: "::1" }]
  if (address.family === "ipv4" || address.text === "::1") return [address]
  const groups = groupsOf(`[${address.text}]`)
  const carrier = carriers.find(({ prefix }) => prefix.every((group, index) => groups[index] === group))
  if (carrier === undefined) return [address]
  const mask = carrier.inverted === true ? 0xffff : 0
  return [address, ipv4Of((groups[carrier.at] ?? 0) ^ mask, (groups[carrier.at + 1] ?? 0) ^ mask)]
}
