/** Tickets of an agent that is dialled directly: browsers cannot set headers on a socket, so what they bring was asked for with the secret first. */
import { randomBytes } from "node:crypto"
import { type Principal, TunnelError } from "@trunkline/protocol"

/** Milliseconds: enough to open a socket after it was asked for. */
const ticketLifeMs = 60_000
/** Tickets that wait for their use; who mints more has the secret and a defect. */
const ticketsMax = 1_024
const ticketBytes = 32

interface Kept {
  readonly principal: Principal
  readonly expiresAt: number
}

export class Tickets {
  readonly #epochMs: () => number
  readonly #kept = new Map<string, Kept>()

  constructor(epochMs: () => number) {
    this.#epochMs = epochMs
  }

  mint(principal: Principal): { readonly ticket: string; readonly expiresAt: number } {
    this.#forget()
    if (this.#kept.size >= ticketsMax) throw new TunnelError("overloaded", `${ticketsMax} tickets wait to be used: retry in a minute`)
    const ticket = randomBytes(ticketBytes).toString("base64url")
    const expiresAt = this.#epochMs() + ticketLifeMs
    this.#kept.set(ticket, { principal, expiresAt })
    return { ticket, expiresAt }
  }

  /** Uses it up. Throws `unauthorised` for one that was used, has expired or was never given. */
  use(ticket: string): Principal {
    this.#forget()
    const kept = this.#kept.get(ticket)
    this.#kept.delete(ticket)
    if (kept === undefined)
      throw new TunnelError("unauthorised", `this ticket is not good: each is for one connection within ${ticketLifeMs / 1000} seconds`)
    return kept.principal
  }

  #forget(): void {
    const now = this.#epochMs()
    for (const [ticket, { expiresAt }] of this.#kept) if (expiresAt <= now) this.#kept.delete(ticket)
  }
}
