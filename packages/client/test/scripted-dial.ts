/** A gateway in memory: every dial waits for the test's word, and its socket leads to a scripted peer or to an honest agent. */
import {
  type AgentPlace,
  type AgentState,
  byteOffset,
  encodeControl,
  limits,
  pingText,
  pongText,
  type TransportEvents,
  TunnelError,
} from "@trunkline/protocol"
import { type AgentEnd, type ScriptedPeer, VirtualClock } from "@trunkline/protocol/testing"
import type { Dial, DialTarget, Socket, SocketEvents } from "../src/dial.ts"
import { LinkConnection } from "../src/link-connection.ts"

/** Lets promises go on, and what they defer. */
async function turn(clock?: VirtualClock): Promise<void> {
  for (let round = 0; round < 3; round++) {
    clock?.settle()
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
}

/** What a gateway says first. */
export const readyText = (agent: AgentPlace = "here"): string =>
  encodeControl({ type: "ready", protocol: 1, agent, generation: 1, instance: "i", version: "v" })

/** One dial and, once opened, its socket. */
export class ScriptedCall {
  readonly target: DialTarget
  readonly events: SocketEvents
  readonly result = Promise.withResolvers<Socket>()
  /** Text the client has sent. */
  readonly texts: string[] = []
  /** Pings are not answered. */
  mute = false
  /** The agent was handed what the dial took along. */
  tookFirst = false
  /** How the client has closed the socket. */
  closed: { readonly code: number; readonly reason: string } | undefined
  #far: TransportEvents | undefined

  constructor(target: DialTarget, events: SocketEvents) {
    this.target = target
    this.events = events
  }

  /** The far end is the peer; nothing is said of it. */
  accept(peer: ScriptedPeer): void {
    peer.attach(this.events)
    this.#opened((message) => peer.transport.send(message))
  }

  /** The far end is the peer, which has been handed what the dial took along, and the gateway says that it is here. */
  take(peer: ScriptedPeer): void {
    const { first } = this.target
    if (first === undefined) throw new Error("the dial took nothing along")
    this.tookFirst = true
    peer.transport.send(first)
    this.open(peer)
  }

  /** The far end is the peer, and the gateway says where it is. */
  open(peer: ScriptedPeer, agent: AgentPlace = "here"): void {
    this.accept(peer)
    this.ready(agent)
  }

  ready(agent: AgentPlace): void {
    this.events.message(readyText(agent))
  }

  /** The far end is the agent, one deferred task away in each direction. */
  openTo(agent: AgentEnd, clock: VirtualClock, place: AgentPlace = "here"): void {
    this.reopenTo(agent, clock)
    this.#opened((message) => {
      const copy = message.slice()
      clock.defer(() => this.#far?.message(copy))
    })
    this.ready(place)
  }

  /** The agent's leg is another: what is sent from now on comes over it. */
  reopenTo(agent: AgentEnd, clock: VirtualClock): void {
    this.#far = agent.attach({
      bufferedBytes: 0,
      send: (message) => {
        const copy = message.slice()
        clock.defer(() => this.closed ?? this.events.message(copy))
      },
      close: (code, reason) => clock.defer(() => this.closed ?? this.events.closed(code, reason)),
    })
  }

  fail(error: unknown): void {
    this.result.reject(error)
  }

  say(state: AgentState): void {
    this.events.message(JSON.stringify({ type: "agent-state", state, generation: 1 }))
  }

  #opened(send: (message: Uint8Array) => void): void {
    this.result.resolve({
      tookFirst: this.tookFirst,
      bufferedBytes: 0,
      send: (message) => {
        if (typeof message !== "string") return send(message)
        this.texts.push(message)
        if (message === pingText && !this.mute) this.events.message(pongText)
      },
      close: (code, reason) => {
        this.closed ??= { code, reason }
      },
    })
  }
}

export const idleMs = 1_000

/** A connection under test and every dial it makes. */
export class ScriptedDial {
  readonly clock = new VirtualClock()
  readonly calls: ScriptedCall[] = []
  readonly connection: LinkConnection

  /** `takesFirst`: its dial takes the greeting along. */
  constructor({ takesFirst = false }: { readonly takesFirst?: boolean } = {}) {
    const plain: Dial = (target, events) => {
      const call = new ScriptedCall(target, events)
      this.calls.push(call)
      return call.result.promise
    }
    const dial = takesFirst ? Object.assign(plain, { takesFirst: true as const }) : plain
    const target = { gateway: new URL("http://gateway.test/"), agent: "box", token: "token" }
    this.connection = new LinkConnection({ target, dial, clock: this.clock, idleMs })
  }

  get last(): ScriptedCall {
    const call = this.calls.at(-1)
    if (call === undefined) throw new Error("nothing was dialled")
    return call
  }

  /** Opens a stream whose events nobody but `ended` hears. */
  open(signal?: AbortSignal): Opened {
    const ended: (TunnelError | undefined)[] = []
    const opened = this.connection.open("exec", { argv: ["true"] }, { data() {}, closed: (error) => ended.push(error) }, signal)
    const outcome = opened.then(
      () => "open" as const,
      (error: unknown) => (error instanceof TunnelError ? error : new Error(`not a TunnelError: ${error}`)),
    )
    return { stream: opened, outcome, ended }
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 1_000) {
      this.clock.advance(Math.min(left, 1_000))
      await turn(this.clock)
    }
  }

  turn(): Promise<void> {
    return turn(this.clock)
  }

  /** Whether nothing would keep a script from ending. */
  get quiet(): boolean {
    return this.clock.run(this.clock.now())
  }
}

export interface Opened {
  readonly stream: ReturnType<LinkConnection["open"]>
  /** `open`, or the error. */
  readonly outcome: Promise<"open" | Error>
  /** How the stream was told of its end, each time. */
  readonly ended: readonly (TunnelError | undefined)[]
}

/** Welcomes a first or a later greeting as an honest agent would. */
export function welcome(peer: ScriptedPeer, resumed: boolean): void {
  peer.sayControl({ type: "welcome", protocol: 1, received: byteOffset(peer.heardBytes), window: limits.linkWindowBytesMax, resumed })
}
