/**
 * Who is calling. Credentials are the gateway secret and keys derived from it, in the Authorization header and never
 * in a URL, where logs would keep them. Compared by digest, so that time says nothing of how much matched.
 */
import { type EndpointName, type Principal, TunnelError } from "@trunkline/protocol"
import type { Env } from "./env.ts"

/** Every secret that is valid now, the current one first. */
export type Secrets = readonly [current: string, ...others: string[]]

/** What the holder of the gateway secret is to an agent: everything. */
export const gatewayPrincipal: Principal = { id: "gateway", scopes: ["read", "exec", "pty", "http", "tcp", "admin"] }

const encoder = new TextEncoder()
const bearerPattern = /^Bearer +(.+)$/i

export function secretsOf(env: Env): Secrets {
  const { GATEWAY_SECRET: current, GATEWAY_SECRET_PREVIOUS: previous } = env
  if (current === undefined || current === "") {
    throw new TunnelError("internal", "this gateway has no GATEWAY_SECRET: set one (`wrangler secret put GATEWAY_SECRET`) and try again")
  }
  return previous === undefined || previous === "" ? [current] : [current, previous]
}

/** Throws `unauthorised` unless the request bears the gateway secret. */
export async function requireGateway(request: Request, secrets: Secrets): Promise<void> {
  if (!(await isAnyOf(bearerOf(request), secrets))) throw new TunnelError("unauthorised", "the credential is not this gateway's secret")
}

/** Whether this is `Bearer` and the gateway secret. */
export async function isGatewayBearer(value: string | null, secrets: Secrets): Promise<boolean> {
  const bearer = bearerPattern.exec(value ?? "")?.[1]
  return bearer !== undefined && (await isAnyOf(bearer, secrets))
}

/** Throws `unauthorised` unless the request bears the gateway secret or the key of this very agent. */
export async function requireAgent(request: Request, secrets: Secrets, name: EndpointName): Promise<void> {
  const bearer = bearerOf(request)
  const keys = await Promise.all(secrets.map((secret) => agentKey(secret, name)))
  if (!(await isAnyOf(bearer, [...secrets, ...keys]))) {
    throw new TunnelError("unauthorised", `the credential is neither this gateway's secret nor the key of "${name}"`)
  }
}

/** Whether the request brings a bearer credential at all. */
export const hasBearer = (request: Request): boolean => request.headers.has("authorization")

/** An agent's own key: hex HMAC-SHA256 over "agent:NAME". */
export const agentKey = async (secret: string, name: EndpointName): Promise<string> => hex(await hmac(secret, `agent:${name}`))

export async function hmac(secret: string, message: string): Promise<Uint8Array> {
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"])
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, encoder.encode(message)))
}

/** Whether two byte strings of one length are equal, in constant time. */
export const equalBytes = (left: Uint8Array, right: Uint8Array): boolean =>
  left.byteLength === right.byteLength && crypto.subtle.timingSafeEqual(left, right)

function bearerOf(request: Request): string {
  const header = request.headers.get("authorization")
  if (header === null)
    throw new TunnelError("unauthorised", "no credential: send `Authorization: Bearer …`; a credential in the URL is never read")
  const bearer = bearerPattern.exec(header)?.[1]
  if (bearer === undefined) throw new TunnelError("unauthorised", "the Authorization header is not `Bearer …`")
  return bearer
}

/** Looks at every candidate, so that the time is the same whichever matches. */
async function isAnyOf(value: string, candidates: readonly string[]): Promise<boolean> {
  const digest = await sha256(value)
  const matches = await Promise.all(candidates.map(async (candidate) => equalBytes(digest, await secretDigest(candidate))))
  return matches.includes(true)
}

/** Digests per isolate that are kept, each some hundred bytes; an isolate sees two secrets, and two keys for each agent that dials it. */
const digestsMax = 1_024
const digests = new Map<string, Uint8Array>()

async function secretDigest(secret: string): Promise<Uint8Array> {
  let digest = digests.get(secret)
  if (digest === undefined) {
    digest = await sha256(secret)
    if (digests.size >= digestsMax) digests.clear()
    digests.set(secret, digest)
  }
  return digest
}

const sha256 = async (text: string): Promise<Uint8Array> => new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text)))

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
