/**
 * One link to one agent: dials when there is something to do, keeps it alive, dials again and resumes after a cut,
 * and lets go when it has been idle. Streams above see nothing of this but a pause, or a typed end.
 */
import {
  assertNever,
  type Clock,
  closeCodes,
  type GatewayToClient,
  InvalidBody,
  isFinalCloseCode,
  type LinkHello,
  Liveness,
  limits,
  Mux,
  type MuxStream,
  parseGatewayToClient,
  pingText,
  pongText,
  protocolVersion,
  reconnect,
  type StreamEvents,
  type Transport,
  type TransportEvents,
  TunnelError,
} from "@trunkline/protocol"
import { boundedDial } from "./bounded-dial.ts"
import { closeError } from "./close-error.ts"
import type { Dial, DialTarget, Socket } from "./dial.ts"
import { abortedError } from "./gateway-api.ts"
import { randomText } from "./runtime.ts"

export interface LinkConnectionOptions {
  readonly target: Omit<DialTarget, "signal">
  readonly dial: Dial
  readonly clock: Clock
  /** Milliseconds an idle link is kept for the next call. */
  readonly idleMs: number
}

type State =
  | { readonly phase: "idle" }
  /** No mux yet: the first dial. */
  | { readonly phase: "dialling"; readonly mux: Promise<Mux> }
  | { readonly phase: "linked"; readonly mux: Mux }

/** Events that may come between a socket's opening and its adoption, which are one turn apart; an honest gateway has one or two to say. */
const earlyEventsMax = 64

/** Waits for an agent that is away are drawn from 0 to 4 s at most (SPEC RC5). */
const awayAttemptMax = 2

export class LinkConnection {
  readonly #options: LinkConnectionOptions
  #state: State = { phase: "idle" }
  /** Aborted when the link is over, and with it every dial for it. */
  #stop = new AbortController()
  #socket: Socket | undefined
  #transport: TransportEvents | undefined
  #identity = { link: "", secret: "" }
  #attempt = 0
  /** When the socket opened; undefined once its loss has been counted. */
  #connectedAtMs: number | undefined
  #liveness: Liveness | undefined
  #cancelIdle: (() => void) | undefined
  /** Ends the wait for the agent: for its first answer, or for it to be back. */
  #cancelWait: (() => void) | undefined
  #cancelRedial: (() => void) | undefined
  #redials = 0
  #streams = 0

  constructor(options: LinkConnectionOptions) {
    this.#options = options
  }

  /** Opens a stream, on the link there is or on a new one. Rejects with TunnelError, `delivered: "no"`. */
  async open(kind: string, body: unknown, events: StreamEvents, signal?: AbortSignal): Promise<MuxStream> {
    if (signal?.aborted === true) throw abortedError(signal)
    const release = this.#use()
    try {
      const mux = await untilAborted(this.#mux(), signal)
      return mux.open(kind, body, {
        ...bind(events),
        closed: (error) => {
          release()
          events.closed(error)
        },
      })
    } catch (error) {
      release()
      throw error
    }
  }

  /** Round trip to the agent in milliseconds. */
  async ping(): Promise<number> {
    const release = this.#use()
    try {
      return await (await this.#mux()).ping()
    } finally {
      release()
    }
  }

  /** Ends the link and every stream on it. A later call dials anew. */
  close(reason = new TunnelError("aborted", "the connection was closed", { delivered: "unknown" })): void {
    // Its end resets. Who hears of it may have opened the next link by the time this returns.
    if (this.#state.phase === "linked") this.#state.mux.link.end(reason)
    else this.#reset(reason)
  }

  /** Keeps the link until the result is called, once or more. */
  #use(): () => void {
    this.#streams += 1
    this.#cancelIdle?.()
    let released = false
    return () => {
      if (released) return
      released = true
      this.#streams -= 1
      if (this.#streams > 0 || this.#state.phase === "idle") return
      this.#cancelIdle = this.#options.clock.schedule(this.#options.idleMs, () => this.close())
    }
  }

  #mux(): Promise<Mux> {
    switch (this.#state.phase) {
      case "linked":
        return Promise.resolve(this.#state.mux)
      case "dialling":
        return this.#state.mux
      case "idle": {
        const mux = this.#start()
        this.#state = { phase: "dialling", mux }
        return mux
      }
      default:
        return assertNever(this.#state)
    }
  }

  async #start(): Promise<Mux> {
    const stop = this.#stop
    const mux: Mux = new Mux({
      role: "client",
      link: {
        clock: this.#options.clock,
        detached: () => this.#detached(mux),
        ended: (error) => this.#linkEnded(mux, error),
      },
    })
    try {
      await this.#connect(stop.signal, (transport) => {
        this.#identity = { link: randomText(16), secret: randomText(32) }
        this.#attempt = 0
        this.#state = { phase: "linked", mux }
        this.#cancelWait = this.#options.clock.schedule(limits.handshakeMs, () => {
          const seconds = limits.handshakeMs / 1000
          const error = `the agent is connected to the gateway but has not answered for ${seconds} seconds; it may be stopped or overloaded`
          mux.link.end(new TunnelError("timeout", error, { delivered: "unknown", retryable: false }))
        })
        return mux.link.start(transport, this.#hello(mux))
      })
      return mux
    } catch (error) {
      if (this.#stop === stop) this.#reset(error)
      throw undelivered(error)
    }
  }

  async #resume(mux: Mux, stop: AbortSignal): Promise<void> {
    await this.#connect(stop, (transport) => mux.link.resume(transport, this.#hello(mux)))
  }

  /** Dials and greets. Rejects with TunnelError, and with the reason of `stop` as soon as that is aborted. */
  async #connect(stop: AbortSignal, greet: (transport: Transport) => TransportEvents): Promise<void> {
    const { target, dial, clock } = this.#options
    let socket: Socket | undefined
    let early: (() => void)[] | undefined = []
    const hear = (event: () => void) => {
      if (early === undefined) {
        if (socket === this.#socket) event()
      } else if (early.length < earlyEventsMax) early.push(event)
    }
    socket = await boundedDial(
      { dial, target, clock, stop },
      {
        message: (message) => hear(() => this.#receive(message)),
        drained: () => hear(() => this.#transport?.drained()),
        closed: (code, reason) => hear(() => this.#lost(code, reason)),
      },
    )
    if (stop.aborted) {
      socket.close(closeCodes.normal, "not needed")
      throw stop.reason
    }
    this.#adopt(socket)
    this.#transport = greet(this.#transportOn(socket))
    const waiting = early
    early = undefined
    // Any of them may end the link, and then the socket is no longer ours.
    for (const event of waiting) hear(event)
  }

  #adopt(socket: Socket): void {
    const { clock } = this.#options
    this.#socket = socket
    this.#connectedAtMs = clock.now()
    this.#liveness = new Liveness({
      clock,
      ping: () => socket.send(pingText),
      dead: () => {
        socket.close(closeCodes.restart, "no answer")
        this.#lost(1006, "no answer")
      },
    })
  }

  #transportOn(socket: Socket): Transport {
    const liveness = this.#liveness
    return {
      send(message) {
        socket.send(message)
        liveness?.sent()
      },
      get bufferedBytes() {
        return socket.bufferedBytes
      },
      close: (code, reason) => socket.close(code, reason),
    }
  }

  #hello(mux: Mux): LinkHello {
    this.#attempt += 1
    return {
      type: "hello",
      protocol: { min: protocolVersion, max: protocolVersion },
      ...this.#identity,
      attempt: this.#attempt,
      received: mux.link.received,
      window: mux.link.windowBytes,
    }
  }

  #receive(message: Uint8Array | string): void {
    this.#liveness?.heard()
    if (typeof message !== "string") return this.#linkMessage(message)
    if (message === pongText) return
    try {
      this.#control(parseGatewayToClient(message))
    } catch (error) {
      if (!(error instanceof InvalidBody)) throw error
      this.#socket?.close(closeCodes.protocolError, "malformed control message")
      this.#lost(closeCodes.protocolError, `the gateway's message is malformed: ${error.message}`)
    }
  }

  #linkMessage(message: Uint8Array): void {
    this.#transport?.message(message)
    if (this.#cancelWait === undefined || this.#state.phase !== "linked" || this.#state.mux.link.phase !== "open") return
    // Only now: the first welcome is here, or a later one. A socket, or a gateway that says the agent is back, has not reached the agent yet.
    this.#cancelWait()
    this.#cancelWait = undefined
  }

  #control(control: GatewayToClient): void {
    const socket = this.#socket
    if (control.type === "ready" || this.#state.phase !== "linked" || socket === undefined) return
    const { mux } = this.#state
    switch (control.state) {
      case "away":
        // What is sent now is dropped; what was sent is known only when the agent greets again.
        this.#transport?.closed(closeCodes.restart, "agent away")
        this.#transport = undefined
        return
      case "back":
        this.#transport?.closed(closeCodes.restart, "agent back")
        if (mux.link.phase === "detached") this.#transport = mux.link.resume(this.#transportOn(socket), this.#hello(mux))
        return
      case "draining":
        return
      case "stopped":
        return mux.link.end(new TunnelError("agent-stopped", "the agent was stopped", { delivered: "unknown" }))
      default:
        return assertNever(control.state)
    }
  }

  /** The socket is gone. */
  #lost(code: number, reason: string): void {
    if (this.#state.phase !== "linked") return
    const { mux } = this.#state
    this.#liveness?.stop()
    this.#socket = undefined
    // A link that the agent has not answered cannot be resumed: it ends, with the reason for which it was cut.
    if (code === closeCodes.normal || isFinalCloseCode(code) || mux.link.phase === "starting") return mux.link.end(closeError(code, reason))
    this.#transport?.closed(code, reason)
    this.#transport = undefined
    this.#redial(mux, code)
  }

  #detached(mux: Mux): void {
    this.#cancelWait ??= this.#options.clock.schedule(limits.resumeGraceMs, () => {
      const seconds = limits.resumeGraceMs / 1000
      mux.link.end(new TunnelError("link-lost", `the agent could not be reached for ${seconds} seconds`, { delivered: "unknown" }))
    })
  }

  /** `away`: the gateway is there and the agent is not. */
  #redial(mux: Mux, code: number, away = false): void {
    const stop = this.#stop.signal
    const connectedMs = this.#connectedAtMs === undefined ? 0 : this.#options.clock.now() - this.#connectedAtMs
    this.#connectedAtMs = undefined
    const random = (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32
    // One client that asks every few seconds costs the gateway little, and the agent may be back at any moment.
    const attempt = away ? Math.min(this.#redials, awayAttemptMax) : this.#redials
    const verdict = reconnect({ attempt, code, connectedMs, random })
    if (verdict.action === "stop") return mux.link.end(closeError(code, ""))
    this.#redials = verdict.attempt
    this.#cancelRedial = this.#options.clock.schedule(verdict.delayMs, () => {
      this.#resume(mux, stop).catch((error: unknown) => {
        if (stop.aborted) return
        if (error instanceof TunnelError && isFinal(error))
          mux.link.end(new TunnelError(error.code, error.message, { delivered: "unknown", cause: error }))
        else this.#redial(mux, 1006, error instanceof TunnelError && error.code === "agent-offline")
      })
    })
  }

  #linkEnded(mux: Mux, error: TunnelError): void {
    if (this.#state.phase === "linked" && this.#state.mux === mux) this.#reset(error)
  }

  #reset(reason: unknown): void {
    this.#liveness?.stop()
    for (const cancel of [this.#cancelIdle, this.#cancelWait, this.#cancelRedial]) cancel?.()
    this.#cancelIdle = this.#cancelWait = this.#cancelRedial = undefined
    this.#state = { phase: "idle" }
    const stop = this.#stop
    this.#stop = new AbortController()
    stop.abort(reason)
    this.#socket?.close(closeCodes.normal, "done")
    this.#socket = undefined
    this.#transport = undefined
    this.#connectedAtMs = undefined
    this.#redials = 0
  }
}

/** Whether a redial that was refused so would be refused again. What lies between us and the gateway may answer in its place for a while. */
const isFinal = ({ code, retryable }: TunnelError): boolean => !retryable && code !== "protocol-error"

/** An error of the first dial: nothing of any call has left us. */
function undelivered(error: unknown): unknown {
  if (!(error instanceof TunnelError) || error.delivered === "no") return error
  return new TunnelError(error.code, error.message, { retryable: error.retryable, delivered: "no", cause: error })
}

/** Methods keep their owner: events may be an object with state of its own. */
const bind = (events: StreamEvents): StreamEvents => ({
  accepted: (body) => events.accepted?.(body),
  data: (tag, bytes, cost) => events.data(tag, bytes, cost),
  message: (body) => events.message?.(body),
  finished: (trailer) => events.finished?.(trailer),
  writable: () => events.writable?.(),
  closed: (error) => events.closed(error),
})

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const abort = () => reject(abortedError(signal))
    signal.addEventListener("abort", abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort))
  })
}
