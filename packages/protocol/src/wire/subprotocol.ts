/**
 * The WebSocket subprotocols of a leg: the protocol version, and beside it a browser's ticket. The answer is always one of the offered
 * versions, because a browser drops a socket whose answer it did not offer. A ticket is never echoed.
 */
import { protocolVersion } from "./limits.ts"

/** Offered by agents and clients, echoed by the gateway. */
export const subprotocol = `trunkline.v${protocolVersion}`

/** A ticket stands behind this in a client's list. */
export const ticketSubprotocolPrefix = "trunkline.ticket."

const versionPattern = /^trunkline\.v\d+$/

export interface Offer {
  /** What to echo; undefined if the peer offered no version, which means version 1. */
  readonly answer: string | undefined
  /** False if the peer offered only versions that are not spoken here. */
  readonly supported: boolean
  readonly ticket: string | undefined
}

/** Reads the value of `Sec-WebSocket-Protocol`. */
export function readOffer(header: string | null): Offer {
  const offered = (header ?? "").split(",").map((protocol) => protocol.trim())
  const versions = offered.filter((protocol) => versionPattern.test(protocol))
  const ticket = offered.find((protocol) => protocol.startsWith(ticketSubprotocolPrefix))?.slice(ticketSubprotocolPrefix.length)
  const supported = versions.length === 0 || versions.includes(subprotocol)
  return { answer: versions.includes(subprotocol) ? subprotocol : versions[0], supported, ticket }
}
