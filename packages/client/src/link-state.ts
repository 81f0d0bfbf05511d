/** What happens to the link to one agent, for whoever wants to show it. Streams on it see nothing of a wait but a pause. */
import type { Clock, TunnelError } from "@trunkline/protocol"

/**
 * `connected`: the agent has answered on a new link. `waiting`: the gateway or the agent is away, and the link is kept for
 * 300 s. `resumed`: the agent has answered again, nothing was lost. `ended`: the link is over, its streams with it; the
 * next call makes a new one.
 */
export type LinkState =
  | { readonly agent: string; readonly state: "connected" | "waiting" | "resumed" }
  | { readonly agent: string; readonly state: "ended"; readonly error: TunnelError }

export type LinkStateListener = (change: LinkState) => void

export class LinkStates {
  readonly #agent: string
  readonly #clock: Clock
  readonly #listeners = new Set<LinkStateListener>()
  #told: LinkState["state"] = "ended"

  constructor(agent: string, clock: Clock) {
    this.#agent = agent
    this.#clock = clock
  }

  /** The result takes the listener away. */
  listen(listener: LinkStateListener): () => void {
    // A set holds a function once: each call gets its own.
    const own: LinkStateListener = (change) => listener(change)
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  /** The agent has answered a greeting. */
  answered(): void {
    if (this.#told === "ended") this.#tell({ agent: this.#agent, state: "connected" })
    else if (this.#told === "waiting") this.#tell({ agent: this.#agent, state: "resumed" })
  }

  /** The link has no transport. */
  detached(): void {
    if (this.#told === "connected" || this.#told === "resumed") this.#tell({ agent: this.#agent, state: "waiting" })
  }

  /** One that the agent never answered is of no interest: its calls are told. */
  ended(error: TunnelError): void {
    if (this.#told !== "ended") this.#tell({ agent: this.#agent, state: "ended", error })
  }

  #tell(change: LinkState): void {
    this.#told = change.state
    // Later than this turn: a listener may close the link, or throw, and the link is in the middle of something.
    for (const listener of this.#listeners) {
      this.#clock.defer(() => {
        if (this.#listeners.has(listener)) listener(change)
      })
    }
  }
}
