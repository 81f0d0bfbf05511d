/** The kind `attach`: another client of a process that runs, or that ended a while ago (SPEC KA). */
import * as v from "valibot"
import { outputOffsetSchema, processIdSchema, sizeSchema } from "./process.ts"

/**
 * Where the output begins for a client that attaches: at an offset, at what the terminal shows now (a repaint, then what follows; for a
 * process without a terminal all that is kept), or with what comes next.
 */
export const attachFromSchema = v.union([outputOffsetSchema, v.picklist(["screen", "live"])], 'expected an offset, "screen" or "live"')
export type AttachFrom = v.InferOutput<typeof attachFromSchema>

export const attachOpenSchema = v.object({
  processId: processIdSchema,
  from: attachFromSchema,
  /** Sees all and changes nothing. */
  readOnly: v.optional(v.boolean(), false),
  /** Go on with what comes. Without it the stream ends where the output ends now, and only reads. */
  follow: v.optional(v.boolean(), true),
  /** The client's window, for a process with a terminal. */
  size: v.optional(sizeSchema),
})
export type AttachOpen = v.InferOutput<typeof attachOpenSchema>

/**
 * The first `repaintBytes` bytes of DATA make the screen and have no offsets; those after them begin at `offset`. What lies before
 * `liveOffset` had been written before the client came.
 */
export const attachAcceptSchema = v.object({
  processId: processIdSchema,
  pid: v.pipe(v.number(), v.integer(), v.minValue(1)),
  kind: v.picklist(["exec", "pty"]),
  offset: outputOffsetSchema,
  liveOffset: outputOffsetSchema,
  repaintBytes: outputOffsetSchema,
})
export type AttachAccept = v.InferOutput<typeof attachAcceptSchema>
