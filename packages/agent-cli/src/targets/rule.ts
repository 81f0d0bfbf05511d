/** One line of the owner's policy, `[tcp:|http:|listen:]HOST:PORT` or `[tcp:|http:|listen:]unix:PATH`: how it is read and what it is about. */
import { UsageError } from "../usage-error.ts"
import { type Address, readHost } from "./address.ts"
import { bitsOf, isLoopback, type Network, network } from "./network.ts"

/** `tcp` and `http` connect; `listen` is for what clients ask to be listened for here. */
const uses = ["tcp", "http", "listen"] as const
export type Use = (typeof uses)[number]

export interface Ports {
  readonly first: number
  readonly last: number
}

type HostPattern =
  | { readonly type: "any" }
  | { readonly type: "loopback" }
  | { readonly type: "name"; readonly name: string }
  /** With its dot: `.example.com`. */
  | { readonly type: "suffix"; readonly suffix: string }
  | { readonly type: "network"; readonly network: Network }

export interface HostRule {
  readonly type: "host"
  /** As it was written. */
  readonly text: string
  readonly uses: readonly Use[]
  readonly host: HostPattern
  readonly ports: Ports
}

export interface PathRule {
  readonly type: "path"
  readonly text: string
  readonly uses: readonly Use[]
  /** Normal. With `prefix` any path of the same directory that begins with it. */
  readonly path: string
  readonly prefix: boolean
}

export type Rule = HostRule | PathRule

const portMax = 65_535
const everyPort: Ports = { first: 1, last: portMax }

/** Throws UsageError that says what is wrong and how it should look. */
export function readRule(text: string): Rule {
  const refuse = (what: string): never => {
    throw new UsageError(`"${text}" is not a rule: ${what}`)
  }
  if (text.includes("://")) refuse("it is a URL: write HOST:PORT, as in localhost:3000")
  const [, use, place = ""] = /^(?:(tcp|http|listen):)?(.*)$/s.exec(text) ?? []
  const meant = uses.filter((candidate) => (use === undefined ? candidate !== "listen" : candidate === use))
  if (place.startsWith("unix:")) return { type: "path", text, uses: meant, ...readPath(place.slice("unix:".length), refuse) }
  const { host, ports } = splitPort(place, refuse)
  const pattern = readHostPattern(host, refuse)
  if (use === "listen" && (pattern.type === "name" || pattern.type === "suffix"))
    refuse("one listens at an IP address: write listen:loopback:8080, or listen:0.0.0.0:8080 for every interface")
  return { type: "host", text, uses: meant, host: pattern, ports }
}

type Refuse = (what: string) => never

function readPath(path: string, refuse: Refuse): Pick<PathRule, "path" | "prefix"> {
  const prefix = path.endsWith("*")
  const fixed = prefix ? path.slice(0, -1) : path
  if (!isNormalPath(fixed)) refuse("a unix socket has an absolute path without . or .. in it, as in unix:/run/app.sock or unix:/run/app/*")
  if (fixed.includes("*")) refuse("a * can only be the last character of a path, as in unix:/run/app/*")
  return { path: fixed, prefix }
}

/** Absolute, without empty parts, `.` and `..`, so that one place has one spelling. It may end in a slash. */
export const isNormalPath = (path: string): boolean => /^(?:\/(?!\.{0,2}(?:\/|$))[^/\0]+)*\/?$/.test(path) && path !== ""

function splitPort(place: string, refuse: Refuse): { readonly host: string; readonly ports: Ports } {
  if (/^\d+(?:-\d+)?$/.test(place)) return { host: "loopback", ports: readPorts(place, refuse) }
  const { host = "", port } = /^(?<host>\[[^\]]*\](?:\/\d+)?|[^[\]]*?(?:\/\d+)?)(?::(?<port>[^:/]*))?$/.exec(place)?.groups ?? {}
  // Without a slash behind it nobody can tell the last part of an IPv6 address from a port.
  if (/:.*:/.test(place) && !place.startsWith("[") && !host.includes("/")) refuse("brackets go around an IPv6 address, as in [::1]:8080")
  if (host === "" || host === "[]")
    refuse("write HOST:PORT, as in db.internal:5432, 10.0.0.0/8:*, loopback:8000-8999, or 5432 for loopback:5432")
  if (port === undefined) return refuse(`it names no port: write ${host}:5432, ${host}:8000-8999, or ${host}:* for all of them`)
  return { host: host.replace(/^\[([^\]]*)\]/, "$1"), ports: readPorts(port, refuse) }
}

function readPorts(text: string, refuse: Refuse): Ports {
  if (text === "*") return everyPort
  const [, from, to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? []
  const [first, last] = [Number(from), Number(to)]
  if (!(first >= 1 && first <= last && last <= portMax))
    refuse(`"${text}" is neither a port nor a range: write a number from 1 to 65535, two with a - between, the smaller one first, or *`)
  return { first, last }
}

function readHostPattern(text: string, refuse: Refuse): HostPattern {
  if (text === "*") return { type: "any" }
  if (text === "loopback") return { type: "loopback" }
  if (text.startsWith("*.")) {
    const host = readHost(text.slice(2))
    if (host?.type === "name") return { type: "suffix", suffix: `.${host.name}` }
    return refuse("behind *. goes a name, as in *.example.com:443")
  }
  const [, literal = "", bits] = /^([^/]*)(?:\/(\d+))?$/.exec(text) ?? []
  const host = literal.includes("%") ? undefined : readHost(literal)
  // To connect to localhost is to connect to either loopback address, so a rule for one spelling would hold for none.
  if (host?.type === "name" && bits === undefined) return host.name === "localhost" ? { type: "loopback" } : host
  // Of an address, only the usual spelling: half of its readers would misread 010.0.0.1.
  if (host?.type !== "address" || (!literal.includes(":") && literal !== host.address.text))
    return refuse(`"${text}" is not a name, *.name, an IP address, a range such as 10.0.0.0/8, loopback or *`)
  const { address } = host
  // ::ffff:10.0.0.0/104 is 10.0.0.0/8.
  const mappedBits = literal.includes(":") && address.family === "ipv4" ? 96 : 0
  const prefix = bits === undefined ? bitsOf(address.family) : Number(bits) - mappedBits
  if (prefix < 0 || prefix > bitsOf(address.family)) return refuse(`/${bits} is not a length of ${literal}`)
  return { type: "network", network: network(address, prefix) }
}

export const includesPort = ({ first, last }: Ports, port: number): boolean => first <= port && port <= last
export const isEveryPort = ({ first, last }: Ports): boolean => first === everyPort.first && last === everyPort.last

/** `name` as `readHost` gives it. */
export function namesHost({ host }: HostRule, name: string): boolean {
  switch (host.type) {
    case "any":
      return true
    case "loopback":
      return isLocalName(name)
    case "name":
      return host.name === name
    case "suffix":
      return name.endsWith(host.suffix)
    case "network":
      return false
  }
}

/** Names that are loopback by themselves (RFC 6761). */
export const isLocalName = (name: string): boolean => name === "localhost" || name.endsWith(".localhost")

export function includesAddress({ host }: HostRule, address: Address): boolean {
  switch (host.type) {
    case "any":
      return true
    case "loopback":
      return isLoopback(address)
    case "network":
      return host.network.includes(address)
    case "name":
    case "suffix":
      return false
  }
}

export function includesPath({ path, prefix }: PathRule, other: string): boolean {
  if (!prefix) return other === path
  return other.startsWith(path) && other.length > path.length && !other.includes("/", path.length)
}
