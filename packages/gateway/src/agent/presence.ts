/** Presence is a lease: what can be said of an agent from its record, its socket and when it was last heard. */
import { type EndpointStatus, limits } from "@trunkline/protocol"
import { type EndpointRecord, offlineKeptMs } from "../endpoint.ts"

export interface PresenceFacts {
  readonly record: Pick<EndpointRecord, "state" | "since">
  /** Whether an open socket of the current generation is here. */
  readonly socketOpen: boolean
  /** Epoch milliseconds of the last sign of life on that socket. */
  readonly heardAt: number
  readonly now: number
}

/** The status to show, or undefined for an endpoint that is not listed any more: it stopped, or vanished long ago. */
export function statusOf({ record, socketOpen, heardAt, now }: PresenceFacts): EndpointStatus | undefined {
  const { state, since } = record
  if (state === "stopped") return undefined
  if (state === "offline") return now - since < offlineKeptMs ? "offline" : undefined
  if (!socketOpen) return "offline"
  return now - heardAt > limits.pingDeadMs ? "stale" : state
}
