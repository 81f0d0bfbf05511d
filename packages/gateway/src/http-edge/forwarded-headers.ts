/** The headers a service gets: the client's, without what belongs to one connection or to us, and with what says who asked, and where. */
import { endToEndHeaders, type HeaderList } from "@trunkline/protocol"
import { bytesOfText } from "./field-value.ts"

export interface Forwarding {
  /** The Host the service sees. */
  readonly host: string
  /** The Host the client asked for. */
  readonly askedHost: string
  readonly scheme: "http" | "https"
  /** Where the client's request came from. */
  readonly client: string | undefined
  /** What stands in front of the service's paths. */
  readonly prefix?: string
}

/** Headers of a WebSocket's handshake, which each leg makes for itself. */
export const handshakeHeaders: readonly string[] = [
  "sec-websocket-accept",
  "sec-websocket-extensions",
  "sec-websocket-key",
  "sec-websocket-protocol",
  "sec-websocket-version",
]

/** Written by us, so that a client cannot, or for us alone; `expect` has been answered by the runtime. */
const ourHeaders: readonly string[] = [
  "host",
  "expect",
  "proxy-authorization",
  "trunkline-authorization",
  "x-forwarded-host",
  "x-forwarded-prefix",
  "x-forwarded-proto",
]

/** `dropped` are the names, in lower case, of what else stays behind. */
export function forwardedHeaders(headers: Headers, forwarding: Forwarding, dropped: readonly string[] = []): HeaderList {
  const { host, askedHost, scheme, client, prefix } = forwarding
  const behind = new Set([...ourHeaders, ...dropped, "x-forwarded-for", "forwarded"])
  // First, so that a client cannot name one of ours in its Connection.
  const kept = endToEndHeaders([...headers]).filter(([name]) => !behind.has(name) && !isPlatform(name))
  const before = (name: string): string[] => {
    const value = headers.get(name)
    return value === null || value === "" ? [] : [value]
  }
  const addresses = [...before("x-forwarded-for"), ...(client === undefined ? [] : [client])]
  const list: [string, string][] = [
    ["host", host],
    ...kept,
    ...(addresses.length === 0 ? [] : [["x-forwarded-for", addresses.join(", ")] as [string, string]]),
    ["x-forwarded-proto", scheme],
    ["x-forwarded-host", askedHost],
    ...(prefix === undefined ? [] : [["x-forwarded-prefix", prefix] as [string, string]]),
    ["forwarded", [...before("forwarded"), element(forwarding)].join(", ")],
  ]
  return list.map(([name, value]) => [name, bytesOfText(value)])
}

/** Cloudflare's own, which tell of its edge and not of the client; off its edge anybody could write them. */
const isPlatform = (name: string): boolean => name.startsWith("cf-")

/** RFC 7239. */
function element({ client, scheme, askedHost }: Forwarding): string {
  const node = client === undefined ? "unknown" : client.includes(":") ? `"[${client}]"` : client
  return `for=${node};host="${askedHost.replace(/["\\]/g, "\\$&")}";proto=${scheme}`
}

/** The IP address of whoever is connected; undefined where the runtime does not tell. */
export function clientAddress(request: Request): string | undefined {
  // workerd on one's own machine says it in `cf`, where nobody from outside can write; Cloudflare in a header, and there a data centre is named too.
  const { clientIp, colo } = (request.cf ?? {}) as { readonly clientIp?: unknown; readonly colo?: unknown }
  const named = typeof clientIp === "string" ? clientIp : colo === undefined ? null : request.headers.get("cf-connecting-ip")
  const address = named?.replace(/^\[(.*)\](?::\d+)?$/, "$1").replace(/^([\d.]+):\d+$/, "$1")
  return address !== undefined && /^[\da-fA-F.:]+$/.test(address) ? address : undefined
}
