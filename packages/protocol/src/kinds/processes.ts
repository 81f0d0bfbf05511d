/** The kind `processes`: one question about the agent's processes; the answer is one JSON document in DATA, then FIN (SPEC KL). */
import * as v from "valibot"
import { dimensionSchema, exitSchema, idempotencyKeySchema, outputOffsetSchema, processIdSchema, signalNames } from "./process.ts"

export const processesOpenSchema = v.variant("type", [
  /** Those that run and those that ended a while ago, oldest first: `{ processes }`. */
  v.object({ type: v.literal("list"), idempotencyKey: v.optional(idempotencyKeySchema) }),
  /** One: its description. */
  v.object({ type: v.literal("get"), processId: processIdSchema }),
  /** Sends a signal to its process group: its description. One that has ended is no error. */
  v.object({ type: v.literal("kill"), processId: processIdSchema, signal: v.picklist(signalNames) }),
])
export type ProcessesOpen = v.InferOutput<typeof processesOpenSchema>

const epochMs = v.pipe(v.number(), v.integer(), v.minValue(0))

/** What can be said of a process. */
export const processDescriptionSchema = v.object({
  id: processIdSchema,
  kind: v.picklist(["exec", "pty"]),
  /** Cut after some hundred characters, with an ellipsis as its last. */
  argv: v.array(v.string()),
  pid: v.pipe(v.number(), v.integer(), v.minValue(1)),
  state: v.picklist(["running", "ended"]),
  /** Whether it goes on when its client is gone. */
  detached: v.boolean(),
  startedAt: epochMs,
  endedAt: v.optional(epochMs),
  exit: v.optional(exitSchema),
  durationMs: v.optional(v.pipe(v.number(), v.minValue(0))),
  /** The output that is kept: from the first offset to before the second, which is also how much it has written. */
  output: v.object({ from: outputOffsetSchema, to: outputOffsetSchema }),
  /** Clients attached. */
  attached: v.pipe(v.number(), v.integer(), v.minValue(0)),
  size: v.optional(v.object({ cols: dimensionSchema, rows: dimensionSchema })),
})
export type ProcessDescription = v.InferOutput<typeof processDescriptionSchema>

export const processListSchema = v.object({ processes: v.array(processDescriptionSchema) })
