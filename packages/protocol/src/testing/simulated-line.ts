/**
 * A network path between two transports on a virtual clock: bandwidth, delay, jitter, stalls and cuts. Messages of one
 * direction stay in order; a cut loses what is on the way, and each end learns of it in its own time.
 */
import type { Clock, Transport, TransportEvents } from "../ports.ts"
import type { SeededRandom } from "./seeded-random.ts"

export interface LineOptions {
  readonly clock: Clock
  readonly random: SeededRandom
  /** One way, in milliseconds; each message takes up to `jitterMs` more. */
  readonly delayMs: number
  readonly jitterMs: number
  /** Bytes the sender's side hands over in a millisecond. */
  readonly bytesPerMs: number
  /** Sees every message when it is given to a transport, and when it arrives. */
  readonly observe?: (event: "sent" | "arrived", from: Side, message: Uint8Array) => void
}

export type Side = "left" | "right"

export class SimulatedLine {
  readonly left: Transport
  readonly right: Transport
  readonly #options: LineOptions
  readonly #ends: Record<Side, End>
  #cut = false

  constructor(options: LineOptions) {
    this.#options = options
    this.#ends = {
      left: new End(options, "left", (code, reason) => this.#close("left", code, reason)),
      right: new End(options, "right", (code, reason) => this.#close("right", code, reason)),
    }
    this.#ends.left.peer = this.#ends.right
    this.#ends.right.peer = this.#ends.left
    this.left = this.#ends.left
    this.right = this.#ends.right
  }

  /** Names who hears what arrives at `side`. */
  listen(side: Side, events: TransportEvents): void {
    this.#ends[side].events = events
  }

  /** Nothing leaves `side` until `resume`: what is sent piles up in its transport. */
  stall(side: Side): void {
    this.#ends[side].stalled = true
  }

  resume(side: Side): void {
    this.#ends[side].stalled = false
    this.#ends[side].drain()
  }

  /** The path breaks: what is on the way is lost, and the ends hear of it after `leftMs` and `rightMs`. */
  cut(leftMs: number, rightMs: number): void {
    if (this.#cut) return
    this.#cut = true
    for (const [side, afterMs] of [
      ["left", leftMs],
      ["right", rightMs],
    ] as const) {
      const end = this.#ends[side]
      end.lost = true
      this.#options.clock.schedule(afterMs, () => end.close(1006, ""))
    }
  }

  /** A close travels behind what was sent before it. */
  #close(from: Side, code: number, reason: string): void {
    const end = this.#ends[from]
    const peer = this.#ends[from === "left" ? "right" : "left"]
    end.closed = true
    end.whenDrained(() => peer.close(code, reason))
  }
}

class End implements Transport {
  readonly #options: LineOptions
  readonly #side: Side
  readonly #onClose: (code: number, reason: string) => void
  readonly #queue: Uint8Array[] = []
  #bufferedBytes = 0
  #draining = false
  #arrivesMs = 0
  readonly #travelling: (() => void)[] = []
  #afterDrain: (() => void) | undefined
  peer: End | undefined
  events: TransportEvents | undefined
  stalled = false
  lost = false
  closed = false

  constructor(options: LineOptions, side: Side, onClose: (code: number, reason: string) => void) {
    this.#options = options
    this.#side = side
    this.#onClose = onClose
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes
  }

  send(message: Uint8Array): void {
    if (this.closed) return
    this.#options.observe?.("sent", this.#side, message)
    // A copy: the sender may patch the message and send it again.
    this.#queue.push(message.slice())
    this.#bufferedBytes += message.byteLength
    this.drain()
  }

  drain(): void {
    if (this.#draining || this.stalled) return
    const message = this.#queue[0]
    if (message === undefined) {
      const task = this.#afterDrain
      this.#afterDrain = undefined
      task?.()
      return
    }
    this.#draining = true
    const { clock, bytesPerMs } = this.#options
    clock.schedule(message.byteLength / bytesPerMs, () => {
      this.#draining = false
      this.#queue.shift()
      this.#bufferedBytes -= message.byteLength
      if (!this.lost) this.#travel(() => this.peer?.receive(message))
      if (!this.closed) this.events?.drained()
      this.drain()
    })
  }

  whenDrained(task: () => void): void {
    this.#afterDrain = () => this.#travel(task)
    this.drain()
  }

  receive(message: Uint8Array): void {
    if (this.lost || this.closed) return
    this.#options.observe?.("arrived", this.#side === "left" ? "right" : "left", message)
    this.events?.message(message)
  }

  close(code: number, reason: string): void {
    if (this.closed) return
    if (code !== 1006 && !this.lost && this.peer?.closed === false) return this.#onClose(code, reason)
    this.closed = true
    this.events?.closed(code, reason)
  }

  #travel(task: () => void): void {
    const { clock, delayMs, jitterMs, random } = this.#options
    const takesMs = delayMs + random.fraction() * jitterMs
    this.#arrivesMs = Math.max(this.#arrivesMs, clock.now() + takesMs)
    // The oldest is taken when any is due: rounding of the times may swap two timers, but never two messages.
    this.#travelling.push(task)
    clock.schedule(this.#arrivesMs - clock.now(), () => this.#travelling.shift()?.())
  }
}
