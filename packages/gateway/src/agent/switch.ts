/**
 * The data path, pure: one binary message in, one verdict out, and the slot overwritten in place. Called for every
 * message, so it neither parses nor copies nor waits. A message for somebody who is not there is dropped: the link
 * above resends it by offset when the path is back.
 */
import { closeCodes, limits, linkHeaderBytes, readSlot, type Slot, unassignedSlot, writeSlot } from "@trunkline/protocol"

interface Refusal {
  readonly code: number
  readonly reason: string
}

export type Verdict<Leg> =
  | { readonly type: "forward"; readonly to: Leg }
  | { readonly type: "drop" }
  /** The sender broke a rule. */
  | ({ readonly type: "close-sender" } & Refusal)
  /** The receiver does not keep up. */
  | ({ readonly type: "close-receiver"; readonly to: Leg } & Refusal)

const drop = { type: "drop" } as const

/** From a client: to the agent, under the client's own slot. A client that overfills the agent's socket is closed itself. */
export function routeFromClient<Leg>(
  message: Uint8Array,
  from: Slot,
  agent: Leg | undefined,
  bufferedBytesOf: (leg: Leg) => number,
): Verdict<Leg> {
  const refusal = refusalOf(message)
  if (refusal !== undefined) return { type: "close-sender", ...refusal }
  if (agent === undefined) return drop
  if (bufferedBytesOf(agent) > limits.agentBufferedBytesMax) {
    return {
      type: "close-sender",
      code: closeCodes.overloaded,
      reason: `the agent has ${limits.agentBufferedBytesMax} bytes waiting: retry later`,
    }
  }
  writeSlot(message, from)
  return { type: "forward", to: agent }
}

/** From the agent: to the client its slot names, who sees slot 0. */
export function routeFromAgent<Leg>(
  message: Uint8Array,
  find: (to: Slot) => Leg | undefined,
  bufferedBytesOf: (leg: Leg) => number,
): Verdict<Leg> {
  const refusal = refusalOf(message)
  if (refusal !== undefined) return { type: "close-sender", ...refusal }
  const client = find(readSlot(message))
  if (client === undefined) return drop
  if (bufferedBytesOf(client) > limits.clientBufferedBytesMax) {
    return {
      type: "close-receiver",
      to: client,
      code: closeCodes.overloaded,
      reason: `more than ${limits.clientBufferedBytesMax} bytes waiting: read faster`,
    }
  }
  writeSlot(message, unassignedSlot)
  return { type: "forward", to: client }
}

function refusalOf(message: Uint8Array): Refusal | undefined {
  if (message.byteLength < linkHeaderBytes) {
    return {
      code: closeCodes.protocolError,
      reason: `a binary message of ${message.byteLength} bytes has no ${linkHeaderBytes}-byte header`,
    }
  }
  if (message.byteLength > limits.messageBytesMax) {
    return { code: closeCodes.tooBig, reason: `a message of ${message.byteLength} bytes is above the limit of ${limits.messageBytesMax}` }
  }
  return undefined
}
