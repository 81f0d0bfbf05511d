/** JSON payloads of the mux's own frames. */
import * as v from "valibot"

export const openSchema = v.object({ kind: v.pipe(v.string(), v.minLength(1), v.maxLength(64)), body: v.unknown() })
export const errorSchema = v.object({ code: v.pipe(v.string(), v.maxLength(64)), message: v.pipe(v.string(), v.maxLength(8_192)) })
/** Any JSON value; the kind checks what it means. */
export const anyJson = v.unknown()
