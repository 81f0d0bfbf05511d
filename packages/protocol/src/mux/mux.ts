/**
 * Many streams on one link (SPEC MX). It turns frames into calls on streams and streams' bytes into frames when the link
 * has room. Everything a peer can make it hold is bounded.
 */
import { isErrorCode, TunnelError } from "../errors.ts"
import { classOf } from "../kinds/kind.ts"
import { Link } from "../link/link.ts"
import type { LinkOptions, LinkUser, Room } from "../link/link-user.ts"
import type { Clock } from "../ports.ts"
import { assertNever, type Frame, ProtocolViolation, pingBytes } from "../wire/frame.ts"
import { type StreamId, streamId } from "../wire/ids.ts"
import { encodeJson, InvalidBody, parseJson } from "../wire/json.ts"
import { limits } from "../wire/limits.ts"
import { anyJson, encodeError, errorSchema, openSchema } from "./bodies.ts"
import { controlFramesMax, Scheduler } from "./scheduler.ts"
import { MuxStream, type StreamEvents, type StreamPort } from "./stream.ts"

export interface MuxOptions {
  /** The client opens odd stream ids, the agent even ones. */
  readonly role: "client" | "agent"
  readonly link: LinkOptions
  /** The peer asks for a stream: answer with `accept` or `reject`, now or later. `body` is not checked yet; throwing InvalidBody rejects. */
  readonly offered?: (stream: MuxStream, body: unknown) => void
  /** The link is over; every stream has been told. */
  readonly ended?: (error: TunnelError) => void
}

/** Stream ids are u32 and never reused. */
const streamIdMax = 0xffff_ffff

/**
 * Bytes of credit for one stream that are worth a message of their own: half of what it started with. Less goes with the next message there is, which under
 * traffic is the next acknowledgement: each message costs both ends and the gateway as much as 8 KiB of data.
 */
const loneGrantBytes = limits.streamWindowBytes / 2

/** Round trip assumed before one is measured, in milliseconds. */
const assumedRttMs = 50

export class Mux implements LinkUser {
  readonly link: Link
  readonly #options: MuxOptions
  readonly #clock: Clock
  readonly #streams = new Map<StreamId, MuxStream>()
  readonly #scheduler = new Scheduler()
  readonly #grants = new Map<StreamId, number>()
  readonly #port: StreamPort
  /** Blocks whose bytes the link was given last and may not have copied yet. */
  #spent: Uint8Array[] = []
  #nextId: number
  #peerHighest = 0
  #peerStreams = 0
  #pong: Uint8Array | undefined
  #pongQueued = false
  #ping:
    | {
        readonly token: number
        readonly sentAtMs: number
        readonly resolve: (rttMs: number) => void
        readonly reject: (error: TunnelError) => void
      }
    | undefined
  #pings = 0
  #goAway: TunnelError | undefined
  #ended: TunnelError | undefined

  constructor(options: MuxOptions) {
    this.#options = options
    this.#clock = options.link.clock
    this.#nextId = options.role === "client" ? 1 : 2
    this.link = new Link(options.link, this)
    this.#port = {
      blocks: { take: () => this.link.pool.take(limits.dataBytesMax), give: (block) => this.#spent.push(block) },
      now: () => this.#clock.now(),
      rttMs: () => this.link.rttMs ?? assumedRttMs,
      attached: () => this.link.phase === "open",
      control: (frame, unhurried) => this.#control(frame, unhurried),
      grant: (stream, bytes) => {
        const gathered = (this.#grants.get(stream) ?? 0) + bytes
        this.#grants.set(stream, gathered)
        // While somebody types the peer paces its bulk by how soon we acknowledge.
        if (gathered >= loneGrantBytes || this.link.traffic.interactiveStreams > 0) this.link.wake()
        else this.link.wakeSoon()
      },
      ready: (stream) => {
        this.#scheduler.ready(stream)
        this.link.wake()
      },
      withdraw: (stream) => this.#scheduler.withdrawOpen(stream),
      forget: (stream) => this.#forget(stream),
    }
  }

  get streamCount(): number {
    return this.#streams.size
  }

  /**
   * Asks the peer for a stream. Bytes, messages and the end may follow at once. Throws TunnelError: `too-large` for a
   * body above 256 KiB, `too-many-streams`, `overloaded`, the peer's reason after its GOAWAY, the link's error after its end.
   */
  open(kind: string, body: unknown, events: StreamEvents): MuxStream {
    const refusal = this.#ended ?? this.#goAway
    if (refusal !== undefined) throw new TunnelError(refusal.code, refusal.message, { retryable: refusal.retryable, delivered: "no" })
    if (this.#streams.size - this.#peerStreams >= limits.streamsMax) {
      throw new TunnelError("too-many-streams", `${limits.streamsMax} streams are open on this link; end one or open another link`)
    }
    if (this.#scheduler.controlFrames >= controlFramesMax)
      throw new TunnelError("overloaded", "the peer does not read; too many requests wait")
    if (this.#nextId > streamIdMax) throw new TunnelError("too-many-streams", "this link has used up its stream numbers; open another link")
    const open = encodeJson({ kind, body })
    if (open.byteLength > limits.openBytesMax) {
      throw new TunnelError(
        "too-large",
        `the request is ${open.byteLength} bytes, allowed are ${limits.openBytesMax}; send what is large as input or as a body`,
      )
    }
    const id = streamId(this.#nextId)
    this.#nextId += 2
    const stream = new MuxStream({ id, kind, class: classOf(kind), state: { phase: "opening", sent: "open" } }, this.#port, events)
    this.#add(stream)
    this.#control({ type: "open", stream: id, body: open })
    return stream
  }

  /** Round trip to the peer in milliseconds, over whatever is queued in between. One at a time; rejects when the link ends. */
  ping(): Promise<number> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    if (this.#ping !== undefined) return Promise.reject(new TunnelError("overloaded", "a ping is under way already"))
    return new Promise((resolve, reject) => {
      this.#pings += 1
      const token = new Uint8Array(pingBytes)
      new DataView(token.buffer).setUint32(4, this.#pings)
      this.#ping = { token: this.#pings, sentAtMs: this.#clock.now(), resolve, reject }
      this.#control({ type: "ping", token })
    })
  }

  /** The peer opens no more streams here and is told why; those open go on. */
  goAway(error: TunnelError): void {
    this.#control({ type: "goAway", body: encodeError(error) })
  }

  take(room: Room): readonly Frame[] {
    for (const block of this.#spent.splice(0)) this.link.pool.give(block)
    for (const [stream, bytes] of this.#grants) this.#scheduler.pushControl({ type: "credit", stream, bytes })
    this.#grants.clear()
    if (this.#pong !== undefined && !this.#pongQueued) {
      this.#scheduler.pushControl({ type: "pong", token: this.#pong })
      this.#pong = undefined
      this.#pongQueued = true
    }
    const writable: MuxStream[] = []
    const frames = this.#scheduler.take(room, (frame, stream) => {
      if (frame.type === "message") this.#streams.get(frame.stream)?.messageSent()
      else if (frame.type === "pong") this.#pongQueued = false
      else if (stream !== undefined) writable.push(stream)
    })
    // Owners may write again at once, so they are told only when the scheduler is done.
    for (const stream of writable) stream.notifyWritable()
    return frames
  }

  receive(frame: Frame): void {
    switch (frame.type) {
      case "open":
        return this.#receiveOpen(frame.stream, frame.body)
      case "ping":
        // Only the latest is answered: a flood of pings costs one pending answer and one queued.
        this.#pong = new Uint8Array(frame.token)
        return this.link.wake()
      case "pong":
        return this.#receivePong(frame.token)
      case "goAway":
        this.#goAway = errorOf(frame.body, "no")
        return
      default:
        return this.#receiveStreamFrame(frame)
    }
  }

  linkEnded(error: TunnelError, untouched: boolean): void {
    this.#ended = error
    this.#ping?.reject(error)
    this.#ping = undefined
    for (const stream of [...this.#streams.values()]) {
      const delivered = stream.phase !== "opening" ? "yes" : untouched || this.#scheduler.withdrawOpen(stream) ? "no" : "unknown"
      stream.close(
        new TunnelError(error.code, error.message, { retryable: error.retryable && delivered === "no", delivered, cause: error }),
      )
    }
    this.#options.ended?.(error)
  }

  #control(frame: Frame, unhurried = false): void {
    if (this.#ended !== undefined) return
    if (this.#scheduler.controlFrames >= controlFramesMax && frame.type !== "message") {
      this.link.end(new TunnelError("overloaded", "the peer does not read what it makes us answer", { delivered: "unknown" }))
      return
    }
    this.#scheduler.pushControl(frame)
    if (unhurried) this.link.wakeSoon()
    else this.link.wake()
  }

  #add(stream: MuxStream): void {
    this.#streams.set(stream.id, stream)
    if (stream.class === "interactive") this.link.traffic.interactiveStreams += 1
  }

  #forget(stream: MuxStream): void {
    if (!this.#streams.delete(stream.id)) return
    this.#scheduler.forget(stream)
    this.#grants.delete(stream.id)
    if (stream.class === "interactive") this.link.traffic.interactiveStreams -= 1
    if (this.#isPeers(stream.id)) this.#peerStreams -= 1
  }

  #isPeers(id: StreamId): boolean {
    return (id % 2 === 1) !== (this.#options.role === "client")
  }

  #receiveOpen(id: StreamId, body: Uint8Array): void {
    if (!this.#isPeers(id) || id <= this.#peerHighest) throw new ProtocolViolation("ST2", `OPEN of stream ${id} after ${this.#peerHighest}`)
    this.#peerHighest = id
    let open: { readonly kind: string; readonly body?: unknown }
    try {
      open = parseJson(openSchema, body)
    } catch (error) {
      if (!(error instanceof InvalidBody)) throw error
      return this.#refuse(id, new TunnelError("bad-request", `OPEN ${error.message}`))
    }
    if (this.#peerStreams >= limits.streamsMax) {
      return this.#refuse(id, new TunnelError("too-many-streams", `${limits.streamsMax} streams are open on this link`))
    }
    const stream = new MuxStream(
      { id, kind: open.kind, class: classOf(open.kind), state: { phase: "offered", received: "open" } },
      this.#port,
    )
    this.#peerStreams += 1
    this.#add(stream)
    if (this.#options.offered === undefined) return stream.reject(new TunnelError("unsupported-kind", "this end serves no streams"))
    try {
      this.#options.offered(stream, open.body)
    } catch (error) {
      if (!(error instanceof InvalidBody)) throw error
      stream.reject(new TunnelError("bad-request", error.message, { cause: error }))
    }
  }

  #refuse(stream: StreamId, error: TunnelError): void {
    this.#control({ type: "reject", stream, body: encodeError(error) })
  }

  #receiveStreamFrame(frame: Exclude<Frame, { type: "open" | "ping" | "pong" | "goAway" }>): void {
    const stream = this.#streams.get(frame.stream)
    if (stream === undefined) {
      // A frame that crossed our RESET or REJECT is late, one for a stream that never was is a lie.
      const highest = this.#isPeers(frame.stream) ? this.#peerHighest : this.#nextId - 2
      if (frame.stream > highest) throw new ProtocolViolation("ST2", `${frame.type} for stream ${frame.stream}, which was never opened`)
      return
    }
    try {
      this.#dispatch(stream, frame)
    } catch (error) {
      if (!(error instanceof InvalidBody)) throw error
      stream.reset(new TunnelError("bad-request", `${frame.type}: ${error.message}`, { delivered: "yes" }))
    }
  }

  #dispatch(stream: MuxStream, frame: Exclude<Frame, { type: "open" | "ping" | "pong" | "goAway" }>): void {
    switch (frame.type) {
      case "data":
        return stream.receiveData(frame.tag, frame.bytes)
      case "credit":
        return stream.receiveCredit(frame.bytes)
      case "message":
        return stream.receiveMessage(parseJson(anyJson, frame.body), frame.body.byteLength)
      case "accept":
        return stream.receiveAccept(parseJson(anyJson, frame.body))
      case "reject":
        return stream.receiveReject(errorOf(frame.body, "no"))
      case "fin":
        return stream.receiveFin(frame.trailer.byteLength === 0 ? undefined : parseJson(anyJson, frame.trailer))
      case "reset":
        return stream.close(errorOf(frame.body, stream.phase === "opening" ? "unknown" : "yes"))
      default:
        return assertNever(frame)
    }
  }

  #receivePong(token: Uint8Array): void {
    const ping = this.#ping
    if (ping === undefined || new DataView(token.buffer, token.byteOffset).getUint32(4) !== ping.token) return
    this.#ping = undefined
    ping.resolve(this.#clock.now() - ping.sentAtMs)
  }
}

function errorOf(body: Uint8Array, delivered: "no" | "yes" | "unknown"): TunnelError {
  const { code, message } = parseJson(errorSchema, body)
  return new TunnelError(isErrorCode(code) ? code : "internal", message, { delivered })
}
