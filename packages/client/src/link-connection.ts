/**
 * One link to one agent: dials when there is something to do, greets when the agent is there, resumes after a cut, and
 * lets go when it has been idle. Streams above see nothing of this but a pause, or a typed end.
 */
import {
  type AgentPlace,
  type AgentState,
  assertNever,
  type Clock,
  closeCodes,
  isFinalCloseCode,
  type LinkHello,
  Mux,
  type MuxStream,
  protocolVersion,
  type StreamEvents,
  type Transport,
  type TransportEvents,
  TunnelError,
} from "@trunkline/protocol"
import { AgentWait } from "./agent-wait.ts"
import { closeError, isFinalRefusal, undelivered } from "./close-error.ts"
import { type Dial, type DialTarget, takesFirst } from "./dial.ts"
import { EarlyGreeting } from "./early-greeting.ts"
import { abortedError } from "./gateway-api.ts"
import { Leg, type LegEvents } from "./leg.ts"
import { type LinkStateListener, LinkStates } from "./link-state.ts"
import { Redial } from "./redial.ts"
import { randomText } from "./runtime.ts"

export interface LinkConnectionOptions {
  readonly target: Omit<DialTarget, "signal" | "first">
  readonly dial: Dial
  readonly clock: Clock
  /** Milliseconds an idle link is kept for the next call. */
  readonly idleMs: number
}

/** Milliseconds between looks at whether the agent has received everything: nothing tells. */
const arrivalPollMs = 50

export interface OpenerEvents extends StreamEvents {
  /** The request has not left yet: what is said of the stream now goes out with it. */
  opened?(stream: MuxStream): void
}

/** A call before the greeting. */
interface Waiting {
  /** In the turn of the greeting: what is asked for then goes out with it. */
  linked(mux: Mux): void
  failed(error: TunnelError): void
}

type State =
  | { readonly phase: "idle" }
  /** The agent has not been greeted: nothing of any call has left us. */
  | { readonly phase: "dialling"; readonly mux: Mux; readonly waiting: Set<Waiting> }
  | { readonly phase: "linked"; readonly mux: Mux }

export class LinkConnection {
  readonly #options: LinkConnectionOptions
  readonly #redial: Redial
  readonly #wait: AgentWait
  readonly #states: LinkStates
  #state: State = { phase: "idle" }
  #leg: Leg | undefined
  /** The link has greeted, and there is no way to the agent yet. */
  #early: EarlyGreeting | undefined
  #transport: TransportEvents | undefined
  #identity = { link: "", secret: "" }
  #attempt = 0
  #cancelIdle: (() => void) | undefined
  #streams = 0

  constructor(options: LinkConnectionOptions) {
    const { clock, target } = options
    this.#options = options
    this.#redial = new Redial(clock)
    this.#wait = new AgentWait({ agent: target.agent, clock, giveUp: (error) => this.close(error) })
    this.#states = new LinkStates(target.agent, clock)
  }

  /** Opens a stream, on the link there is or on a new one. Rejects with TunnelError, `delivered: "no"`. */
  async open(kind: string, body: unknown, events: OpenerEvents, signal?: AbortSignal): Promise<MuxStream> {
    if (signal?.aborted === true) throw abortedError(signal)
    const release = this.#use()
    try {
      return await this.#linked((mux) => {
        const stream = mux.open(kind, body, {
          ...bind(events),
          closed: (error) => {
            release()
            events.closed(error)
          },
        })
        events.opened?.(stream)
        return stream
      }, signal)
    } catch (error) {
      release()
      throw error
    }
  }

  /** Round trip to the agent in milliseconds. */
  async ping(): Promise<number> {
    const release = this.#use()
    try {
      return await this.#linked((mux) => mux.ping())
    } finally {
      release()
    }
  }

  /** Tells of every change from now on; the result stops it. */
  onState(listener: LinkStateListener): () => void {
    return this.#states.listen(listener)
  }

  /** Ends the link and every stream on it. A later call dials anew. */
  close(reason = new TunnelError("aborted", "the connection was closed", { delivered: "unknown" })): void {
    if (this.#state.phase !== "linked") return this.#reset(reason)
    const { link } = this.#state.mux
    if (this.#early?.isUnheard === true) return link.leave(undelivered(reason), true)
    // Its end resets, and closes the leg with 1000, which says it all (SPEC CC3). Who hears of it may have opened the next link by the time this returns.
    if (reason.code === "aborted") link.leave(reason)
    else link.end(reason)
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
      this.#cancelIdle = this.#options.clock.schedule(this.#options.idleMs, () => this.#letGo())
    }
  }

  /** Ends the link nobody uses, but not while what was written last is under way, perhaps on a line that is cut: it would be lost, and nobody told. */
  #letGo(): void {
    const { clock, idleMs } = this.#options
    if (this.#state.phase !== "linked" || this.#state.mux.link.inFlightBytes === 0) return this.close()
    this.#cancelIdle = clock.schedule(Math.max(idleMs, arrivalPollMs), () => this.#letGo())
  }

  /** Resolves with what the task returns, done as soon as there is a link. Rejects with what keeps it from being there, and when the signal aborts before. */
  #linked<Result>(task: (mux: Mux) => Result | Promise<Result>, signal?: AbortSignal): Promise<Result> {
    if (this.#state.phase === "linked") return Promise.resolve(task(this.#state.mux))
    const waiting = this.#state.phase === "dialling" ? this.#state.waiting : this.#start()
    return new Promise<Result>((resolve, reject) => {
      const settled = (settle: () => void) => {
        waiting.delete(call)
        signal?.removeEventListener("abort", abort)
        settle()
      }
      const abort = () => settled(() => signal !== undefined && reject(abortedError(signal)))
      const call: Waiting = {
        linked: (mux) => settled(() => new Promise<Result>((done) => done(task(mux))).then(resolve, reject)),
        failed: (error) => settled(() => reject(error)),
      }
      waiting.add(call)
      signal?.addEventListener("abort", abort, { once: true })
    })
  }

  #start(): Set<Waiting> {
    const mux: Mux = new Mux({
      role: "client",
      link: { clock: this.#options.clock, detached: () => this.#detached(), ended: (error) => this.#linkEnded(mux, error) },
    })
    const waiting = new Set<Waiting>()
    this.#state = { phase: "dialling", mux, waiting }
    this.#identity = { link: randomText(16), secret: randomText(32) }
    this.#attempt = 0
    // What is asked for in this turn is to be greeted with.
    if (takesFirst(this.#options.dial)) this.#options.clock.defer(() => this.#greetEarly(mux))
    else this.#dial()
    return waiting
  }

  #greetEarly(mux: Mux): void {
    if (this.#state.phase !== "dialling" || this.#state.mux !== mux) return
    const early = new EarlyGreeting()
    this.#early = early
    this.#startLink(early, this.#state)
    // Behind the flush of the link, whose first message goes with the dial.
    this.#options.clock.defer(() => {
      if (this.#early === early) this.#dial(early.dial())
    })
  }

  #startLink(transport: Transport, { mux, waiting }: State & { readonly phase: "dialling" }): void {
    this.#state = { phase: "linked", mux }
    this.#transport = mux.link.start(transport, this.#hello(mux))
    // One may give up another.
    for (const call of [...waiting]) if (waiting.has(call)) call.linked(mux)
  }

  #dial(first?: Uint8Array): void {
    const events: LegEvents = {
      ready: (agent) => this.#ready(agent),
      agentState: (state) => this.#agentState(state),
      message: (message) => this.#message(message),
      drained: () => this.#transport?.drained(),
      failed: (error) => this.#failed(error),
      lost: (code, reason) => this.#lost(code, reason),
    }
    this.#leg = new Leg(this.#options, events, first)
  }

  #ready(agent: AgentPlace): void {
    if (this.#leg?.tookFirst !== true) this.#early?.returned()
    if (agent === "here") this.#greet()
    // A link to be resumed waits on this leg for as long as it would wait without one.
    else if (this.#state.phase === "dialling" || this.#early !== undefined) this.#wait.forArrival()
  }

  /** The agent is there, for the first time or by another connection. */
  #greet(): void {
    const leg = this.#leg
    if (leg === undefined) return
    if (this.#state.phase === "dialling") {
      this.#wait.forAnswer()
      this.#startLink(leg.transport(), this.#state)
    } else if (this.#early !== undefined) {
      this.#wait.forAnswer()
      this.#early.open(leg.transport())
      this.#early = undefined
      this.#transport?.drained()
    } else if (this.#state.phase === "linked") {
      const { mux } = this.#state
      this.#transport?.closed(closeCodes.restart, "agent back")
      if (mux.link.phase === "detached") this.#transport = mux.link.resume(leg.transport(), this.#hello(mux))
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

  #message(message: Uint8Array): void {
    this.#transport?.message(message)
    if (this.#state.phase !== "linked" || this.#state.mux.link.phase !== "open") return
    // Only now: the first welcome is here, or a later one. A socket, or a gateway that says the agent is back, has not reached the agent yet.
    if (this.#wait.stop()) this.#states.answered()
  }

  #agentState(state: AgentState): void {
    switch (state) {
      case "away":
        if (this.#early !== undefined) return
        // What is sent now is dropped; what was sent is known only when the agent greets again.
        this.#transport?.closed(closeCodes.restart, "agent away")
        this.#transport = undefined
        return
      case "back":
        return this.#greet()
      case "draining":
        return
      case "stopped":
        return this.close(new TunnelError("agent-stopped", "the agent was stopped", { delivered: "unknown" }))
      default:
        return assertNever(state)
    }
  }

  /** A dial came to nothing. */
  #failed(error: TunnelError): void {
    this.#leg = undefined
    if (error.delivered === "no") this.#early?.returned()
    if (this.#state.phase !== "linked" || this.#early !== undefined) return this.close(error)
    if (isFinalRefusal(error)) return this.close(new TunnelError(error.code, error.message, { delivered: "unknown", cause: error }))
    this.#redial.schedule(1006, 0, () => this.#dial())
  }

  /** The socket is gone. */
  #lost(code: number, reason: string): void {
    const connectedMs = this.#leg?.connectedMs ?? 0
    if (this.#leg?.tookFirst !== true) this.#early?.returned()
    this.#leg = undefined
    const over = code === closeCodes.normal || isFinalCloseCode(code)
    // A link that the agent has not answered cannot be resumed: it ends, with the reason for which it was cut.
    if (over || this.#state.phase !== "linked" || this.#state.mux.link.phase === "starting") return this.close(closeError(code, reason))
    this.#transport?.closed(code, reason)
    this.#transport = undefined
    this.#redial.schedule(code, connectedMs, () => this.#dial())
  }

  #detached(): void {
    this.#states.detached()
    this.#wait.forReturn()
  }

  #linkEnded(mux: Mux, error: TunnelError): void {
    if (this.#state.phase !== "linked" || this.#state.mux !== mux) return
    this.#states.ended(error)
    this.#reset(error)
  }

  #reset(reason: TunnelError): void {
    const state = this.#state
    this.#state = { phase: "idle" }
    this.#redial.reset()
    this.#wait.stop()
    this.#cancelIdle?.()
    this.#cancelIdle = undefined
    this.#leg?.close(closeCodes.normal, "done")
    this.#leg = undefined
    this.#early = undefined
    this.#transport = undefined
    if (state.phase !== "dialling") return
    const error = undelivered(reason)
    for (const call of [...state.waiting]) call.failed(error)
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
