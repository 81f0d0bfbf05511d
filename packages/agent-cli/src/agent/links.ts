/**
 * The agent's ends of all links: made by a client's hello, found again by id and secret on another transport, dropped
 * after a grace. The budget of bytes in flight is divided among them, which is what bounds the gateway's memory.
 */
import { createHash, timingSafeEqual } from "node:crypto"
import {
  byteOffset,
  type Clock,
  closeCodes,
  controlOffset,
  encodeLinkControl,
  InvalidBody,
  type LinkHello,
  type Logger,
  limits,
  Mux,
  type MuxStream,
  type Principal,
  ProtocolViolation,
  protocolVersion,
  readLinkControl,
  readLinkHeader,
  type Slot,
  type Traffic,
  type Transport,
  type TransportEvents,
  TunnelError,
} from "@trunkline/protocol"

/** The way to the gateway, as far as links see it. */
export interface SlotPort {
  transport(slot: Slot): Transport
  /** Asks the gateway to close a client's socket. */
  detach(slot: Slot, code: number, reason: string): void
}

export interface LinksOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly offered: (stream: MuxStream, body: unknown, principal: Principal) => void
}

interface LinkEntry {
  readonly mux: Mux
  readonly secretHash: Buffer
  /** As its newest transport was authorised: what a token allows may change between two. */
  principal: Principal
  attempt: number
  slot: Slot | undefined
  cancelGrace: (() => void) | undefined
  /** A stream was opened on it. */
  used: boolean
  /** What the client's socket is closed with, if it is not the link's error. */
  reason: string | undefined
}

interface SlotEntry {
  readonly principal: Principal
  events: TransportEvents | undefined
}

export class Links {
  readonly #options: LinksOptions
  readonly #links = new Map<string, LinkEntry>()
  readonly #slots = new Map<Slot, SlotEntry>()
  /** All links share the one socket, so a terminal on one of them paces the bulk of all. */
  readonly #traffic: Traffic = { interactiveStreams: 0 }
  #port: SlotPort | undefined
  #shareBytes: number = limits.linkWindowBytesMax

  constructor(options: LinksOptions) {
    this.#options = options
  }

  get linkCount(): number {
    return this.#links.size
  }

  get streamCount(): number {
    let count = 0
    for (const { mux } of this.#links.values()) count += mux.streamCount
    return count
  }

  connected(port: SlotPort): void {
    this.#port = port
  }

  /** The socket to the gateway is gone, and with it every slot. */
  disconnected(): void {
    this.#port = undefined
    const slots = [...this.#slots.values()]
    this.#slots.clear()
    for (const slot of slots) slot.events?.closed(closeCodes.restart, "the agent's connection was lost")
  }

  attached(slot: Slot, principal: Principal): void {
    // A slot is one client leg's: who had it before is gone.
    this.detached(slot, false)
    this.#slots.set(slot, { principal, events: undefined })
  }

  /** `ended`: the client has ended the link that is on this leg. */
  detached(slot: Slot, ended: boolean): void {
    const entry = this.#slots.get(slot)
    this.#slots.delete(slot)
    entry?.events?.closed(ended ? closeCodes.normal : closeCodes.restart, "the client left")
  }

  message(slot: Slot, message: Uint8Array): void {
    const entry = this.#slots.get(slot)
    if (entry === undefined) return
    if (entry.events !== undefined) return entry.events.message(message)
    // Before its hello a slot may still carry what the client sent to our previous connection: it will send that again.
    const header = readLinkHeader(message)
    if (header?.offset !== controlOffset) return
    try {
      const { control, data } = readLinkControl(message)
      if (control.type !== "hello") return
      this.#hello(slot, entry, control)
      if (data !== undefined) this.#slots.get(slot)?.events?.message(data)
    } catch (error) {
      if (!(error instanceof InvalidBody || error instanceof ProtocolViolation)) throw error
      this.#port?.detach(slot, closeCodes.protocolError, "malformed hello")
    }
  }

  /** The socket has room again. */
  drained(): void {
    for (const slot of this.#slots.values()) slot.events?.drained()
  }

  /** No new streams on any link. */
  goAway(error: TunnelError): void {
    for (const { mux } of this.#links.values()) mux.goAway(error)
  }

  /**
   * While the agent is about to stop: ends the links whose streams have all ended and whose clients have acknowledged it. A client that is not told
   * so keeps its end of the link, for an exit that may still have to be sent again.
   */
  endFinished(error: TunnelError): void {
    for (const link of [...this.#links.values()]) {
      if (!link.used || link.mux.streamCount > 0 || link.mux.link.inFlightBytes > 0) continue
      link.reason = "exec completed"
      link.mux.link.end(error)
    }
  }

  endAll(error: TunnelError): void {
    for (const { mux } of [...this.#links.values()]) mux.link.end(error)
  }

  #hello(slot: Slot, entry: SlotEntry, hello: LinkHello): void {
    const verdict = this.#judge(entry.principal, hello)
    if (verdict instanceof TunnelError) return this.#refuse(slot, verdict)
    const port = this.#port
    if (port === undefined) return
    const link = verdict ?? this.#create(hello, entry.principal)
    const previous = link.slot
    link.slot = slot
    link.attempt = hello.attempt
    link.principal = entry.principal
    link.cancelGrace?.()
    link.cancelGrace = undefined
    entry.events = link.mux.link.welcome(port.transport(slot), hello, {
      type: "welcome",
      protocol: protocolVersion,
      received: link.mux.link.received,
      window: link.mux.link.windowBytes,
      resumed: verdict !== undefined,
    })
    if (previous !== undefined && previous !== slot && this.#slots.has(previous))
      port.detach(previous, closeCodes.restart, "resumed on another connection")
    this.#options.logger.info(verdict === undefined ? "link.opened" : "link.resumed", {
      slot,
      principal: entry.principal.id,
      attempt: hello.attempt,
    })
  }

  /** The link to resume, undefined to make a new one, or why neither. */
  #judge(principal: Principal, hello: LinkHello): LinkEntry | TunnelError | undefined {
    if (hello.protocol.min > protocolVersion || hello.protocol.max < protocolVersion) {
      return new TunnelError(
        "unsupported-version",
        `this agent speaks protocol version ${protocolVersion}, the client ${hello.protocol.min} to ${hello.protocol.max}`,
      )
    }
    const link = this.#links.get(hello.link)
    if (link === undefined) {
      if (hello.attempt > 1)
        return new TunnelError("agent-restarted", "the agent does not know this link: it was restarted, or away for too long")
      if (this.#links.size >= limits.clientsMax) return new TunnelError("too-many-clients", `${limits.clientsMax} clients use this agent`)
      return undefined
    }
    // One answer for all three, so that nothing can be learnt by trying.
    const mine = timingSafeEqual(link.secretHash, hash(hello.secret)) && link.principal.id === principal.id && hello.attempt > link.attempt
    return mine ? link : new TunnelError("denied", "this link cannot be resumed from here")
  }

  #create(hello: LinkHello, principal: Principal): LinkEntry {
    const { clock, logger, offered } = this.#options
    const mux: Mux = new Mux({
      role: "agent",
      link: {
        clock,
        traffic: this.#traffic,
        detached: () => {
          link.slot = undefined
          link.cancelGrace = clock.schedule(limits.resumeGraceMs, () => {
            mux.link.end(
              new TunnelError("link-lost", `the client was away for ${limits.resumeGraceMs / 1000} seconds`, { delivered: "unknown" }),
            )
          })
        },
        ended: (error, by) => {
          link.cancelGrace?.()
          this.#links.delete(hello.link)
          this.#share()
          const code = error.code === "protocol-error" ? closeCodes.protocolError : closeCodes.normal
          // A client that has ended its link hangs up itself.
          if (link.slot !== undefined && this.#slots.delete(link.slot) && by === "us")
            this.#port?.detach(link.slot, code, link.reason ?? `link ended: ${error.code}`)
          logger.info("link.ended", { principal: principal.id, code: error.code, message: error.message })
        },
      },
      offered: (stream, body) => {
        link.used = true
        offered(stream, body, link.principal)
      },
    })
    const link: LinkEntry = {
      mux,
      secretHash: hash(hello.secret),
      principal,
      attempt: 0,
      slot: undefined,
      cancelGrace: undefined,
      used: false,
      reason: undefined,
    }
    this.#links.set(hello.link, link)
    mux.link.setBudget(this.#shareBytes)
    mux.link.setWindow(this.#shareBytes)
    this.#share()
    return link
  }

  #refuse(slot: Slot, error: TunnelError): void {
    this.#options.logger.warn("link.refused", { slot, code: error.code })
    this.#port?.transport(slot).send(encodeLinkControl({ type: "refused", code: error.code, message: error.message }, byteOffset(0)))
    this.#port?.detach(slot, closeCodes.normal, `refused: ${error.code}`)
    this.#slots.delete(slot)
  }

  /** A power of two, so that the share changes, and every client is told, only when the number of links doubles or halves. */
  #share(): void {
    const share = 2 ** Math.floor(Math.log2(limits.agentInFlightBytesMax / Math.max(this.#links.size, 1)))
    const bytes = Math.min(share, limits.linkWindowBytesMax)
    if (bytes === this.#shareBytes) return
    this.#shareBytes = bytes
    for (const { mux } of this.#links.values()) {
      mux.link.setBudget(bytes)
      mux.link.setWindow(bytes)
    }
  }
}

const hash = (secret: string): Buffer => createHash("sha256").update(secret).digest()
