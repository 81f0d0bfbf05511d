/** Owns why and when a process ends: its time limit, its hang-up, and what its exit is called in the end. */
import type { Exit, SignalName } from "@trunkline/protocol"
import { ProcessGroup } from "./process-group.ts"

export interface LifetimeOptions {
  readonly pid: number
  readonly timeoutMs: number | undefined
  readonly graceMs: number
  /** Sent a grace apart when time is up. */
  readonly timeUpSignals: readonly SignalName[]
  /** Everything has been done to end the group; whoever still writes is none of ours. */
  readonly forced: () => void
}

/** What a terminal's loss means to its processes, then what ends those that stay. */
export const hangUpSignals: readonly SignalName[] = ["SIGHUP", "SIGTERM", "SIGKILL"]

export class Lifetime {
  readonly #group: ProcessGroup
  readonly #options: LifetimeOptions
  readonly #startedMs = performance.now()
  readonly #timeLimit: NodeJS.Timeout | undefined
  #timedOut = false
  #outcome: { readonly exit: Exit; readonly durationMs: number } | undefined

  constructor(options: LifetimeOptions) {
    this.#options = options
    this.#group = new ProcessGroup(options.pid, options.graceMs)
    if (options.timeoutMs !== undefined) this.#timeLimit = setTimeout(() => this.#timeUp(), options.timeoutMs)
  }

  /** Set once the process itself has ended. Its output may still be under way. */
  get outcome(): { readonly exit: Exit; readonly durationMs: number } | undefined {
    return this.#outcome
  }

  signal(name: SignalName): void {
    this.#group.signal(name)
  }

  hangUp(): void {
    this.#group.end(hangUpSignals, this.#options.forced)
  }

  /** The process has been reaped. Both null: nobody can say how it ended. */
  exited(code: number | null, signal: string | null): void {
    this.#outcome = { exit: this.#exit(code, signal), durationMs: performance.now() - this.#startedMs }
    this.#group.leaderExited()
  }

  /** The exit has been published: the time limit has no more to limit. */
  published(): void {
    clearTimeout(this.#timeLimit)
  }

  /**
   * Ends the group also when its leader has ended by itself and a member keeps the output open: the limit is for
   * the command as a whole. The exit is then still the leader's own.
   */
  #timeUp(): void {
    if (!this.#group.ending) this.#timedOut = true
    this.#group.end(this.#options.timeUpSignals, this.#options.forced)
  }

  #exit(code: number | null, signal: string | null): Exit {
    const { timeoutMs } = this.#options
    if (this.#timedOut && timeoutMs !== undefined) return { type: "timeout", timeoutMs }
    if (signal !== null) return { type: "signal", signal }
    if (code !== null) return { type: "code", code }
    return { type: "unknown", reason: "the operating system gave neither an exit code nor a signal" }
  }
}
