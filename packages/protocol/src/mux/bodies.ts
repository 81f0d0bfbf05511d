/** JSON payloads of the mux's own frames, and the bound on all of them but OPEN. */
import * as v from "valibot"
import { TunnelError } from "../errors.ts"
import { encodeJson } from "../wire/json.ts"
import { limits } from "../wire/limits.ts"

export const openSchema = v.object({ kind: v.pipe(v.string(), v.minLength(1), v.maxLength(64)), body: v.unknown() })
export const errorSchema = v.object({ code: v.pipe(v.string(), v.maxLength(64)), message: v.pipe(v.string(), v.maxLength(8_192)) })
/** Characters of an error message on the wire: JSON may need six bytes for one, and the body must keep within its bound. */
const messageLengthMax = 2_048

export const encodeError = (error: TunnelError): Uint8Array =>
  encodeJson({ code: error.code, message: error.message.slice(0, messageLengthMax) })

/** A body of ours for ACCEPT, MESSAGE or FIN; throws TunnelError `too-large` instead of sending what the peer would not take. */
export function encodeBody(what: string, value: unknown): Uint8Array {
  // JSON has no undefined.
  const body = encodeJson(value ?? null)
  if (body.byteLength <= limits.jsonBytesMax) return body
  throw new TunnelError("too-large", `${what} of ${body.byteLength} bytes, allowed are ${limits.jsonBytesMax}`)
}

/** Any JSON value; the kind checks what it means. */
export const anyJson = v.unknown()
