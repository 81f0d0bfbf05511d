/** The owner's policy as it is written down, and as `serve` gives it to its keeper. */
import { limits } from "@trunkline/protocol"
import * as v from "valibot"

const durationMs = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2_147_483_647))

export const policySettingsSchema = v.object({
  /** Rules of what may be reached; without one, TCP on loopback and HTTP on loopback, and listening there. */
  allow: v.optional(v.array(v.string()), []),
  /** Rules of what may not, whatever is allowed. */
  deny: v.optional(v.array(v.string()), []),
  /** HTTP services by port, where they are not plain HTTP at that port of loopback: a URL. Naming one here allows it. */
  services: v.optional(v.record(v.string(), v.string()), {}),
  /** Milliseconds until an HTTP service has begun to answer; 0 for no limit. */
  firstByteMs: v.optional(durationMs, limits.httpFirstByteMs),
  /** Milliseconds between two pieces of a body; 0 for no limit. */
  idleMs: v.optional(durationMs, limits.httpIdleMs),
})
export type PolicySettings = v.InferOutput<typeof policySettingsSchema>

export const defaultPolicySettings: PolicySettings = v.parse(policySettingsSchema, {})
