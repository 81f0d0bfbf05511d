/** Assertions: what a gateway tells an agent that it dials at its URL of the client it dials for. */
import { type AssertionClaims, assertionText, type EndpointName, encodeJson, limits, type Principal } from "@trunkline/protocol"
import type { TicketUse } from "./agent/upgrade.ts"
import { agentKey, hmac, type Secrets } from "./auth.ts"
import { base64UrlEncode } from "./base64url.ts"

const nonceBytes = 16

/** The nonce and the expiry are a ticket's, where the client has brought one: then the agent takes it once. */
export interface Asserted extends Partial<TicketUse> {
  readonly agent: EndpointName
  readonly principal: Principal
}

/** Signed with the agent's key under each secret that is valid now: which of them the agent was given is not known here. `now` is in epoch milliseconds. */
export async function mintAssertion(secrets: Secrets, { agent, principal, nonce, expiresAt }: Asserted, now: number): Promise<string> {
  const claims: AssertionClaims = {
    agent,
    principal,
    expiresAt: expiresAt ?? now + limits.assertionLifeMs,
    nonce: nonce ?? base64UrlEncode(crypto.getRandomValues(new Uint8Array(nonceBytes))),
  }
  const payload = base64UrlEncode(encodeJson(claims))
  const macs = await Promise.all(secrets.map(async (secret) => hmac(await agentKey(secret, agent), assertionText(payload))))
  return [payload, ...macs.map(base64UrlEncode)].join(".")
}
