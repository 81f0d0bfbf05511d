/**
 * When received bytes are acknowledged by a message of their own (SPEC LK3): soon, unless something else carries it, and at once when they are many.
 * What else may wait for company waits as long.
 */
import type { Clock } from "../ports.ts"
import { limits } from "../wire/limits.ts"

export class DelayedAck {
  readonly #clock: Clock
  readonly #wake: () => void
  #due = false
  #cancel: (() => void) | undefined

  /** `wake` asks for a flush; it is called whenever an acknowledgement becomes due. */
  constructor(clock: Clock, wake: () => void) {
    this.#clock = clock
    this.#wake = wake
  }

  /** An acknowledgement may wait no longer. */
  get due(): boolean {
    return this.#due
  }

  /** `unacknowledgedBytes` have been received, of a window of `windowBytes`. */
  owe(unacknowledgedBytes: number, windowBytes: number): void {
    // Less of a small window, or its sender would run dry.
    if (unacknowledgedBytes >= Math.min(limits.ackBytes, (windowBytes * 3) / 8)) this.#fallDue()
    else this.soon()
  }

  /** Something is to be sent, and may wait for more. */
  soon(): void {
    if (!this.#due) this.#cancel ??= this.#clock.schedule(limits.ackDelayMs, () => this.#fallDue())
  }

  /** Everything received is acknowledged, or nobody is there to hear it. */
  settle(): void {
    this.#due = false
    this.#cancel?.()
    this.#cancel = undefined
  }

  #fallDue(): void {
    this.settle()
    this.#due = true
    this.#wake()
  }
}
