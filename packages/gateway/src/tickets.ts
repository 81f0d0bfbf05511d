/**
 * Tickets: how a browser, which cannot set headers on a socket, opens a link without a credential in the URL. A
 * ticket is `<claims>.<mac>` in base64url, good for one agent, one connection and 60 seconds. The mac proves it
 * here; that it is used once is kept by the agent's object.
 */
import { type EndpointName, endpointName, type Principal, TunnelError } from "@trunkline/protocol"
import { equalBytes, hmac, type Secrets } from "./auth.ts"
import { base64UrlDecode, base64UrlEncode } from "./base64url.ts"

/** Milliseconds: enough to open a socket after a page has loaded, too short to be worth stealing. */
const ticketLifeMs = 60_000

const nonceBytes = 16

export interface TicketClaims {
  readonly agent: EndpointName
  /** Epoch milliseconds. */
  readonly expiresAt: number
  readonly nonce: string
  readonly principal: Principal
}

export async function mintTicket(
  secrets: Secrets,
  agent: EndpointName,
  principal: Principal,
  now: number,
): Promise<{ ticket: string; expiresAt: number }> {
  const nonce = base64UrlEncode(crypto.getRandomValues(new Uint8Array(nonceBytes)))
  const claims: TicketClaims = { agent, expiresAt: now + ticketLifeMs, nonce, principal }
  const payload = base64UrlEncode(new TextEncoder().encode(JSON.stringify(claims)))
  return { ticket: `${payload}.${base64UrlEncode(await sign(secrets[0], payload))}`, expiresAt: claims.expiresAt }
}

/** The claims of a genuine, unexpired ticket for this agent; throws `unauthorised` for any other. */
export async function readTicket(secrets: Secrets, ticket: string, agent: EndpointName, now: number): Promise<TicketClaims> {
  const [payload = "", mac = "", ...rest] = ticket.split(".")
  const presented = base64UrlDecode(mac)
  const expected = await Promise.all(secrets.map((secret) => sign(secret, payload)))
  const genuine = presented !== undefined && expected.map((bytes) => equalBytes(bytes, presented)).includes(true)
  const json = base64UrlDecode(payload)
  if (!genuine || rest.length > 0 || json === undefined) throw new TunnelError("unauthorised", "this ticket was not made by this gateway")
  // Signed by us, so it has the shape we gave it.
  const claims = JSON.parse(new TextDecoder().decode(json)) as TicketClaims
  if (claims.expiresAt <= now)
    throw new TunnelError("unauthorised", `this ticket has expired: one is good for ${ticketLifeMs / 1000} seconds`)
  if (endpointName(claims.agent) !== agent) throw new TunnelError("unauthorised", `this ticket is not for "${agent}"`)
  return claims
}

/** The prefix keeps tickets apart from agent keys, which come from the same secret. */
const sign = (secret: string, payload: string): Promise<Uint8Array> => hmac(secret, `ticket:${payload}`)
