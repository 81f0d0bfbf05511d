/** How a process ended, as the fields of every answer that tells it. */
import type { ProcessExit } from "@trunkline/client"

export interface ShownExit {
  /** Null unless the process exited by itself. */
  readonly exitCode: number | null
  /** The signal that ended it, or null. */
  readonly signal: string | null
  readonly outcome: "exited" | "signalled" | "timeout" | "unknown"
  readonly durationMs: number
}

export const shownExit = ({ exit, durationMs }: ProcessExit): ShownExit => ({
  exitCode: exit.type === "code" ? exit.code : null,
  signal: exit.type === "signal" ? exit.signal : null,
  outcome: outcomes[exit.type],
  durationMs,
})

const outcomes = { code: "exited", signal: "signalled", timeout: "timeout", unknown: "unknown" } as const
