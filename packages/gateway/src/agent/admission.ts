/** Which clients are let in: each way for an agent not to be there has an answer of its own. */
import { type EndpointName, limits, TunnelError } from "@trunkline/protocol"
import type { EndpointRecord } from "../endpoint.ts"

/**
 * The record of an agent that is here, or was lost so short a time ago that its clients may wait for it. Throws why a
 * client may not come in. `now` is in epoch milliseconds.
 */
export function admit(name: EndpointName, record: EndpointRecord | undefined, now: number): EndpointRecord {
  switch (record?.state) {
    case undefined:
      throw new TunnelError("agent-unknown", `no agent "${name}" is known`)
    case "stopped":
      throw new TunnelError(
        "agent-stopped",
        `the agent "${name}" stopped on purpose at ${timeOf(record.since)}: it is back when \`trunkline serve\` is started there`,
      )
    case "draining":
      throw new TunnelError("agent-draining", `the agent "${name}" is about to stop and takes no new clients: retry when it is back`)
    case "offline":
      if (now - record.since <= limits.agentAwayMs) return record
      throw new TunnelError(
        "agent-offline",
        `the agent "${name}" lost its connection at ${timeOf(record.since)} and has not come back: retry when it has`,
      )
    case "online":
      return record
  }
}

const timeOf = (epochMs: number): string => new Date(epochMs).toISOString()
