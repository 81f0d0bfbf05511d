/** What was sent and not yet acknowledged, oldest first. Bounded by the link window, which the link enforces. */
import { ProtocolViolation } from "../wire/frame.ts"
import { type ByteOffset, byteOffset } from "../wire/ids.ts"

export interface SentMessage {
  /** The whole message, header included; patched and sent again after a cut. */
  readonly message: Uint8Array
  readonly start: ByteOffset
  readonly end: ByteOffset
  readonly sentAtMs: number
  /** Bytes the peer had acknowledged when this was sent: the base of a delivery rate. */
  readonly ackedAtSend: ByteOffset
  /** When it had acknowledged those, or when this was sent if nothing was in flight: the rate's interval starts there. */
  readonly ackedAtSendMs: number
}

export class SendLog {
  /** Told of each message that nobody will ask for again. */
  readonly #dropped: (message: Uint8Array) => void
  #messages: (SentMessage | undefined)[] = []
  /** Index of the oldest entry: shifting an array for each acknowledgement would be quadratic. */
  #head = 0
  #acked = byteOffset(0)
  #ackedAtMs = 0
  #end = byteOffset(0)

  constructor(dropped: (message: Uint8Array) => void = () => {}) {
    this.#dropped = dropped
  }

  /** Where the next message starts. */
  get end(): ByteOffset {
    return this.#end
  }

  get acked(): ByteOffset {
    return this.#acked
  }

  get inFlightBytes(): number {
    return this.#end - this.#acked
  }

  append(message: Uint8Array, bodyBytes: number, nowMs: number): void {
    if (this.inFlightBytes === 0) this.#ackedAtMs = nowMs
    const start = this.#end
    this.#end = byteOffset(start + bodyBytes)
    this.#messages.push({ message, start, end: this.#end, sentAtMs: nowMs, ackedAtSend: this.#acked, ackedAtSendMs: this.#ackedAtMs })
  }

  /**
   * Drops what `ack` covers; returns the newest message it covers, if any. A peer receives whole messages, so an `ack`
   * that goes back, lies beyond what was sent or inside a message is a lie: throws ProtocolViolation.
   */
  acknowledge(ack: ByteOffset, nowMs: number): SentMessage | undefined {
    if (ack < this.#acked || ack > this.#end) {
      throw new ProtocolViolation("LK5", `acknowledged ${ack}, but only ${this.#acked} to ${this.#end} can be`)
    }
    let newest: SentMessage | undefined
    for (let next = this.#messages[this.#head]; next !== undefined && next.end <= ack; next = this.#messages[this.#head]) {
      newest = next
      // Not held until the array is cut: an idle link keeps nothing.
      this.#messages[this.#head] = undefined
      this.#head += 1
      this.#dropped(next.message)
    }
    if ((newest?.end ?? this.#acked) !== ack) throw new ProtocolViolation("LK5", `acknowledged ${ack}, which is inside a message`)
    if (ack !== this.#acked) this.#ackedAtMs = nowMs
    this.#acked = ack
    if (this.#head > 64 && this.#head * 2 > this.#messages.length) {
      this.#messages = this.#messages.slice(this.#head)
      this.#head = 0
    }
    return newest
  }

  unacknowledged(): readonly SentMessage[] {
    return this.#messages.slice(this.#head).filter((entry) => entry !== undefined)
  }
}
