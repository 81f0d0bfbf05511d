/** What the gateway knows of one endpoint, as its own parts keep it. Times are epoch milliseconds. */
import type { AgentHello, EndpointStatus, Labels } from "@trunkline/protocol"

/** What an AgentSocket has on disk. `stopped`: the agent said bye, and the endpoint is not listed. */
export type RecordState = "online" | "draining" | "offline" | "stopped"

export interface EndpointRecord {
  readonly name: string
  /** Number of the agent connection: one higher for each. */
  readonly generation: number
  /** One higher for each change of this record; an older revision never overwrites a newer one. */
  readonly revision: number
  readonly state: RecordState
  /** When the state began. */
  readonly since: number
  /** When the agent was last known to be there. */
  readonly lastSeen: number
  readonly instance: string
  readonly version: string
  readonly labels: Labels
  readonly host: AgentHello["host"]
}

/** How long an endpoint that vanished stays listed as offline. A day shows what went away over a night. */
export const offlineKeptMs = 86_400_000

/** The exact answer of the agent's own object. */
export interface Presence extends EndpointRecord {
  readonly status: EndpointStatus
  readonly clients: number
  /** Round trip between gateway and agent; null while nothing measures it. */
  readonly rttMs: number | null
}
