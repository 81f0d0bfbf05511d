/** One stream of a mux: two flows of bytes, each with credit and an end of its own, and small messages beside them. */
import { TunnelError } from "../errors.ts"
import type { StreamClass } from "../kinds/kind.ts"
import { type Frame, ProtocolViolation } from "../wire/frame.ts"
import type { StreamId } from "../wire/ids.ts"
import { InvalidBody } from "../wire/json.ts"
import { limits } from "../wire/limits.ts"
import { encodeBody, encodeError } from "./bodies.ts"
import { type Blocks, payloadFor, SendQueue } from "./send-queue.ts"
import { mayMessage, mayReceive, maySend, type StreamEvent, type StreamState, transition } from "./stream-state.ts"
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
  /** For what a stream has been given and cannot send yet. */
  readonly blocks: Blocks
  readonly now: () => number
  readonly rttMs: () => number
  /** Whether the link has a transport now. */
  readonly attached: () => boolean
  /** Queues a frame ahead of all data. One that is `unhurried` goes with what is sent next, or soon after. */
  control(frame: Frame, unhurried?: boolean): void
  grant(stream: StreamId, bytes: number): void
  /** The stream has data or an end to send. */
  ready(stream: MuxStream): void
  /** Takes the OPEN out of the queue again; false when it was sent. */
  withdraw(stream: MuxStream): boolean
  forget(stream: MuxStream): void
}

/** Bytes a stream queues before it says it is full: one credit window, so that a grant can be answered at once. */
const queuedBytesMax = limits.streamWindowBytes

/** Bytes of MESSAGE bodies kept for a stream that is not answered yet, four of the largest. Their number is bounded too, and its DATA by credit. */
const earlyMessageBytesMax = 4 * limits.jsonBytesMax

interface EarlyEvents {
  readonly early: ((events: StreamEvents) => void)[]
}

const noTrailer = new Uint8Array(0)

export class MuxStream {
  readonly id: StreamId
  readonly kind: string
  readonly class: StreamClass
  /** For whoever decides about an offered stream: told once when it ends before `accept`. Set on a stream that has ended it is never told. */
  abandoned: (() => void) | undefined
  readonly #port: StreamPort
  readonly #queue: SendQueue
  readonly #sendWindow = new SendWindow()
  readonly #receiveWindow = new ReceiveWindow()
  #state: StreamState
  /** Whom to tell; until an offered stream is granted, what there will be to tell. */
  #events: StreamEvents | EarlyEvents
  #trailer: Uint8Array | undefined
  #full = false
  #messages = 0
  #earlyMessages = 0
  #earlyMessageBytes = 0

  constructor(options: { id: StreamId; kind: string; class: StreamClass; state: StreamState }, port: StreamPort, events?: StreamEvents) {
    this.id = options.id
    this.kind = options.kind
    this.class = options.class
    this.#state = options.state
    this.#port = port
    this.#queue = new SendQueue(port.blocks)
    this.#events = events ?? { early: [] }
  }

  get phase(): StreamState["phase"] {
    return this.#state.phase
  }

  /** Bytes `write` takes before the stream is full. At zero stop and wait for `writable`. */
  get writableBytes(): number {
    const free = this.#takesBytes ? queuedBytesMax - this.#queue.bytes : 0
    if (free <= 0) this.#full = true
    return Math.max(0, free)
  }

  get #takesBytes(): boolean {
    return maySend(this.#state) && this.#trailer === undefined
  }

  /** Whether the peer can be reached now; else the link waits for it. */
  get attached(): boolean {
    return this.#port.attached()
  }

  get queuedBytes(): number {
    return this.#queue.bytes
  }

  /** Queues a copy of the bytes. Taken also when full: producers cannot always stop at once. Before `accept` and after the end, dropped. */
  write(tag: number, bytes: Uint8Array): void {
    if (!this.#takesBytes) return
    this.#queue.push(tag, bytes)
    this.#port.ready(this)
  }

  /** Sends a small JSON message, ahead of queued bytes, and after the end of them too while the stream lasts. */
  sendMessage(message: unknown): void {
    if (!mayMessage(this.#state)) return
    const body = encodeBody("a message", message)
    if (this.#messages >= limits.queuedMessagesMax) {
      throw new TunnelError("overloaded", `${limits.queuedMessagesMax} messages wait to be sent; the other side does not keep up`)
    }
    this.#messages += 1
    this.#port.control({ type: "message", stream: this.id, body })
  }

  /** No more from this side, after what is queued; `trailer` is JSON. Idempotent. Throws TunnelError `too-large`. */
  finish(trailer?: unknown): void {
    if (!this.#takesBytes) return
    this.#trailer = trailer === undefined ? noTrailer : encodeBody("a trailer", trailer)
    this.#port.ready(this)
  }

  /** Abandons both directions; queued bytes are dropped, and an OPEN that was not sent yet is taken back. Idempotent. */
  reset(error: TunnelError): void {
    if (this.#state.phase === "closed") return
    const withdrawn = this.#state.phase === "opening" && this.#port.withdraw(this)
    if (!withdrawn) this.#port.control({ type: "reset", stream: this.id, body: encodeError(error) })
    // Nobody has seen a request that was taken back (SPEC MX6).
    const { code, message, retryable } = error
    this.close(withdrawn ? new TunnelError(code, message, { retryable, delivered: "no", cause: error }) : error)
  }

  /**
   * Grants an offered stream and names who listens from now on; what arrived before is given out at once.
   * False when the stream has ended meanwhile: then nothing is sent and nobody will be told anything. An answer that is `unhurried` may wait some milliseconds
   * for the first data to go with it. Throws TunnelError `too-large`.
   */
  accept(body: unknown, events: StreamEvents, { unhurried = false }: { readonly unhurried?: boolean } = {}): boolean {
    if (this.#state.phase !== "offered" || !("early" in this.#events)) return false
    const encoded = encodeBody("an answer", body)
    const { early } = this.#events
    this.#advance("acceptSent")
    // Before anything is sent or told: both may end the stream, which the new owner must hear of.
    this.#events = events
    this.#port.control({ type: "accept", stream: this.id, body: encoded }, unhurried)
    for (const event of early) {
      if (this.phase === "closed") break
      this.#tell(event)
    }
    this.notifyWritable()
    return true
  }

  reject(error: TunnelError): void {
    if (this.#state.phase !== "offered") return
    this.#port.control({ type: "reject", stream: this.id, body: encodeError(error) })
    this.close(error, "rejectSent")
  }

  /** The owner is done with data of this cost; the peer may send as much again. */
  consumed(cost: number): void {
    if (!mayReceive(this.#state)) return
    const grant = this.#receiveWindow.consume(cost, this.#port.now(), this.#port.rttMs())
    if (grant > 0) this.#port.grant(this.id, grant)
  }

  // What follows is called by the mux alone.

  /** The next frame of bytes or the end, with a payload of at most `max` bytes; undefined when there is none now. The bytes hold until the mux is next asked for frames. */
  take(max: number): Frame | undefined {
    const queued = this.#queue.bytes
    const taken = this.#queue.take(Math.min(max, payloadFor(this.#sendWindow.creditBytes)))
    if (taken !== undefined) {
      this.#sendWindow.spend(dataCost(queued - this.#queue.bytes))
      return { type: "data", stream: this.id, ...taken }
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
    if (!this.#full || !this.#takesBytes || this.#queue.bytes > queuedBytesMax / 2) return
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
    const kept = unshared(bytes)
    this.#tell((events) => events.data(tag, kept, cost))
  }

  receiveMessage(body: unknown, bodyBytes: number): void {
    if (this.#state.phase !== "open" && this.#state.phase !== "offered")
      throw new ProtocolViolation("ST4", `MESSAGE on a stream that is ${this.#state.phase}`)
    if ("early" in this.#events) {
      this.#earlyMessages += 1
      this.#earlyMessageBytes += bodyBytes
      if (this.#earlyMessages > limits.queuedMessagesMax || this.#earlyMessageBytes > earlyMessageBytesMax) {
        const bounds = `${limits.queuedMessagesMax} messages or ${earlyMessageBytesMax} bytes of them`
        return this.reject(new TunnelError("overloaded", `more than ${bounds} before the answer`))
      }
    }
    this.#tell((events) => events.message?.(body))
  }

  receiveCredit(bytes: number): void {
    this.#sendWindow.grant(bytes)
    this.#port.ready(this)
  }

  receiveFin(trailer: unknown): void {
    this.#advance("finReceived")
    // Asked before the owner is told: the owner may close the stream itself.
    const over = this.phase === "closed"
    const error = this.#tell((events) => events.finished?.(trailer))
    if (over) this.#leave(error)
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
    if ("early" in this.#events) {
      this.#events = { early: [] }
      this.abandoned?.()
    } else this.#events.closed(error)
  }

  /** A body that is not what the kind asks for, or an owner that throws, resets this stream, with the error returned; the link and its other streams go on. */
  #tell(event: (events: StreamEvents) => void): TunnelError | undefined {
    if ("early" in this.#events) {
      this.#events.early.push(event)
      return undefined
    }
    try {
      event(this.#events)
      return undefined
    } catch (error) {
      // An owner that fails must not take the link and everybody's streams with it; its own `closed` gets the cause.
      const refusal =
        error instanceof InvalidBody
          ? new TunnelError("bad-request", error.message, { delivered: "yes", cause: error })
          : new TunnelError("internal", "the other end failed on this stream; its log says why", { delivered: "yes", cause: error })
      this.reset(refusal)
      return refusal
    }
  }

  #advance(event: StreamEvent): void {
    const next = transition(this.#state, event)
    if (next === undefined) throw new ProtocolViolation("ST1", `${event} on a stream that is ${this.#state.phase}`)
    this.#state = next
  }
}

/**
 * Bytes an owner may keep. A small view would hold the whole message it came in, and a peer that sends one byte beside
 * a megabyte of something else would cost the owner a million times what its credit says.
 */
const unshared = (bytes: Uint8Array): Uint8Array => (bytes.byteLength * 4 < bytes.buffer.byteLength ? new Uint8Array(bytes) : bytes)
