/** One endpoint as the listing shows it: `GET /v1/endpoints`. Times are epoch milliseconds. */
import type { AgentHello, Labels } from "./wire/control.ts"

/** `stale`: a socket is open, or a heartbeat's record is there, and nothing has been heard for too long. */
export const endpointStatuses = ["online", "stale", "draining", "offline"] as const
export type EndpointStatus = (typeof endpointStatuses)[number]

export interface Endpoint {
  readonly name: string
  readonly status: EndpointStatus
  /** The way in: the agent's own socket; a URL, of which heartbeats tell; or the agent itself, which is asked without a gateway. */
  readonly mode: "socket" | "tunnel-url" | "direct"
  /** Since when it has this status. */
  readonly since: number
  /** When it was last known to be there. */
  readonly lastSeen: number
  readonly version: string
  readonly labels: Readonly<Labels>
  /** Round trip between gateway and agent; null while nothing measures it. */
  readonly rttMs: number | null
  readonly host?: AgentHello["host"]
}
