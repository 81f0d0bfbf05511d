/**
 * Tickets: how a browser, which cannot set headers on a socket or at a first visit, comes in without a credential in the URL. A ticket is good
 * for one agent, one use and 60 seconds, and either for a link or for the browser's way to one service. What was signed proves it here;
 * that it is used once is kept by the agent's object.
 */
import { type EndpointName, endpointName, type Principal, TunnelError } from "@trunkline/protocol"
import type { Secrets } from "./auth.ts"
import { base64UrlEncode } from "./base64url.ts"
import { readSigned, signed } from "./signed-claims.ts"

/** Milliseconds: enough to open a socket after a page has loaded, too short to be worth stealing. */
const ticketLifeMs = 60_000

const nonceBytes = 16
const purpose = "ticket"

export interface TicketClaims {
  readonly agent: EndpointName
  /** Epoch milliseconds. */
  readonly expiresAt: number
  readonly nonce: string
  readonly principal: Principal
  /** The port of the one service it is for; absent in a ticket for a link. */
  readonly http?: number
}

/** `http`: the port of a service, for a ticket to that instead of a link. */
export async function mintTicket(
  secrets: Secrets,
  agent: EndpointName,
  principal: Principal,
  now: number,
  http?: number,
): Promise<{ ticket: string; expiresAt: number }> {
  const nonce = base64UrlEncode(crypto.getRandomValues(new Uint8Array(nonceBytes)))
  const claims: TicketClaims = { agent, expiresAt: now + ticketLifeMs, nonce, principal, ...(http === undefined ? {} : { http }) }
  return { ticket: await signed(secrets, purpose, claims), expiresAt: claims.expiresAt }
}

/** The claims of a genuine, unexpired ticket for this agent, and for this service or else for a link; throws `unauthorised` for any other. */
export async function readTicket(secrets: Secrets, ticket: string, agent: EndpointName, now: number, http?: number): Promise<TicketClaims> {
  const claims = await readSigned<TicketClaims>(secrets, purpose, ticket)
  if (claims === undefined) throw new TunnelError("unauthorised", "this ticket was not made by this gateway")
  if (claims.expiresAt <= now)
    throw new TunnelError("unauthorised", `this ticket has expired: one is good for ${ticketLifeMs / 1000} seconds`)
  if (endpointName(claims.agent) !== agent) throw new TunnelError("unauthorised", `this ticket is not for "${agent}"`)
  if (claims.http !== http) {
    const meant = claims.http === undefined ? "a link" : `port ${claims.http}`
    throw new TunnelError("unauthorised", `this ticket is for ${meant} and not for ${http === undefined ? "a link" : `port ${http}`}`)
  }
  return claims
}
