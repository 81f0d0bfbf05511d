/** What the machine's owner lets clients reach, asked for every stream, with the addresses that a name stands for. */
import { isIP } from "node:net"
import { type HttpTarget, type ListenAddress, type StreamTarget, TunnelError } from "@trunkline/protocol"
import { type Host, readHost } from "./address.ts"
import { denial } from "./denial.ts"
import { isUnspecified } from "./network.ts"
import { type PolicyRules, readPolicyRules } from "./policy-rules.ts"
import { defaultPolicySettings, type PolicySettings } from "./policy-settings.ts"
import { Lookups, type Resolve, resolveBySystem } from "./resolve.ts"
import {
  type HostRule,
  includesAddress,
  includesPort,
  isEveryPort,
  isLocalName,
  isNormalPath,
  namesHost,
  type Rule,
  type Use,
} from "./rule.ts"
import type { HttpService } from "./service-url.ts"
import { judgeAddress, judgePath } from "./verdict.ts"

export type { HttpService } from "./service-url.ts"

/** One place to connect to. `host` is what was asked for; `address` is the IP address that was checked. */
export type Hop =
  | { readonly type: "tcp"; readonly host: string; readonly address: string; readonly port: number }
  | { readonly type: "unix"; readonly path: string }

/** The rules in force as they were written, those of the default where it counts. */
export interface PolicyDescription {
  readonly allow: Readonly<Record<Use, readonly string[]>>
  readonly deny: Readonly<Record<Use, readonly string[]>>
  /** URLs by port. */
  readonly services: Readonly<Record<string, string>>
  /** 0 for no limit, as for `idleMs`. */
  readonly firstByteMs: number
  readonly idleMs: number
}

/** What systems give for port 0 is this or higher. */
const freePortMin = 32_768

type FoundAddress = Extract<Host, { type: "address" }>

export class OwnerPolicy {
  readonly firstByteMs: number
  readonly idleMs: number
  readonly #rules: PolicyRules
  readonly #lookups: Lookups

  /** Throws UsageError for a rule that is none. */
  constructor(settings: PolicySettings = defaultPolicySettings, resolve: Resolve = resolveBySystem) {
    this.#rules = readPolicyRules(settings)
    this.#lookups = new Lookups(resolve)
    this.firstByteMs = settings.firstByteMs
    this.idleMs = settings.idleMs
  }

  /**
   * Where to connect to, in this order. Every address is allowed, and connecting to it asks no resolver again. Rejects with TunnelError `denied`,
   * `service-unreachable` for a name without addresses, `overloaded`, `bad-request` for a host or a path that is none.
   */
  async hops(target: StreamTarget, use: "tcp" | "http"): Promise<readonly Hop[]> {
    if ("path" in target) {
      const { path } = target
      this.#checkPath(path, use)
      return [{ type: "unix", path }]
    }
    const addresses = await this.#allowedAddresses(target, use)
    return addresses.map((address) => ({ type: "tcp", host: target.host, address, port: target.port }))
  }

  /** What stands at an HTTP target. Whether it may be reached, `hops` of its own target says. */
  service(target: HttpTarget): HttpService {
    if ("service" in target) {
      const named = this.#rules.services.get(target.service)
      return named?.service ?? { target: { host: "localhost", port: target.service }, tls: undefined }
    }
    const { tls, ...place } = target
    return { target: place, tls }
  }

  /** Throws TunnelError `denied`, or `bad-request` for a host or a path that is none. */
  checkListen(address: ListenAddress): void {
    if ("path" in address) return this.#checkPath(address.path, "listen")
    const { port } = address
    const host = knownHost(address.host)
    const { allow, deny } = this.#hostRules("listen", {
      allow: ({ ports }) => (port === 0 ? isEveryPort(ports) : includesPort(ports, port)),
      deny: ({ ports }) => (port === 0 ? ports.last >= freePortMin : includesPort(ports, port)),
    })
    // What has to be looked up would be the resolver's to say, and could stand for every interface.
    if (address.host !== "localhost" && isIP(address.host) === 0) throw denial(address, "listen", "unallowed")
    const addresses = host.type === "address" ? [host] : loopback
    for (const { address: at } of addresses) {
      // To listen at every interface is to listen at each of those that are denied.
      if (isUnspecified(at) ? deny.length > 0 : deny.some((rule) => includesAddress(rule, at))) throw denial(address, "listen", "deny")
      if (!allow.some((rule) => includesAddress(rule, at))) throw denial(address, "listen", "unallowed")
    }
  }

  describe(): PolicyDescription {
    const texts = (rules: readonly Rule[]) => rules.map(({ text }) => text)
    const { allow, deny, services } = this.#rules
    return {
      allow: { tcp: texts(allow.tcp), http: texts(allow.http), listen: texts(allow.listen) },
      deny: { tcp: texts(deny.tcp), http: texts(deny.http), listen: texts(deny.listen) },
      services: Object.fromEntries([...services].map(([port, { url }]) => [String(port), url])),
      firstByteMs: this.firstByteMs,
      idleMs: this.idleMs,
    }
  }

  async #allowedAddresses(target: { readonly host: string; readonly port: number }, use: "tcp" | "http"): Promise<readonly string[]> {
    const host = knownHost(target.host)
    const atPort = ({ ports }: HostRule) => includesPort(ports, target.port)
    const { allow, deny } = this.#hostRules(use, { allow: atPort, deny: atPort })
    if (host.type === "address") {
      const verdict = judgeAddress(host.address, { allow, deny, byName: false })
      if (verdict !== "allowed") throw denial(target, use, verdict)
      return [host.connectText]
    }
    if (deny.some((rule) => namesHost(rule, host.name))) throw denial(target, use, "deny")
    const byName = allow.some((rule) => namesHost(rule, host.name))
    const byAddress = allow.some(({ host: { type } }) => type === "network" || type === "loopback")
    if (!byName && !byAddress) throw denial(target, use, "unallowed")
    const found = await this.#addressesOf(target.host, host.name).catch((error: unknown) => {
      // Which names there are, and what they stand for, is told only of those that are allowed.
      throw byName || isOverloaded(error) ? error : denial(target, use, "unallowed")
    })
    const judged = found.map(({ address, connectText }) => ({ verdict: judgeAddress(address, { allow, deny, byName }), connectText }))
    const allowed = judged.filter(({ verdict }) => verdict === "allowed").map(({ connectText }) => connectText)
    if (allowed.length > 0) return [...new Set(allowed)]
    const isSpecial = judged.some(({ verdict }) => verdict === "special")
    throw denial(target, use, !byName ? "unallowed" : isSpecial ? "special-name" : "deny")
  }

  async #addressesOf(asked: string, name: string): Promise<readonly FoundAddress[]> {
    if (isLocalName(name)) return loopback
    try {
      const found = (await this.#lookups.addressesOf(asked)).map(readHost).filter((host) => host?.type === "address")
      if (found.length === 0) throw new Error("the resolver gives none")
      return found
    } catch (error) {
      if (isOverloaded(error)) throw error
      const reason = error instanceof Error ? error.message : String(error)
      throw new TunnelError("service-unreachable", `the agent's machine finds no address of ${asked}: ${reason}`, { cause: error })
    }
  }

  #checkPath(path: string, use: Use): void {
    if (!isNormalPath(path))
      throw new TunnelError("bad-request", `${path} is not the plain path of a unix socket: write it without // . and ..`)
    const ofPaths = (rules: readonly Rule[]) => rules.filter((rule) => rule.type === "path")
    const verdict = judgePath(path, ofPaths(this.#allow(use)), ofPaths(this.#rules.deny[use]))
    if (verdict !== "allowed") throw denial({ path }, use, verdict)
  }

  #hostRules(use: Use, counts: { allow(rule: HostRule): boolean; deny(rule: HostRule): boolean }): Record<"allow" | "deny", HostRule[]> {
    const ofHosts = (rules: readonly Rule[]) => rules.filter((rule) => rule.type === "host")
    return { allow: ofHosts(this.#allow(use)).filter(counts.allow), deny: ofHosts(this.#rules.deny[use]).filter(counts.deny) }
  }

  /** A service that is named is allowed by that. */
  #allow(use: Use): readonly Rule[] {
    const { allow, services } = this.#rules
    return use === "http" ? [...allow.http, ...[...services.values()].map(({ rule }) => rule)] : allow[use]
  }
}

/**
 * Of `localhost`, whatever the resolver says: many resolvers know one of them only, and many a development server listens at the other.
 */
const loopback: readonly FoundAddress[] = [
  { type: "address", address: { family: "ipv4", text: "127.0.0.1" }, connectText: "127.0.0.1" },
  { type: "address", address: { family: "ipv6", text: "::1" }, connectText: "::1" },
]

const isOverloaded = (error: unknown): boolean => error instanceof TunnelError && error.code === "overloaded"

function knownHost(text: string): Host {
  const host = readHost(text)
  if (host === undefined) throw new TunnelError("bad-request", `"${text}" is neither a host name nor an IP address`)
  return host
}
