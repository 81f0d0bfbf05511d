/** How long a link waits for its agent, and what is said when that was too long. One wait at a time. */
import { type Clock, limits, TunnelError } from "@trunkline/protocol"

export interface AgentWaitOptions {
  readonly agent: string
  readonly clock: Clock
  readonly giveUp: (error: TunnelError) => void
}

export class AgentWait {
  readonly #options: AgentWaitOptions
  #cancel: (() => void) | undefined

  constructor(options: AgentWaitOptions) {
    this.#options = options
  }

  /** For one that is away when it is needed first. */
  forArrival(): void {
    this.#wait(limits.agentWaitMs, (seconds) => {
      const message = `the agent "${this.#options.agent}" lost its connection and was not back within ${seconds} seconds: try again soon`
      return new TunnelError("agent-away", message)
    })
  }

  /** For the answer to the first greeting. */
  forAnswer(): void {
    this.#wait(limits.handshakeMs, (seconds) => {
      const message = `the agent is connected to the gateway but has not answered for ${seconds} seconds; it may be stopped or overloaded`
      return new TunnelError("timeout", message, { delivered: "unknown", retryable: false })
    })
  }

  /** For an answer after a cut. A wait that is under way goes on: the time counts from the first cut. */
  forReturn(): void {
    if (this.#cancel !== undefined) return
    this.#wait(limits.resumeGraceMs, (seconds) => {
      return new TunnelError("link-lost", `the agent could not be reached for ${seconds} seconds`, { delivered: "unknown" })
    })
  }

  /** Says whether there was a wait. */
  stop(): boolean {
    if (this.#cancel === undefined) return false
    this.#cancel()
    this.#cancel = undefined
    return true
  }

  #wait(ms: number, error: (seconds: number) => TunnelError): void {
    this.stop()
    this.#cancel = this.#options.clock.schedule(ms, () => this.#options.giveUp(error(ms / 1_000)))
  }
}
