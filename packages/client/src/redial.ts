/** When a link dials again: counts the attempts and draws the waits (SPEC RC). At most one dial is due at a time. */
import { type Clock, reconnect } from "@trunkline/protocol"

export class Redial {
  readonly #clock: Clock
  #attempt = 0
  #cancel: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Calls `dial` when it is time after a connection that lasted `connectedMs` was lost with `code`: before this returns
   * where nothing is to be waited for, never after a final code.
   */
  schedule(code: number, connectedMs: number, dial: () => void): void {
    const random = (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32
    const verdict = reconnect({ attempt: this.#attempt, code, connectedMs, random })
    if (verdict.action === "stop") return
    this.#attempt = verdict.attempt
    this.#cancel?.()
    if (verdict.delayMs === 0) dial()
    else this.#cancel = this.#clock.schedule(verdict.delayMs, dial)
  }

  /** Forgets all attempts, and what is due. */
  reset(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#attempt = 0
  }
}
