/** Ranges of IP addresses: which addresses are in one, and which are reached only by a rule that names them. */
import { BlockList } from "node:net"
import type { Address } from "./address.ts"

export interface Network {
  readonly family: Address["family"]
  /** Leading bits that its addresses share. */
  readonly prefix: number
  includes(address: Address): boolean
}

export function network(address: Address, prefix: number): Network {
  const list = new BlockList()
  list.addSubnet(address.text, prefix, address.family)
  const { family } = address
  // A list would also look for an IPv4 address in the IPv6 ranges that map it: ::/0 is not meant for those.
  return { family, prefix, includes: (other) => other.family === family && list.check(other.text, family) }
}

const addressBits = { ipv4: 32, ipv6: 128 } as const
export const bitsOf = (family: Address["family"]): number => addressBits[family]

/** Of `ADDRESS/BITS`. */
const range = (text: string): Network => {
  const [address = "", prefix = ""] = text.split("/")
  const family = address.includes(":") ? "ipv6" : "ipv4"
  return network({ family, text: address }, Number(prefix))
}

const loopbacks = ["127.0.0.0/8", "::1/128"].map(range)
export const isLoopback = (address: Address): boolean => loopbacks.some((loopback) => loopback.includes(address))

/** To listen there is to listen at every address. */
export const isUnspecified = ({ text }: Address): boolean => text === "0.0.0.0" || text === "::"

/** What no wide rule means: whoever reaches it gets the machine's own credentials, its neighbours, or another place than was written. */
export const specialRanges = [
  /** "This" network, whose 0.0.0.0 and :: lead to loopback. */
  "0.0.0.0/8",
  "::/128",
  /** Link-local. */
  "169.254.0.0/16",
  "fe80::/10",
  /** Multicast, reserved and broadcast. */
  "224.0.0.0/4",
  "240.0.0.0/4",
  "255.255.255.255/32",
  "ff00::/8",
  /** Translators of the local network, RFC 8215, whose addresses carry IPv4 addresses at a place of their choice. */
  "64:ff9b:1::/48",
  /** Metadata, credentials and host services of clouds: most of them and OpenStack, AWS ECS and EKS, Tencent, Scaleway. */
  "169.254.169.254/32",
  "fe80::a9fe:a9fe/128",
  "169.254.170.2/32",
  "169.254.170.23/32",
  "fd00:ec2::/32",
  "169.254.0.23/32",
  "169.254.42.42/32",
  "fd00:42::42/128",
  /** Alibaba, Azure, Oracle, Google, Akamai. */
  "100.100.100.200/32",
  "fd00:100::100:200/128",
  "168.63.129.16/32",
  "192.0.0.192/32",
  "fd00:c1::a9fe:a9fe/128",
  "fd20:ce::254/128",
  "fd00:a9fe:a9fe::1/128",
] as const
const special = specialRanges.map(range)

/** Bits a rule's range must have at least, for that range to be one inside every special one the address is in; 0 where it is in none. */
export const specialPrefix = (address: Address): number =>
  Math.max(0, ...special.filter((candidate) => candidate.includes(address)).map(({ prefix }) => prefix))
