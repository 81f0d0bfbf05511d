/**
 * Who may come in at this machine's own listener. Without a gateway it is whoever has the agent's secret. Behind a published URL it is
 * the gateway alone, whose word says for whom: the secret itself never crosses what publishes the URL.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto"
import {
  type AssertionClaims,
  assertionText,
  type EndpointName,
  InvalidBody,
  limits,
  type Principal,
  parseAssertionClaims,
  TunnelError,
} from "@trunkline/protocol"

export interface Access {
  /** Who brings this bearer. Throws `unauthorised`, or `overloaded`. */
  check(bearer: string): Principal
}

/** What the holder of the secret is to this machine: everything. */
const directPrincipal: Principal = { id: "direct", scopes: ["read", "exec", "pty", "http", "tcp", "admin"] }

export function secretAccess(secret: string): Access {
  const expected = sha256(secret)
  return {
    check(bearer) {
      if (!timingSafeEqual(sha256(bearer), expected)) throw unauthorised("the credential is not this agent's secret")
      return directPrincipal
    },
  }
}

/** Assertions remembered, a hundred bytes each. Every HTTP request to a service is a link of its own, and so is good for one: these are 270 a second for two minutes. */
const noncesMax = 32 * limits.clientsMax
/** Signatures on one assertion: a gateway has two secrets at most, and a third costs nothing. */
const signaturesMax = 3

export interface AssertionAccessOptions {
  readonly name: EndpointName
  /** The gateway secret or this agent's own key. */
  readonly secret: string
  readonly epochMs: () => number
}

export class AssertionAccess implements Access {
  readonly #name: EndpointName
  readonly #epochMs: () => number
  /** Which of the two the secret is cannot be seen. */
  readonly #keys: readonly string[]
  /** Until when each nonce must be remembered. */
  readonly #used = new Map<string, number>()

  constructor({ name, secret, epochMs }: AssertionAccessOptions) {
    this.#name = name
    this.#epochMs = epochMs
    this.#keys = [secret, createHmac("sha256", secret).update(`agent:${name}`).digest("hex")]
  }

  check(bearer: string): Principal {
    const [payload = "", ...signatures] = bearer.split(".")
    if (signatures.length > signaturesMax || !this.#isSigned(payload, signatures))
      throw unauthorised("this is not a gateway's assertion for this agent: clients dial the gateway, not this URL")
    const claims = readClaims(payload)
    const now = this.#epochMs()
    if (claims.agent !== this.#name) throw unauthorised(`the assertion is for "${claims.agent}", and this is "${this.#name}"`)
    if (claims.expiresAt + limits.clockSkewMs <= now)
      throw unauthorised(`the assertion expired ${secondsBetween(claims.expiresAt, now)} ago`)
    if (claims.expiresAt > now + limits.assertionLifeMs + limits.clockSkewMs)
      throw unauthorised(`the assertion expires in ${secondsBetween(now, claims.expiresAt)}, which is more than one lives`)
    this.#use(claims, now)
    return claims.principal
  }

  /** Every key is tried against every signature, so that the time is the same whichever matches. */
  #isSigned(payload: string, signatures: readonly string[]): boolean {
    const presented = signatures.map((signature) => Buffer.from(signature, "base64url"))
    return this.#keys
      .map((key) => createHmac("sha256", key).update(assertionText(payload)).digest())
      .flatMap((expected) => presented.map((bytes) => bytes.byteLength === expected.byteLength && timingSafeEqual(bytes, expected)))
      .includes(true)
  }

  #use({ nonce, expiresAt }: AssertionClaims, now: number): void {
    if (this.#used.has(nonce)) throw unauthorised("the assertion was used before: each is good for one connection")
    // They come about in the order in which they expire: who stands behind a later one stays a little longer.
    for (const [old, untilMs] of this.#used) {
      if (untilMs > now) break
      this.#used.delete(old)
    }
    // One that is forgotten before could be used again.
    if (this.#used.size >= noncesMax)
      throw new TunnelError("overloaded", `more than ${noncesMax} connections were made within two minutes: retry later`)
    this.#used.set(nonce, expiresAt + limits.clockSkewMs)
  }
}

/** Signed by the gateway, but perhaps by a newer one. */
function readClaims(payload: string): AssertionClaims {
  try {
    return parseAssertionClaims(Buffer.from(payload, "base64url"))
  } catch (error) {
    throw error instanceof InvalidBody ? unauthorised(`the assertion is malformed: ${error.message}`) : error
  }
}

const secondsBetween = (from: number, to: number): string => `${Math.round((to - from) / 1000)} seconds`

const unauthorised = (message: string): TunnelError => new TunnelError("unauthorised", message)

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest()
