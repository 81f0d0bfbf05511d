/**
 * The exact pipe between one client and one agent (SPEC LK): an ordered sequence of bytes in each direction that
 * outlives transports. It numbers, acknowledges, bounds what is in flight and sends again after a cut. It knows
 * whole frames only as something its user hands out and takes in, and nothing of slots or sockets.
 */
import { type Delivered, isErrorCode, TunnelError } from "../errors.ts"
import type { Clock, Transport, TransportEvents } from "../ports.ts"
import { closeCodes } from "../wire/close-codes.ts"
import { decodeFrames } from "../wire/decode.ts"
import { frameBytes, writeFrame } from "../wire/encode.ts"
import { assertNever, type Frame, frameHeaderBytes, ProtocolViolation } from "../wire/frame.ts"
import { type ByteOffset, byteOffset } from "../wire/ids.ts"
import { InvalidBody } from "../wire/json.ts"
import { limits, protocolVersion } from "../wire/limits.ts"
import { DelayedAck } from "./delayed-ack.ts"
import { carrying, encodeLinkControl, type LinkControl, readLinkControl } from "./link-control.ts"
import { controlOffset, linkHeaderBytes, readLinkHeader, unassignedSlot, writeAck, writeLinkHeader } from "./link-header.ts"
import type { LinkOptions, LinkUser, Room, Traffic } from "./link-user.ts"
import { MessagePool } from "./message-pool.ts"
import { Pacing } from "./pacing.ts"
import { SendLog } from "./send-log.ts"

type LinkState =
  | { readonly phase: "detached" }
  /** The client's first hello was sent and data may follow at once; the agent has not answered. */
  | { readonly phase: "starting"; readonly transport: Transport }
  /** A hello was sent to resume; nothing else may be until the welcome says what arrived. */
  | { readonly phase: "resuming"; readonly transport: Transport }
  | { readonly phase: "open"; readonly transport: Transport }
  | { readonly phase: "ended"; readonly error: TunnelError }

/** Bytes in the transport's own queue above which no more is handed to it: what is queued there has lost its priority. */
const transportBufferedBytesMax = 262_144

/** Body bytes aimed at in one message: one full DATA frame, or many small frames. */
const messageBodyBytes = limits.dataBytesMax + frameHeaderBytes

export class Link {
  readonly traffic: Traffic
  /** Of messages and of what waits to be put into them. */
  readonly pool: MessagePool
  readonly #clock: Clock
  readonly #user: LinkUser
  readonly #options: LinkOptions
  readonly #log = new SendLog((message) => this.pool.give(message))
  readonly #pacing = new Pacing()
  #state: LinkState = { phase: "detached" }
  #received = byteOffset(0)
  #acknowledged = byteOffset(0)
  #windowBytes: number
  #peerWindowBytes: number = limits.linkWindowBytes
  #budgetBytes: number = limits.linkWindowBytesMax
  /** This is the agent's end: it answers greetings and makes none. */
  #welcomes = false
  #flushing = false
  /** Not sent yet: what is sent first goes with it. */
  #greeting: Uint8Array | undefined
  readonly #ack: DelayedAck

  constructor(options: LinkOptions, user: LinkUser) {
    this.#options = options
    this.#clock = options.clock
    this.pool = new MessagePool(linkHeaderBytes + messageBodyBytes, options.clock)
    this.#ack = new DelayedAck(options.clock, () => this.wake())
    this.#user = user
    this.#windowBytes = options.windowBytes ?? limits.linkWindowBytes
    this.traffic = options.traffic ?? { interactiveStreams: 0 }
  }

  get received(): ByteOffset {
    return this.#received
  }

  get windowBytes(): number {
    return this.#windowBytes
  }

  get inFlightBytes(): number {
    return this.#log.inFlightBytes
  }

  /** Least round trip seen lately, or undefined. */
  get rttMs(): number | undefined {
    return this.#pacing.rttMs
  }

  get phase(): LinkState["phase"] {
    return this.#state.phase
  }

  /**
   * The client's first transport: greets, in one message with what there is to send by the end of this turn, and may send more at once, within the
   * default window. If it is lost before the agent's welcome the link ends: nobody can say whether the agent ever knew it, and nothing may run twice.
   */
  start(transport: Transport, hello: LinkControl): TransportEvents {
    const events = this.#attach({ phase: "starting", transport }, hello)
    this.wake()
    return events
  }

  /** A client's later transport: greets and waits for the welcome. */
  resume(transport: Transport, hello: LinkControl): TransportEvents {
    const events = this.#attach({ phase: "resuming", transport }, hello)
    this.#sendGreeting(transport)
    return events
  }

  /**
   * The agent's side of either: answers a hello that was found in order, a first one perhaps together with what it asks for, and sends again what the
   * client lacks. A close of the transport with 1000 is the client's end of the link (SPEC CC3).
   */
  welcome(
    transport: Transport,
    peer: { readonly received: ByteOffset; readonly window: number },
    welcome: Extract<LinkControl, { type: "welcome" }>,
  ): TransportEvents {
    this.#welcomes = true
    const events = this.#attach({ phase: "open", transport }, welcome)
    this.#peerWindowBytes = peer.window
    // The answer to a first request is worth waiting for; a link that comes back has waited long enough.
    if (welcome.resumed) this.#sendGreeting(transport)
    else this.wakeSoon()
    this.#guard(() => this.#resend(transport, peer.received))
    return events
  }

  /** Bytes this end may have in flight whatever the peer grants: the agent's share of its budget. */
  setBudget(bytes: number): void {
    this.#budgetBytes = Math.max(bytes, limits.linkWindowBytesMin)
    this.wake()
  }

  /** Grants the peer another window. */
  setWindow(bytes: number): void {
    const window = Math.min(Math.max(bytes, limits.linkWindowBytesMin), limits.linkWindowBytesMax)
    if (window === this.#windowBytes) return
    this.#windowBytes = window
    if ("transport" in this.#state) this.#sendControl(this.#state.transport, { type: "window", window })
  }

  /** There may be something to send. What is queued in one turn goes out together. */
  wake(): void {
    if (this.#flushing || !("transport" in this.#state)) return
    this.#flushing = true
    this.#clock.defer(() => {
      this.#flushing = false
      this.#flush()
    })
  }

  /** There may be something to send that nobody waits for: it goes with what comes next, or within {@link limits.ackDelayMs}. */
  wakeSoon(): void {
    if ("transport" in this.#state) this.#ack.soon()
  }

  /** Gives the link up and tells the peer. Idempotent. */
  end(error: TunnelError): void {
    if ("transport" in this.#state) {
      this.#sendControl(this.#state.transport, { type: "end", code: error.code, message: error.message.slice(0, 1024) })
    }
    this.#finish(error)
  }

  /** Gives the link up where closing its transport says so to the peer, or where it is `untouched`: nothing has reached the peer. Idempotent. */
  leave(error: TunnelError, untouched = false): void {
    this.#finish(error, { untouched })
  }

  #attach(state: LinkState & { readonly transport: Transport }, greeting: LinkControl): TransportEvents {
    if (this.#state.phase === "ended") throw new Error("attach to a link that has ended")
    this.#state = state
    this.#greeting = encodeLinkControl(greeting, this.#received)
    // Events of a transport that is no longer the current one are ignored: a late close must not cut its successor.
    const current = () => this.#isCurrent(state.transport)
    return {
      message: (bytes) => {
        if (current()) this.#guard(() => this.#receive(bytes))
      },
      drained: () => {
        if (current()) this.wake()
      },
      closed: (code) => {
        if (!current()) return
        if (code === closeCodes.normal && this.#welcomes) {
          const error = new TunnelError("aborted", "the client has closed the connection", { delivered: "unknown" })
          return this.#finish(error, { by: "peer" })
        }
        if (this.#state.phase === "starting") {
          return this.#finish(new TunnelError("link-lost", "the connection was lost before the agent answered", { delivered: "unknown" }))
        }
        this.#state = { phase: "detached" }
        this.#greeting = undefined
        this.#ack.settle()
        this.#options.detached?.()
      },
    }
  }

  #isCurrent(transport: Transport): boolean {
    return "transport" in this.#state && this.#state.transport === transport
  }

  /** A lie or a malformed byte from the peer ends this link and touches nothing else. */
  #guard(task: () => void): void {
    try {
      task()
    } catch (error) {
      if (!(error instanceof ProtocolViolation || error instanceof InvalidBody)) throw error
      this.end(new TunnelError("protocol-error", `the peer broke the protocol: ${error.message}`, { delivered: "unknown", cause: error }))
    }
  }

  #receive(message: Uint8Array): void {
    if (message.byteLength > limits.messageBytesMax) {
      throw new ProtocolViolation("LM2", `a message of ${message.byteLength} bytes, allowed are ${limits.messageBytesMax}`)
    }
    const header = readLinkHeader(message)
    if (header === undefined) throw new ProtocolViolation("LH1", `a message of ${message.byteLength} bytes has no link header`)
    if (header.offset === controlOffset) {
      const { control, data } = readLinkControl(message)
      this.#receiveControl(control)
      if (data !== undefined && this.#state.phase === "open") this.#receive(data)
      return
    }
    const body = message.subarray(linkHeaderBytes)
    if (this.#state.phase !== "open") throw new ProtocolViolation("LC3", "data before the welcome")
    this.#receiveAck(header.ack)
    if (body.byteLength === 0) return
    const end = header.offset + body.byteLength
    if (end <= this.#received) return
    if (header.offset !== this.#received) throw new ProtocolViolation("LK2", `expected byte ${this.#received}, got ${header.offset}`)
    if (end >= controlOffset) throw new ProtocolViolation("LK1", "the byte sequence is exhausted")
    const frames = decodeFrames(body)
    this.#received = byteOffset(end)
    this.#ack.owe(this.#received - this.#acknowledged, this.#windowBytes)
    for (const frame of frames) {
      this.#user.receive(frame)
      if (this.phase === "ended") return
    }
  }

  #receiveAck(ack: ByteOffset): void {
    const before = this.#log.acked
    if (ack === before) return
    const newest = this.#log.acknowledge(ack, this.#clock.now())
    if (this.#log.inFlightBytes === 0) this.pool.rest()
    if (newest !== undefined) this.#pacing.acknowledged(newest, ack, this.#clock.now())
    this.wake()
  }

  #receiveControl(control: LinkControl): void {
    switch (control.type) {
      case "welcome":
        return this.#receiveWelcome(control)
      case "window":
        this.#peerWindowBytes = control.window
        return this.wake()
      case "refused": {
        const { phase } = this.#state
        if (phase !== "starting" && phase !== "resuming") throw new ProtocolViolation("LC2", "a refusal of a link that was welcomed")
        return this.#finish(peerError(control, phase === "starting" ? "no" : "unknown"), { by: "peer", untouched: phase === "starting" })
      }
      case "end":
        return this.#finish(peerError(control, "unknown"), { by: "peer" })
      case "hello":
        // A client that hears twice in a row that its agent is back greets twice, and both may reach the same connection.
        // Nothing was received in between, so the first answer holds for both.
        if (this.#welcomes) return
        throw new ProtocolViolation("LC2", "a hello to the end that greets")
      default:
        return assertNever(control)
    }
  }

  #receiveWelcome(welcome: Extract<LinkControl, { type: "welcome" }>): void {
    const state = this.#state
    if (state.phase !== "starting" && state.phase !== "resuming") throw new ProtocolViolation("LC2", "a welcome nobody waits for")
    if (welcome.protocol !== protocolVersion)
      throw new ProtocolViolation("VR2", `a welcome in version ${welcome.protocol}, offered was ${protocolVersion}`)
    if (welcome.resumed !== (state.phase === "resuming")) {
      if (state.phase === "starting") throw new ProtocolViolation("LC4", "a new link was welcomed as a resumed one")
      // A new link under the old name: sending again what the lost one may have handled would do it twice.
      return this.end(new TunnelError("agent-restarted", "the agent does not know this link any more", { delivered: "unknown" }))
    }
    this.#state = { phase: "open", transport: state.transport }
    this.#peerWindowBytes = welcome.window
    if (state.phase === "resuming") this.#resend(state.transport, welcome.received)
    this.wake()
  }

  /** After a greeting on a new transport: what the peer has is dropped, the rest goes again, each message as it was but for its ack. */
  #resend(transport: Transport, received: ByteOffset): void {
    this.#log.acknowledge(received, this.#clock.now())
    for (const { message } of this.#log.unacknowledged()) {
      writeAck(message, this.#received)
      transport.send(message)
    }
    this.#acknowledged = this.#received
    // A greeting that waits for company goes with the next message, or when it falls due.
    if (this.#greeting !== undefined) return
    this.#ack.settle()
    this.wake()
  }

  #flush(): void {
    if (this.#state.phase !== "open" && this.#state.phase !== "starting") return
    const { transport } = this.#state
    while (transport.bufferedBytes <= transportBufferedBytesMax) {
      const frames = this.#user.take(this.#room())
      // Owners are told things while frames are taken: they may have ended the link.
      if (this.phase === "ended") return
      if (frames.length === 0) break
      this.#sendFrames(transport, frames)
      if (!this.#isCurrent(transport)) return
    }
    this.#sendGreeting(transport)
    if (!this.#ack.due) return
    if (this.#acknowledged !== this.#received) this.#send(transport, new Uint8Array(linkHeaderBytes))
    else this.#ack.settle()
  }

  #room(): Room {
    const inFlight = this.#log.inFlightBytes
    const window = Math.min(this.#peerWindowBytes, this.#budgetBytes)
    // The reserve shrinks with a small window, else bulk would never fit in one.
    const bulkWindow = window - Math.min(limits.linkReserveBytes, Math.floor(window / 4))
    const paced = this.traffic.interactiveStreams > 0
    const bulkMax = paced ? Math.min(bulkWindow, this.#pacing.bulkInFlightBytesMax) : bulkWindow
    const bytes = Math.min(messageBodyBytes, window - inFlight)
    const bulkPayloadBytes = paced ? this.#pacing.bulkPayloadBytesMax : limits.dataBytesMax
    return { bytes, bulkBytes: Math.min(bytes, bulkMax - inFlight), bulkPayloadBytes, whole: inFlight === 0 }
  }

  #sendFrames(transport: Transport, frames: readonly Frame[]): void {
    let bodyBytes = 0
    for (const frame of frames) bodyBytes += frameBytes(frame)
    const message = this.pool.take(linkHeaderBytes + bodyBytes)
    let at = linkHeaderBytes
    for (const frame of frames) at = writeFrame(message, at, frame)
    this.#send(transport, message)
    this.#log.append(message, bodyBytes, this.#clock.now())
  }

  #send(transport: Transport, message: Uint8Array): void {
    writeLinkHeader(message, { slot: unassignedSlot, offset: this.#log.end, ack: this.#received })
    this.#acknowledged = this.#received
    this.#ack.settle()
    const greeting = this.#greeting
    this.#greeting = undefined
    transport.send(greeting === undefined ? message : carrying(greeting, message))
  }

  #sendGreeting(transport: Transport): void {
    const greeting = this.#greeting
    this.#greeting = undefined
    if (greeting !== undefined) transport.send(greeting)
  }

  #sendControl(transport: Transport, control: LinkControl): void {
    this.#sendGreeting(transport)
    transport.send(encodeLinkControl(control, this.#received))
  }

  #finish(error: TunnelError, { by = "us", untouched = false }: { readonly by?: "us" | "peer"; readonly untouched?: boolean } = {}): void {
    if (this.#state.phase === "ended") return
    this.#state = { phase: "ended", error }
    this.#greeting = undefined
    this.#ack.settle()
    this.pool.clear()
    this.#options.ended?.(error, by)
    this.#user.linkEnded(error, untouched)
  }
}

const peerError = (control: { readonly code: string; readonly message: string }, delivered: Delivered): TunnelError =>
  new TunnelError(isErrorCode(control.code) ? control.code : "link-lost", control.message, { delivered })
