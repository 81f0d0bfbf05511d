/**
 * Whether a leg is alive (SPEC CT1, CT8). Idle, it is asked rarely, which wakes nobody; while something that was sent
 * has had no answer of any kind, it is asked soon, because then a person waits. One timer, moved only forward in time
 * by what is sent, so that traffic costs it nothing.
 */
import type { Clock } from "./ports.ts"
import { limits } from "./wire/limits.ts"

/** Milliseconds that a timer of a busy process may be late; more is sleep. */
const lateMs = 1_000

export interface LivenessOptions {
  readonly clock: Clock
  /** Sends the text ping. */
  readonly ping: () => void
  /** Nothing came for too long. Called once, after which nothing is. */
  readonly dead: () => void
}

export class Liveness {
  readonly #options: LivenessOptions
  #heardAtMs: number
  /** When the oldest message was sent that nothing has come after. */
  #unansweredSinceMs: number | undefined
  /** When it was asked whether anybody is there, unless something came since. */
  #probedAtMs: number | undefined
  #dueAtMs = 0
  #cancel: (() => void) | undefined

  constructor(options: LivenessOptions) {
    this.#options = options
    this.#heardAtMs = options.clock.now()
    this.#scheduleAt(this.#heardAtMs + limits.pingIntervalMs)
  }

  /** Anything came from the other side. */
  heard(): void {
    this.#heardAtMs = this.#options.clock.now()
    // What comes may answer something older, and a sender out of credit then sends nothing more: only the answer to a question answers all.
    const answersAll = this.#probedAtMs !== undefined || this.#unansweredSinceMs === undefined
    this.#unansweredSinceMs = answersAll ? undefined : this.#heardAtMs
    this.#probedAtMs = undefined
  }

  /** Something was sent that the other end answers, be it with an acknowledgement. */
  sent(): void {
    if (this.#unansweredSinceMs !== undefined) return
    const now = this.#options.clock.now()
    this.#unansweredSinceMs = now
    if (this.#dueAtMs > now + limits.probeAfterMs) this.#scheduleAt(now + limits.probeAfterMs)
  }

  /** The leg is closed. Idempotent. */
  stop(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  #scheduleAt(atMs: number): void {
    this.#cancel?.()
    this.#dueAtMs = atMs
    this.#cancel = this.#options.clock.schedule(Math.max(0, atMs - this.#options.clock.now()), () => this.#look())
  }

  #look(): void {
    const now = this.#options.clock.now()
    const unanswered = this.#unansweredSinceMs
    // This process, or the whole machine, was asleep: the answer may lie unread in the socket, so it is asked for again.
    const late = now - this.#dueAtMs > lateMs
    if (late || (unanswered !== undefined && this.#probedAtMs === undefined && now >= unanswered + limits.probeAfterMs)) {
      this.#probedAtMs = now
      this.#options.ping()
      return this.#scheduleAt(now + limits.probeVerdictMs)
    }
    if (this.#probedAtMs !== undefined) return this.#judgeAt(this.#probedAtMs + limits.probeVerdictMs)
    if (unanswered !== undefined) return this.#scheduleAt(unanswered + limits.probeAfterMs)
    const nextPingAtMs = this.#heardAtMs + limits.pingIntervalMs
    if (now < nextPingAtMs) return this.#scheduleAt(nextPingAtMs)
    const deadAtMs = this.#heardAtMs + limits.pingDeadMs
    if (now >= deadAtMs) return this.#judgeAt(deadAtMs)
    this.#options.ping()
    this.#scheduleAt(Math.min(now + limits.pingIntervalMs, deadAtMs))
  }

  #judgeAt(atMs: number): void {
    if (this.#options.clock.now() < atMs) return this.#scheduleAt(atMs)
    this.stop()
    this.#options.dead()
  }
}
