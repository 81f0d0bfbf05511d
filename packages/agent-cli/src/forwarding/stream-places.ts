/**
 * Places for streams on a few links to one agent: a link carries 256 streams at most, so that a client that opens many connections needs more than one. The first is filled
 * before the next is dialled.
 */
import type { Agent } from "@trunkline/client"

/** Links that are opened at most. The agent's bytes in flight are shared by all its links, so that many are no faster. */
export const linksMax = 4
/** Streams on each: a few less than it carries, because an agent may hold one that has ended here a moment longer. */
export const streamsPerLinkMax = 250

/** A handle: as much of one as streams need. */
export type StreamAgent = Pick<Agent, "connect" | "listen">

/** The right to one stream, until it is given back. */
export interface Place {
  readonly agent: StreamAgent
  /** Once the stream has ended. Once or more. */
  release(): void
}

interface Waiting {
  readonly agent: StreamAgent | undefined
  readonly take: (place: Place) => void
}

export class StreamPlaces {
  /** By link, the streams it has. */
  readonly #taken: Map<StreamAgent, number>
  readonly #waiting = new Set<Waiting>()

  /** Several handles to the same agent, each with a link of its own. */
  constructor(agents: readonly StreamAgent[]) {
    this.#taken = new Map(agents.map((agent) => [agent, 0]))
  }

  /** A place on this link, or on any. Those who have to wait get theirs in the order they came; whoever asks bounds how many they are. */
  take(agent?: StreamAgent): Promise<Place> {
    for (const [link, taken] of this.#taken) {
      if (fits(agent, link) && taken < streamsPerLinkMax) return Promise.resolve(this.#place(link))
    }
    return new Promise((take) => this.#waiting.add({ agent, take }))
  }

  #place(agent: StreamAgent): Place {
    this.#taken.set(agent, (this.#taken.get(agent) ?? 0) + 1)
    let released = false
    return {
      agent,
      release: () => {
        if (released) return
        released = true
        this.#taken.set(agent, (this.#taken.get(agent) ?? 0) - 1)
        this.#next(agent)
      },
    }
  }

  #next(agent: StreamAgent): void {
    for (const waiting of this.#waiting) {
      if (!fits(waiting.agent, agent)) continue
      this.#waiting.delete(waiting)
      return waiting.take(this.#place(agent))
    }
  }
}

const fits = (wanted: StreamAgent | undefined, link: StreamAgent): boolean => wanted === undefined || wanted === link
