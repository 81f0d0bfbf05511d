/**
 * A browser's way to one service: a cookie for one host, made from a ticket. It is signed and nothing is kept for it, so it ends by its expiry, or with the
 * gateway's secret.
 */
import type { EndpointName, Principal } from "@trunkline/protocol"
import type { Secrets } from "../auth.ts"
import { readSigned, signed } from "../signed-claims.ts"
import type { Service } from "./service-address.ts"
import { RequestRefused } from "./service-failure.ts"

/** Milliseconds: a working day. */
export const sessionLifeMs = 28_800_000

/** The prefix makes browsers refuse the name to whoever could write cookies for a parent domain; they keep it over https only. */
const secureName = "__Host-trunkline-session"
const plainName = "trunkline-session"

const purpose = "session"

export interface SessionClaims {
  readonly agent: EndpointName
  readonly port: number
  readonly principal: Principal
  /** Epoch milliseconds. */
  readonly expiresAt: number
  /** The host it was made for. */
  readonly host: string
}

/** The value of `Set-Cookie`. */
export async function sessionCookie(secrets: Secrets, claims: SessionClaims, secure: boolean): Promise<string> {
  const value = await signed(secrets, purpose, claims)
  const attributes = `Path=/; Max-Age=${sessionLifeMs / 1000}; HttpOnly; SameSite=Lax`
  return secure ? `${secureName}=${value}; ${attributes}; Secure` : `${plainName}=${value}; ${attributes}`
}

/** The principal of a cookie that is good for this service on this host; undefined where there is none. */
export async function sessionPrincipal(
  secrets: Secrets,
  cookies: string | null,
  { agent, port, host }: Service & { readonly host: string },
  now: number,
): Promise<Principal | undefined> {
  const candidates = [...(cookies ?? "").matchAll(ownCookies)].slice(0, candidatesMax)
  for (const [, , , value = ""] of candidates) {
    const claims = await readSigned<SessionClaims>(secrets, purpose, value)
    if (claims === undefined || claims.expiresAt <= now) continue
    if (claims.agent === agent && claims.port === port && claims.host === host) return claims.principal
  }
  return undefined
}

/** Cookies of our name that are looked at: neighbours may write some in front of the real one, and each costs a signature. */
const candidatesMax = 16

/** With the comma, because the runtime joins repeated headers with one. */
const ownCookies = new RegExp(`(^|[;,])[ \\t]*(${secureName}|${plainName})=([^;,]*)`, "g")

/** The Cookie header without ours, the rest as it was; undefined when nothing is left. */
export function withoutSession(cookies: string): string | undefined {
  const rest = cookies.replace(ownCookies, (_match, before: string) => (before === "" ? "\n" : "")).replace(/^\n[;, \t]*/, "")
  return rest === "" ? undefined : rest
}

/** Whether a service's `Set-Cookie` would write our cookie. */
export const setsSession = (cookie: string): boolean => {
  const name = /^[^=;]*/.exec(cookie)?.[0].trim() ?? ""
  return name === secureName || name === plainName
}

const safeMethods: readonly string[] = ["GET", "HEAD", "OPTIONS"]

/**
 * Throws `denied` for what another page may have made this browser send with its cookie: anything that changes something, and sockets, which no page is kept from
 * reading.
 */
export function requireOwnPage(request: Request, { scheme, authority }: { readonly scheme: string; readonly authority: string }): void {
  const isSocket = request.headers.has("upgrade")
  if (safeMethods.includes(request.method) && !isSocket) return
  const site = request.headers.get("sec-fetch-site")
  const origin = request.headers.get("origin")
  const own = URL.parse(`${scheme}://${authority}`)
  const from = origin === null ? own : URL.parse(origin)
  // Behind something that ends TLS for us a page is on https without our knowing.
  const same = from !== null && own !== null && from.host === own.host && (from.protocol === own.protocol || from.protocol === "https:")
  if (!same || (site !== null && site !== "same-origin" && site !== "none")) {
    throw new RequestRefused(
      "denied",
      `a page of another origin (${origin ?? site}) may not use this browser's session: call with a bearer token, or from the service's own pages`,
    )
  }
}
