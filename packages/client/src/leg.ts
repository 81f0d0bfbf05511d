/**
 * One leg: a socket to the gateway from its dial to its end. It tells the gateway's own words from link data, watches
 * whether anybody is still there, and passes every event on once and in order. Once closed it says nothing more.
 */
import {
  type AgentPlace,
  type AgentState,
  type Clock,
  closeCodes,
  type GatewayToClient,
  InvalidBody,
  Liveness,
  limits,
  parseGatewayToClient,
  pingText,
  pongText,
  type Transport,
  TunnelError,
} from "@trunkline/protocol"
import type { Dial, DialTarget, Socket, SocketEvents } from "./dial.ts"
import { unreachable } from "./gateway-api.ts"

export interface LegOptions {
  readonly dial: Dial
  readonly target: Omit<DialTarget, "signal" | "first">
  readonly clock: Clock
}

export interface LegEvents {
  /** First and once: the gateway has let us in (SPEC CT9). */
  ready(agent: AgentPlace): void
  agentState(state: AgentState): void
  message(message: Uint8Array): void
  drained(): void
  /** Last: no socket, or none on which the gateway says `ready` within the handshake's time. */
  failed(error: TunnelError): void
  /** Last: the socket is gone. */
  lost(code: number, reason: string): void
}

/** Events that may come between a socket's opening and our hearing of it, which are one turn apart; an honest gateway has one or two to say. */
const earlyEventsMax = 64

export class Leg {
  readonly #clock: Clock
  readonly #events: LegEvents
  readonly #giveUp = new AbortController()
  readonly #cancelHandshake: () => void
  #socket: Socket | undefined
  #liveness: Liveness | undefined
  #readyAtMs: number | undefined
  #over = false

  /** Dials at once, and has `first` taken along. Events come later than this returns. */
  constructor({ dial, target, clock }: LegOptions, events: LegEvents, first?: Uint8Array) {
    this.#clock = clock
    this.#events = events
    // Only the dial itself can say that what it took along has not arrived.
    const noAnswer = (cause: unknown) => {
      const error = unreachable(target.gateway, cause)
      this.#fail(first === undefined ? error : new TunnelError(error.code, error.message, { delivered: "unknown", cause }))
    }
    this.#cancelHandshake = clock.schedule(limits.handshakeMs, () => {
      noAnswer(new Error(`no answer within ${limits.handshakeMs / 1_000} seconds`))
    })
    let early: (() => void)[] | undefined = []
    const hear = (event: () => void) => {
      if (early === undefined) event()
      else if (early.length < earlyEventsMax) early.push(event)
    }
    const heard: SocketEvents = {
      message: (message) => hear(() => this.#receive(message)),
      drained: () => hear(() => this.#over || events.drained()),
      closed: (code, reason) => hear(() => this.#lose(code, reason)),
    }
    const { signal } = this.#giveUp
    new Promise<Socket>((resolve) => resolve(dial({ ...target, signal, ...(first === undefined ? {} : { first }) }, heard))).then(
      (socket) => {
        // Whether or not the dial cares for its signal.
        if (this.#over) return socket.close(closeCodes.normal, "not needed")
        this.#adopt(socket)
        const waiting = early ?? []
        early = undefined
        for (const event of waiting) event()
      },
      (error: unknown) => (error instanceof TunnelError ? this.#fail(error) : noAnswer(error)),
    )
  }

  /** Milliseconds since the gateway let us in; 0 if it never did. */
  get connectedMs(): number {
    return this.#readyAtMs === undefined ? 0 : this.#clock.now() - this.#readyAtMs
  }

  /** The agent has been handed what the dial took along. */
  get tookFirst(): boolean {
    return this.#socket?.tookFirst === true
  }

  /** The way to the agent for one greeting. */
  transport(): Transport {
    const leg = this
    return {
      send(message) {
        leg.#socket?.send(message)
        leg.#liveness?.sent()
      },
      get bufferedBytes() {
        return leg.#socket?.bufferedBytes ?? 0
      },
      close: (code, reason) => leg.#socket?.close(code, reason),
    }
  }

  /** Gives up the dial, or closes the socket. Idempotent. */
  close(code: number, reason: string): void {
    if (!this.#end()) return
    if (this.#socket === undefined) this.#giveUp.abort()
    else this.#socket.close(code, reason)
  }

  #adopt(socket: Socket): void {
    this.#socket = socket
    this.#liveness = new Liveness({
      clock: this.#clock,
      ping: () => socket.send(pingText),
      dead: () => {
        socket.close(closeCodes.restart, "no answer")
        this.#lose(1006, "no answer")
      },
    })
    if (socket.tookFirst === true) this.#liveness.sent()
  }

  #receive(message: Uint8Array | string): void {
    if (this.#over) return
    this.#liveness?.heard()
    if (typeof message !== "string") return this.#events.message(message)
    if (message === pongText) return
    let control: GatewayToClient
    try {
      control = parseGatewayToClient(message)
    } catch (error) {
      if (!(error instanceof InvalidBody)) throw error
      this.#socket?.close(closeCodes.protocolError, "malformed control message")
      return this.#lose(closeCodes.protocolError, `the gateway's message is malformed: ${error.message}`)
    }
    if (this.#readyAtMs !== undefined) {
      if (control.type === "agent-state") this.#events.agentState(control.state)
    } else if (control.type === "ready") {
      this.#readyAtMs = this.#clock.now()
      this.#cancelHandshake()
      this.#events.ready(control.agent)
    }
  }

  #fail(error: TunnelError): void {
    if (this.#over) return
    this.close(closeCodes.normal, "not needed")
    this.#events.failed(error)
  }

  #lose(code: number, reason: string): void {
    if (this.#end()) this.#events.lost(code, reason)
  }

  /** Whether it was not over before. */
  #end(): boolean {
    if (this.#over) return false
    this.#over = true
    this.#cancelHandshake()
    this.#liveness?.stop()
    return true
  }
}
