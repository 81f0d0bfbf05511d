/**
 * Credit of one stream and direction (SPEC FC). A DATA frame costs its bytes and a fixed overhead, which is what a
 * queued chunk costs the receiver besides its bytes: without it a flood of one-byte frames would cost memory
 * a hundred times the window.
 */

import { ProtocolViolation } from "../wire/frame.ts"
import { limits } from "../wire/limits.ts"

export const dataOverheadBytes = 64

export const dataCost = (bytes: number): number => bytes + dataOverheadBytes

/** What we may still send. */
export class SendWindow {
  #credit: number = limits.streamWindowBytes

  get creditBytes(): number {
    return this.#credit
  }

  spend(cost: number): void {
    this.#credit -= cost
  }

  /** More from the peer; beyond the largest window it lies. */
  grant(bytes: number): void {
    this.#credit += bytes
    if (bytes === 0 || this.#credit > limits.streamWindowBytesMax) {
      throw new ProtocolViolation(
        "FC4",
        `a grant of ${bytes} bytes makes ${this.#credit} of credit, allowed are ${limits.streamWindowBytesMax}`,
      )
    }
  }
}

/** What the peer may still send, and when to give it more: on consumption, never on receipt. */
export class ReceiveWindow {
  #window: number = limits.streamWindowBytes
  #credit: number = limits.streamWindowBytes
  #consumed = 0
  #grantedAtMs = Number.NEGATIVE_INFINITY

  receive(cost: number): void {
    this.#credit -= cost
    if (this.#credit < 0) throw new ProtocolViolation("FC2", `${-this.#credit} bytes beyond the credit`)
  }

  /**
   * The consumer is done with bytes of this cost. Returns the credit to grant now, 0 for none: grants are gathered to
   * a quarter window. A consumer that empties a window within two round trips is held back by it, so it grows.
   */
  consume(cost: number, nowMs: number, rttMs: number): number {
    this.#consumed += cost
    if (this.#consumed < this.#window / 4) return 0
    let grant = this.#consumed
    if (nowMs - this.#grantedAtMs < rttMs / 2 && this.#window < limits.streamWindowBytesMax) {
      const grown = Math.min(this.#window * 2, limits.streamWindowBytesMax)
      grant += grown - this.#window
      this.#window = grown
    }
    this.#consumed = 0
    this.#credit += grant
    this.#grantedAtMs = nowMs
    return grant
  }
}
