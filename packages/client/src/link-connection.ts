/**
 * One link to one agent: dials when there is something to do, keeps it alive, dials again and resumes after a cut,
 * and lets go when it has been idle. Streams above see nothing of this but a pause, or a typed end.
 */
import {
  assertNever,
  byteOffset,
  type Clock,
  closeCodes,
  type GatewayToClient,
  InvalidBody,
  isFinalCloseCode,
  type LinkHello,
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
import type { Dial, DialTarget, Socket } from "./dial.ts"
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

export class LinkConnection {
  readonly #options: LinkConnectionOptions
  #state: State = { phase: "idle" }
  #stop = new AbortController()
  #socket: Socket | undefined
  #transport: TransportEvents | undefined
  #identity = { link: "", secret: "" }
  #attempt = 0
  #connectedAtMs = 0
  #heardAtMs = 0
  #cancelPing: (() => void) | undefined
  #cancelIdle: (() => void) | undefined
  #cancelGrace: (() => void) | undefined
  #cancelRedial: (() => void) | undefined
  #redials = 0
  #streams = 0

  constructor(options: LinkConnectionOptions) {
    this.#options = options
  }

  /** Opens a stream, on the link there is or on a new one. Rejects with TunnelError, `delivered: "no"`. */
  async open(kind: string, body: unknown, events: StreamEvents, signal?: AbortSignal): Promise<MuxStream> {
    this.#streams += 1
    this.#cancelIdle?.()
    let released = false
    const release = () => {
      if (released) return
      released = true
      this.#release()
    }
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
    this.#streams += 1
    try {
      return await (await this.#mux()).ping()
    } finally {
      this.#release()
    }
  }

  /** Ends the link and every stream on it. A later call dials anew. */
  close(reason = new TunnelError("aborted", "the connection was closed", { delivered: "unknown" })): void {
    const state = this.#state
    this.#stop.abort(reason)
    this.#stop = new AbortController()
    if (state.phase === "linked") state.mux.link.end(reason)
    this.#reset()
  }

  #release(): void {
    this.#streams -= 1
    if (this.#streams > 0) return
    this.#cancelIdle = this.#options.clock.schedule(this.#options.idleMs, () => this.close())
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
    try {
      const arrived: (Uint8Array | string)[] = []
      const socket = await this.#dialSocket(stop.signal, arrived)
      this.#identity = { link: randomText(16), secret: randomText(32) }
      this.#attempt = 0
      const mux: Mux = new Mux({
        role: "client",
        link: {
          clock: this.#options.clock,
          detached: () => this.#detached(mux),
          ended: () => this.#linkEnded(mux),
        },
      })
      this.#state = { phase: "linked", mux }
      this.#adopt(socket)
      this.#transport = mux.link.start(this.#transportOn(socket), this.#hello(mux))
      for (const message of arrived) this.#receive(socket, message)
      return mux
    } catch (error) {
      if (this.#stop === stop) this.#reset()
      throw error
    }
  }

  /** Messages that come before the caller has the socket wait in `arrived`. */
  async #dialSocket(signal: AbortSignal, arrived: (Uint8Array | string)[]): Promise<Socket> {
    let opened: Socket | undefined
    let lost: { code: number; reason: string } | undefined
    const socket = await this.#options.dial(
      { ...this.#options.target, signal: AbortSignal.any([signal, AbortSignal.timeout(limits.handshakeMs)]) },
      {
        message: (message) => {
          if (opened !== undefined && opened === this.#socket) this.#receive(opened, message)
          else if (arrived.length < 64) arrived.push(message)
        },
        drained: () => this.#transport?.drained(),
        closed: (code, reason) => {
          if (opened !== undefined && opened === this.#socket) this.#lost(code, reason)
          else lost = { code, reason }
        },
      },
    )
    if (signal.aborted) {
      socket.close(closeCodes.normal, "aborted")
      throw signal.reason
    }
    if (lost !== undefined) throw closeError(lost.code, lost.reason)
    opened = socket
    return socket
  }

  #adopt(socket: Socket): void {
    const now = this.#options.clock.now()
    this.#socket = socket
    this.#connectedAtMs = now
    this.#heardAtMs = now
    this.#schedulePing(socket)
  }

  #transportOn(socket: Socket): Transport {
    return {
      send: (message) => socket.send(message),
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
      received: byteOffset(mux.link.received),
      window: mux.link.windowBytes,
    }
  }

  #receive(socket: Socket, message: Uint8Array | string): void {
    this.#heardAtMs = this.#options.clock.now()
    if (typeof message !== "string") return this.#linkMessage(message)
    if (message === pongText) return
    try {
      this.#control(socket, parseGatewayToClient(message))
    } catch (error) {
      if (!(error instanceof InvalidBody)) throw error
      socket.close(closeCodes.protocolError, "malformed control message")
      this.#lost(closeCodes.protocolError, error.message)
    }
  }

  #linkMessage(message: Uint8Array): void {
    this.#transport?.message(message)
    if (this.#cancelGrace === undefined || this.#state.phase !== "linked" || this.#state.mux.link.phase !== "open") return
    // Only now: a socket, or a gateway that says the agent is back, has not reached the agent yet.
    this.#cancelGrace()
    this.#cancelGrace = undefined
  }

  #control(socket: Socket, control: GatewayToClient): void {
    if (control.type === "ready" || this.#state.phase !== "linked") return
    const { mux } = this.#state
    switch (control.state) {
      case "away":
        // What is sent now is dropped; what was sent is known only when the agent greets again.
        this.#transport?.closed(closeCodes.restart, "agent away")
        this.#transport = undefined
        return
      case "back":
        this.#transport?.closed(closeCodes.restart, "agent back")
        if (this.#state.phase !== "linked" || mux.link.phase !== "detached") return
        this.#transport = mux.link.resume(this.#transportOn(socket), this.#hello(mux))
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
    this.#cancelPing?.()
    this.#socket = undefined
    if (code === closeCodes.normal || isFinalCloseCode(code)) mux.link.end(closeError(code, reason))
    else {
      this.#transport?.closed(code, reason)
      if (this.#state.phase === "linked") this.#redial(mux, code)
    }
  }

  #detached(mux: Mux): void {
    this.#cancelGrace ??= this.#options.clock.schedule(limits.resumeGraceMs, () => {
      const seconds = limits.resumeGraceMs / 1000
      mux.link.end(new TunnelError("link-lost", `the agent could not be reached for ${seconds} seconds`, { delivered: "unknown" }))
    })
  }

  #redial(mux: Mux, code: number): void {
    const connectedMs = this.#connectedAtMs === 0 ? 0 : this.#options.clock.now() - this.#connectedAtMs
    this.#connectedAtMs = 0
    const random = (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32
    const verdict = reconnect({ attempt: this.#redials, code, connectedMs, random })
    if (verdict.action === "stop") return mux.link.end(closeError(code, ""))
    this.#redials = verdict.attempt
    this.#cancelRedial = this.#options.clock.schedule(verdict.delayMs, () => {
      this.#resume(mux).catch((error: unknown) => {
        if (mux.link.phase === "ended") return
        if (error instanceof TunnelError && !error.retryable)
          mux.link.end(new TunnelError(error.code, error.message, { delivered: "unknown", cause: error }))
        else this.#redial(mux, 1006)
      })
    })
  }

  async #resume(mux: Mux): Promise<void> {
    const arrived: (Uint8Array | string)[] = []
    const socket = await this.#dialSocket(this.#stop.signal, arrived)
    if (mux.link.phase !== "detached") return socket.close(closeCodes.normal, "not needed")
    this.#adopt(socket)
    this.#transport = mux.link.resume(this.#transportOn(socket), this.#hello(mux))
    for (const message of arrived) this.#receive(socket, message)
  }

  #schedulePing(socket: Socket): void {
    this.#cancelPing?.()
    this.#cancelPing = this.#options.clock.schedule(limits.pingIntervalMs, () => {
      if (this.#socket !== socket) return
      if (this.#options.clock.now() - this.#heardAtMs > limits.pingDeadMs) {
        socket.close(closeCodes.restart, "no pong")
        return this.#lost(1006, "no pong")
      }
      socket.send(pingText)
      this.#schedulePing(socket)
    })
  }

  #linkEnded(mux: Mux): void {
    if (this.#state.phase === "linked" && this.#state.mux === mux) this.#reset()
  }

  #reset(): void {
    for (const cancel of [this.#cancelPing, this.#cancelIdle, this.#cancelGrace, this.#cancelRedial]) cancel?.()
    this.#cancelPing = this.#cancelIdle = this.#cancelGrace = this.#cancelRedial = undefined
    this.#socket?.close(closeCodes.normal, "done")
    this.#socket = undefined
    this.#transport = undefined
    this.#redials = 0
    this.#state = { phase: "idle" }
  }
}

/** The reason a gateway closed a client's socket, as an error. */
function closeError(code: number, reason: string): TunnelError {
  switch (code) {
    case closeCodes.normal:
      return new TunnelError("agent-stopped", reason === "" ? "the agent was stopped" : reason, { delivered: "unknown" })
    case closeCodes.unauthorised:
    case closeCodes.revoked:
      return new TunnelError("unauthorised", `the gateway refused the credentials${reason === "" ? "" : `: ${reason}`}`, {
        delivered: "unknown",
      })
    case closeCodes.version:
      return new TunnelError("unsupported-version", `the gateway speaks another protocol version${reason === "" ? "" : `: ${reason}`}`)
    case closeCodes.overloaded:
      return new TunnelError("overloaded", reason === "" ? "the gateway is overloaded" : reason, { delivered: "unknown" })
    default:
      return new TunnelError("link-lost", `the connection was closed with code ${code}${reason === "" ? "" : ` (${reason})`}`, {
        delivered: "unknown",
        retryable: true,
      })
  }
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
    const abort = () => reject(new TunnelError("aborted", "the call was aborted", { cause: signal.reason, delivered: "no" }))
    if (signal.aborted) return abort()
    signal.addEventListener("abort", abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort))
  })
}
