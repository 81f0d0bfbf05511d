/**
 * The assertion (SPEC DR): with it a gateway dials an agent's URL in a client's place. It says who the client is, and is signed
 * with the agent's key. Its shape alone is here: each side has its own cryptography.
 *
 *     base64url(claims) "." base64url(HMAC-SHA256(key, "assertion:" + base64url(claims)))
 *
 * One more `.` and signature follows for each further key that is valid while a gateway's secret is changed.
 */
import * as v from "valibot"
import { principalSchema } from "./control.ts"
import { parseJson } from "./json.ts"
import { limits } from "./limits.ts"

const claimsSchema = v.object({
  agent: v.pipe(v.string(), v.maxLength(limits.nameLengthMax)),
  principal: principalSchema,
  /** Epoch milliseconds. */
  expiresAt: v.pipe(v.number(), v.integer(), v.minValue(0)),
  /** Random; an agent takes each once. */
  nonce: v.pipe(v.string(), v.regex(/^[\w-]{16,64}$/, "not a nonce")),
})
export type AssertionClaims = v.InferOutput<typeof claimsSchema>

/** The prefix keeps it apart from everything else that comes from the same secret. */
export const assertionText = (payload: string): string => `assertion:${payload}`

/** Throws `InvalidBody`. */
export const parseAssertionClaims = (payload: Uint8Array): AssertionClaims => parseJson(claimsSchema, payload)
