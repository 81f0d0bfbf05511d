/** One stream of a mux: two flows of bytes, each with credit and an end of its own, and small messages beside them. */
import { TunnelError } from "../errors.ts"
import { type Frame, ProtocolViolation } from "../wire/frame.ts"
import type { StreamId } from "../wire/ids.ts"
import { encodeJson, InvalidBody } from "../wire/json.ts"
import { limits } from "../wire/limits.ts"
import type { StreamClass } from "../kinds/kind.ts"
import { payloadFor, SendQueue } from "./send-queue.ts"
import { maySend, mayReceive, type StreamEvent, type StreamState, transition } from "./stream-state.ts"
import { dataCost, ReceiveWindow, SendWindow } from "./window.ts"

/** What the owner of a stream is told. Nothing comes after `closed`. Throwing InvalidBody resets this stream only. */
export interface StreamEvents {
  /** The peer granted the stream we opened. */
  accepted?(body: unknown): void
  /** Bytes; their credit goes back only when the owner calls `consumed(cost)`. */
  data(tag: number, bytes: Uint8Array, cost: number): void
  message?(body: unknown): void
  /** The peer sends no more; `trailer` is undefined if it gave none. */
  finished?(trailer: unknown): void
  /** `writableBytes` is above zero again. */
  writable?(): void
  /** Over: without an error when both ends finished. */
  closed(error: TunnelError | undefined): void
}

/** What a stream needs of its mux. */
export interface StreamPort {
  readonly now: () => number
  readonly rttMs: () => number
  /** Queues a frame ahead of all data. */
  control(frame: Frame): void
  grant(stream: StreamId, bytes: number): void
  /** The stream has data or an end to send. */
  ready(stream: MuxStream): void
  forget(stream: MuxStream): void
}

/** Bytes a stream queues before it says it is full: one credit window, so that a grant can be answered at once. */
const queuedBytesMax = limits.streamWindowBytes

/** Frames kept for a stream that is not answered yet; their bytes are bounded by its credit. */
const earlyEventsMax = 1_024

interface EarlyEvents {
  readonly early: ((events: StreamEvents) => void)[]
}

const noTrailer = new Uint8Array(0)

export class MuxStream {
  readonly id: StreamId
  readonly kind: string
  readonly class: StreamClass
  readonly #port: StreamPort
  readonly #queue = new SendQueue()
  readonly #sendWindow = new SendWindow()
  readonly #receiveWindow = new ReceiveWindow()
  #state: StreamState
  /** Whom to tell; until an offered stream is granted, what there will be to tell. */
  #events: StreamEvents | EarlyEvents
  #trailer: Uint8Array | undefined
  #full = false
  #messages = 0

  constructor(options: { id: StreamId; kind: string; class: StreamClass; state: StreamState }, port: StreamPort, events?: StreamEvents) {
    this.id = options.id
    this.kind = options.kind
    this.class = options.class
    this.#state = options.state
    this.#port = port
    this.#events = events ?? { early: [] }
  }

  get phase(): StreamState["phase"] {
    return this.#state.phase
  }

  /** Bytes `write` takes before the stream is full. At zero stop and wait for `writable`. */
  get writableBytes(): number {
    const free = maySend(this.#state) && this.#trailer === undefined ? queuedBytesMax - this.#queue.bytes : 0
    if (free <= 0) this.#full = true
    return Math.max(0, free)
  }

  get queuedBytes(): number {
    return this.#queue.bytes
  }

  /** Queues bytes, which must not change afterwards. Taken also when full: producers cannot always stop at once. After the end, dropped. */
  write(tag: number, bytes: Uint8Array): void {
    if (!maySend(this.#state) || this.#trailer !== undefined) return
    this.#queue.push(tag, bytes)
    this.#port.ready(this)
  }

  /** Sends a small JSON message, ahead of queued bytes. */
  sendMessage(message: unknown): void {
    if (!maySend(this.#state)) return
    const body = encodeJson(message)
    if (body.byteLength > limits.jsonBytesMax) throw new TunnelError("too-large", `a message of ${body.byteLength} bytes, allowed are ${limits.jsonBytesMax}`)
    if (this.#messages >= limits.queuedMessagesMax) {
      throw new TunnelError("overloaded", `${limits.queuedMessagesMax} messages wait to be sent; the other side does not keep up`)
    }
    this.#messages += 1
    this.#port.control({ type: "message", stream: this.id, body })
  }

  /** No more from this side, after what is queued; `trailer` is JSON. Idempotent. */
  finish(trailer?: unknown): void {
    if (!maySend(this.#state) || this.#trailer !== undefined) return
    this.#trailer = trailer === undefined ? noTrailer : encodeJson(trailer)
    this.#port.ready(this)
  }

  /** Abandons both directions; queued bytes are dropped. Idempotent. */
  reset(error: TunnelError): void {
    if (this.#state.phase === "closed") return
    this.#port.control({ type: "reset", stream: this.id, body: errorJson(error) })
    this.close(error, "reset")
  }

  /**
   * Grants an offered stream and names who listens from now on; what arrived before is given out at once.
   * False when the stream has ended meanwhile: then nothing is sent and nobody will be told anything.
   */
  accept(body: unknown, events: StreamEvents): boolean {
    if (this.#state.phase !== "offered" || !("early" in this.#events)) return false
    const { early } = this.#events
    this.#advance("acceptSent")
    this.#port.control({ type: "accept", stream: this.id, body: encodeJson(body) })
    this.#events = events
    for (const event of early) this.#tell(event)
    return true
  }

  reject(error: TunnelError): void {
    if (this.#state.phase !== "offered") return
    this.#port.control({ type: "reject", stream: this.id, body: errorJson(error) })
    this.close(error, "rejectSent")
  }

  /** The owner is done with data of this cost; the peer may send as much again. */
  consumed(cost: number): void {
    if (!mayReceive(this.#state)) return
    const grant = this.#receiveWindow.consume(cost, this.#port.now(), this.#port.rttMs())
    if (grant > 0) this.#port.grant(this.id, grant)
  }

  // What follows is called by the mux alone.

  /** The next frame of bytes or the end, with a payload of at most `max` bytes; undefined when there is none now. */
  take(max: number): Frame | undefined {
    const chunk = this.#queue.take(Math.min(max, payloadFor(this.#sendWindow.creditBytes)))
    if (chunk !== undefined) {
      this.#sendWindow.spend(dataCost(chunk.bytes.byteLength))
      return { type: "data", stream: this.id, ...chunk }
    }
    if (this.#queue.bytes > 0 || this.#trailer === undefined || this.#trailer.byteLength > max) return undefined
    const trailer = this.#trailer
    this.#advance("finSent")
    if (this.#state.phase === "closed") this.#leave(undefined)
    return { type: "fin", stream: this.id, trailer }
  }

  /** Whether `take` could give something, were there room. */
  get sendable(): boolean {
    if (!maySend(this.#state)) return false
    return this.#queue.bytes > 0 ? payloadFor(this.#sendWindow.creditBytes) > 0 : this.#trailer !== undefined
  }

  /** After a `take`: tells the owner that there is room again. */
  notifyWritable(): void {
    if (!this.#full || this.#queue.bytes > queuedBytesMax / 2) return
    this.#full = false
    this.#tell((events) => events.writable?.())
  }

  messageSent(): void {
    this.#messages -= 1
  }

  receiveAccept(body: unknown): void {
    this.#advance("acceptReceived")
    this.#tell((events) => events.accepted?.(body))
  }

  receiveReject(error: TunnelError): void {
    if (this.#state.phase !== "opening") throw new ProtocolViolation("ST3", "a REJECT of a stream that is not being opened")
    this.close(error, "rejectReceived")
  }

  receiveData(tag: number, bytes: Uint8Array): void {
    if (!mayReceive(this.#state)) throw new ProtocolViolation("ST4", `DATA on a stream that is ${this.#state.phase} or finished`)
    const cost = dataCost(bytes.byteLength)
    this.#receiveWindow.receive(cost)
    this.#tell((events) => events.data(tag, bytes, cost))
  }

  receiveMessage(body: unknown): void {
    if (!mayReceive(this.#state)) throw new ProtocolViolation("ST4", `MESSAGE on a stream that is ${this.#state.phase} or finished`)
    this.#tell((events) => events.message?.(body))
  }

  receiveCredit(bytes: number): void {
    this.#sendWindow.grant(bytes)
    this.#port.ready(this)
  }

  receiveFin(trailer: unknown): void {
    this.#advance("finReceived")
    this.#tell((events) => events.finished?.(trailer))
    if (this.#state.phase === "closed") this.#leave(undefined)
  }

  /** Ends the stream without a word to the peer. */
  close(error: TunnelError, event: "reset" | "rejectSent" | "rejectReceived" = "reset"): void {
    const next = transition(this.#state, event)
    if (next === undefined) return
    this.#state = next
    this.#queue.clear()
    this.#leave(error)
  }

  #leave(error: TunnelError | undefined): void {
    this.#port.forget(this)
    if ("early" in this.#events) this.#events = { early: [] }
    else this.#events.closed(error)
  }

  /** A body that is not what the kind asks for resets this stream; the link and its other streams go on. */
  #tell(event: (events: StreamEvents) => void): void {
    if ("early" in this.#events) {
      if (this.#events.early.length >= earlyEventsMax) throw new ProtocolViolation("ST6", `more than ${earlyEventsMax} frames before the answer to OPEN`)
      this.#events.early.push(event)
      return
    }
    try {
      event(this.#events)
    } catch (error) {
      if (!(error instanceof InvalidBody)) throw error
      this.reset(new TunnelError("bad-request", error.message, { delivered: "yes", cause: error }))
    }
  }

  #advance(event: StreamEvent): void {
    const next = transition(this.#state, event)
    if (next === undefined) throw new ProtocolViolation("ST1", `${event} on a stream that is ${this.#state.phase}`)
    this.#state = next
  }
}

const errorJson = (error: TunnelError): Uint8Array => encodeJson({ code: error.code, message: error.message.slice(0, 4096) })
