/** All that one `trunkline forward` carries, from its first listener to the last connection. */
import type { Socket } from "node:net"
import type { Agent, Gateway } from "@trunkline/client"
import type { ListenAddress, TunnelError } from "@trunkline/protocol"
import { exitCodeOfSignal, exitCodes } from "../exit-codes.ts"
import { noticeWaits } from "../link-notice.ts"
import { showProgress } from "../output.ts"
import { Complaints } from "./complaints.ts"
import { Connections } from "./connections.ts"
import { everyAddress, type Forward } from "./forward-spec.ts"
import { isPrivate, listenText, type ReadyForward } from "./forward-text.ts"
import { type LocalListener, listenHere } from "./local-listener.ts"
import { startReverseForward } from "./reverse-forward.ts"
import { StreamPlaces } from "./stream-places.ts"

export interface WantedForwards {
  readonly local: readonly Forward[]
  readonly reverse: readonly Forward[]
  /** Where to listen for SOCKS. */
  readonly socks: readonly ListenAddress[]
}

/** Milliseconds that open connections get to end by themselves. */
const graceMs = 5_000

interface AgentLink {
  readonly gateway: Gateway
  readonly agent: Agent
}

export class Forwarding {
  /** Rejects with what makes it pointless to go on. */
  readonly failure: Promise<never>
  readonly #name: string
  readonly #links: readonly AgentLink[]
  readonly #say: (line: string) => void
  readonly #complaints: Complaints
  readonly #places: StreamPlaces
  readonly #connections: Connections
  readonly #listeners: LocalListener[] = []
  readonly #closing = new AbortController()
  readonly #fail: (error: unknown) => void
  readonly #stops: (() => void)[] = []

  /** Several links to the one agent, dialled when they are needed. `say` writes a line for people. */
  constructor(name: string, links: readonly AgentLink[], say: (line: string) => void) {
    const { promise, reject } = Promise.withResolvers<never>()
    promise.catch(() => {})
    this.failure = promise
    this.#fail = reject
    this.#name = name
    this.#links = links
    this.#say = say
    this.#complaints = new Complaints(say)
    this.#places = new StreamPlaces(links.map(({ agent }) => agent))
    this.#connections = new Connections({ places: this.#places, complaints: this.#complaints, refused: reject })
  }

  /** Resolves when all of it can be used. Rejects with what cannot be had. */
  async start({ local, reverse, socks }: WantedForwards): Promise<readonly ReadyForward[]> {
    const agent = this.#name
    const ready: ReadyForward[] = []
    for (const { listen, target } of local) {
      const { address } = await this.#listen(listen, (socket) => this.#connections.forward(socket, target))
      ready.push({ type: "local", agent, listen: address, target })
    }
    for (const listen of socks) {
      const { address } = await this.#listen(listen, (socket) => this.#connections.socks(socket, listenText(address)))
      ready.push({ type: "socks", agent, listen: address })
    }
    this.#watchLinks()
    await this.#reachAgent()
    for (const forward of reverse) ready.push({ type: "reverse", agent, listen: await this.#listenThere(forward), target: forward.target })
    for (const forward of ready) this.#warnOfStrangers(forward)
    return ready
  }

  /** Nobody can connect from now on; connections go on. */
  stopListening(): void {
    this.#closing.abort()
    for (const listener of this.#listeners.splice(0)) listener.close()
  }

  /** Gives open connections a moment. Resolves to the exit code. */
  async drain(interrupted: Promise<NodeJS.Signals>): Promise<number> {
    const { count } = this.#connections
    if (count > 0)
      this.#say(
        `closing; ${count} open ${count === 1 ? "connection ends" : "connections end"} in ${graceMs / 1_000} s at the latest (Ctrl-C ends now)`,
      )
    const late = Promise.withResolvers<number>()
    const timer = setTimeout(() => late.resolve(exitCodes.ok), graceMs)
    const drained = this.#connections.drained().then(() => (count > 0 ? this.#arrival() : exitCodes.ok))
    return await Promise.race([drained, late.promise, interrupted.then(exitCodeOfSignal)]).finally(() => clearTimeout(timer))
  }

  /** What was said last on a connection that has ended is not lost with the link. */
  async #arrival(): Promise<number> {
    await Promise.allSettled(this.#links.map(({ agent }) => agent.ping()))
    return exitCodes.ok
  }

  /** Ends whatever there is. */
  end(): void {
    this.stopListening()
    for (const stop of this.#stops.splice(0)) stop()
    this.#connections.end()
    for (const { gateway } of this.#links) gateway.close()
  }

  async #listen(address: ListenAddress, connected: (socket: Socket) => void): Promise<LocalListener> {
    const listener = await listenHere(address, {
      connected,
      failed: (error) => this.#complaints.say(error.message, `trunkline: a connection could not be taken: ${error.message}`),
    })
    this.#listeners.push(listener)
    // Ended while it was being bound.
    if (this.#closing.signal.aborted) this.stopListening()
    return listener
  }

  async #reachAgent(): Promise<void> {
    const progress = showProgress(`connecting to ${this.#name}…`)
    try {
      await this.#links[0]?.agent.ping()
    } finally {
      progress()
    }
  }

  async #listenThere({ listen, target }: Forward): Promise<ListenAddress> {
    const place = () => `${this.#name} ${listenText(address)}`
    const { address } = await startReverseForward({
      // Every machine has IPv4, and not every one the address that stands for both.
      address: "port" in listen && listen.host === everyAddress ? { ...listen, host: "0.0.0.0" } : listen,
      places: this.#places,
      signal: this.#closing.signal,
      connected: (incoming, listener) => this.#connections.reverse(incoming, target, listener),
      lost: (error) => this.#say(`trunkline: ${place()} does not listen any more (${error.message}); trying again`),
      back: () => this.#say(`trunkline: ${place()} listens again`),
      failed: this.#fail,
    })
    return address
  }

  #watchLinks(): void {
    for (const [at, { agent }] of this.#links.entries()) {
      // What one waits for, all wait for.
      if (at === 0) {
        const notice = noticeWaits(agent, { leaveKeys: "Ctrl-C", write: this.#say })
        this.#stops.push(() => notice.stop())
      }
      this.#stops.push(agent.onLinkState((change) => change.state === "ended" && this.#linkEnded(change.error)))
    }
  }

  #linkEnded(error: TunnelError): void {
    // A link that was not used for a while.
    if (error.code === "aborted") return
    if (error.code === "unauthorised") return this.#fail(error)
    if (this.#listeners.length === 0) return
    this.#complaints.say(
      "link",
      `trunkline: connection to ${this.#name} ended: ${error.message}; a new one is made as soon as somebody connects`,
    )
  }

  #warnOfStrangers({ type, listen }: ReadyForward): void {
    if (isPrivate(listen)) return
    const where = type === "reverse" ? `${this.#name} ${listenText(listen)}` : listenText(listen)
    this.#say(`trunkline: ${where} can be used by everybody on its network`)
  }
}
