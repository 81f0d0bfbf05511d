/**
 * One simulated WebSocket: two ends, whole messages in order, bandwidth, delay, and what networks do to it: it is cut with
 * or without what was on the way, it freezes so that nobody learns of anything, and thaws, perhaps long after its ends
 * have given it up.
 */
import type { SeededRandom, VirtualClock } from "@trunkline/protocol/testing"

export type SocketMessage = Uint8Array | string

export interface Quality {
  /** One way, in milliseconds; each message takes up to `jitterMs` more. */
  readonly delayMs: number
  readonly jitterMs: number
  /** Bytes the sender's side hands over in a millisecond. */
  readonly bytesPerMs: number
}

export interface ConnectionOptions {
  readonly clock: VirtualClock
  readonly random: SeededRandom
  readonly quality: Quality
  /** The dialler is awake. */
  readonly awake: () => boolean
  /** Told of what arrives: `dialler` or not, and how large it is. */
  readonly arrived: (toDialler: boolean, bytes: number) => void
}

export interface EndEvents {
  message(message: SocketMessage): void
  drained(): void
  /** Last. Not called for an end that closed by itself. */
  closed(code: number, reason: string): void
}

/** Bytes of a frame beside its payload. */
const overheadBytes = 8

export class SimulatedConnection {
  /** The dialler's end. */
  readonly near: ConnectionEnd
  /** The gateway's. */
  readonly far: ConnectionEnd
  readonly options: ConnectionOptions
  #frozen = false
  /** What was on the way is gone. */
  lost = false

  constructor(options: ConnectionOptions) {
    this.options = options
    this.near = new ConnectionEnd(this, true)
    this.far = new ConnectionEnd(this, false)
    this.near.peer = this.far
    this.far.peer = this.near
  }

  get frozen(): boolean {
    return this.#frozen
  }

  /** Nothing arrives, nobody learns. */
  freeze(): void {
    this.#frozen = true
  }

  /** What was on the way arrives now, however late. */
  thaw(): void {
    this.#frozen = false
    for (const end of [this.near, this.far]) {
      end.drain()
      end.deliver()
    }
  }

  /**
   * The path breaks. The ends hear of it after so many milliseconds, or never; `losing` what was on the way, or after it
   * has arrived.
   */
  cut(nearMs: number, farMs: number, losing: boolean): void {
    this.lost ||= losing
    for (const [end, afterMs] of [
      [this.near, nearMs],
      [this.far, farMs],
    ] as const) {
      end.mute = true
      if (Number.isFinite(afterMs)) this.options.clock.schedule(afterMs, () => end.lose(1006, ""))
    }
  }
}

export class ConnectionEnd {
  readonly #connection: SimulatedConnection
  readonly #dialler: boolean
  #queue: SocketMessage[] = []
  #bufferedBytes = 0
  #draining = false
  #arrivesMs = 0
  readonly #travelling: (() => void)[] = []
  readonly #arrived: (() => void)[] = []
  #afterDrain: (() => void) | undefined
  #events: EndEvents | undefined
  peer: ConnectionEnd | undefined
  /** What it sends goes nowhere. */
  mute = false
  stalled = false
  /** It hears nothing any more. */
  over = false

  constructor(connection: SimulatedConnection, dialler: boolean) {
    this.#connection = connection
    this.#dialler = dialler
  }

  /** From now on; what has arrived before comes at once. */
  listen(events: EndEvents): void {
    this.#events = events
    this.deliver()
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes
  }

  send(message: SocketMessage): void {
    if (this.over) return
    // A copy: the sender may patch the message and send it again.
    const copy = typeof message === "string" ? message : message.slice()
    this.#queue.push(copy)
    this.#bufferedBytes += bytesOf(copy)
    this.drain()
  }

  /** Closes behind what was sent; the other end hears the code. */
  close(code: number, reason: string): void {
    if (this.over) return
    this.over = true
    this.#afterDrain = () => this.#travel(() => this.peer?.lose(code, reason))
    this.drain()
  }

  /** Hangs up at once: what was not handed over is gone. */
  terminate(): void {
    if (this.over) return
    this.over = true
    this.#queue = []
    this.#bufferedBytes = 0
    if (!this.mute) this.#travel(() => this.peer?.lose(1006, ""))
  }

  /** The operating system says that the socket is gone. */
  lose(code: number, reason: string): void {
    if (this.over) return
    this.mute = true
    this.#arrived.push(() => {
      if (this.over) return
      this.over = true
      this.#events?.closed(code, reason)
    })
    this.deliver(true)
  }

  drain(): void {
    if (this.#draining || this.stalled || this.#connection.frozen) return
    const message = this.#queue[0]
    if (message === undefined) {
      const task = this.#afterDrain
      this.#afterDrain = undefined
      return task?.()
    }
    this.#draining = true
    const { clock, quality } = this.#connection.options
    const bytes = bytesOf(message)
    clock.schedule((bytes + overheadBytes) / quality.bytesPerMs, () => {
      this.#draining = false
      if (this.#queue[0] === message) {
        this.#queue.shift()
        this.#bufferedBytes -= bytes
        if (!this.mute) this.#travel(() => this.peer?.receive(message))
        if (!this.over && this.#awake) this.#events?.drained()
      }
      this.drain()
    })
  }

  receive(message: SocketMessage): void {
    if (this.over) return
    this.#connection.options.arrived(this.#dialler, bytesOf(message))
    this.#events?.message(message)
  }

  /** Hands over what has arrived here, unless nothing can. What the system itself says comes over no frozen path. */
  deliver(local = false): void {
    if (local && this.#connection.frozen) this.#arrived.splice(0, this.#arrived.length - 1)
    while (this.#arrived.length > 0 && (local || !this.#connection.frozen) && this.#events !== undefined && this.#awake)
      this.#arrived.shift()?.()
  }

  get #awake(): boolean {
    return !this.#dialler || this.#connection.options.awake()
  }

  #travel(task: () => void): void {
    const { clock, quality, random } = this.#connection.options
    this.#arrivesMs = Math.max(this.#arrivesMs, clock.now() + quality.delayMs + random.fraction() * quality.jitterMs)
    // The oldest is taken when any is due: rounding of the times may swap two timers, but never two messages.
    this.#travelling.push(task)
    clock.schedule(this.#arrivesMs - clock.now(), () => {
      const arrived = this.#travelling.shift()
      if (arrived === undefined || this.#connection.lost) return
      this.peer?.arrive(arrived)
    })
  }

  arrive(task: () => void): void {
    this.#arrived.push(task)
    this.deliver()
  }
}

const bytesOf = (message: SocketMessage): number => (typeof message === "string" ? message.length : message.byteLength)
