/**
 * The WebSocket subprotocol list: which protocol version a peer offers, and a browser's ticket. The answer is always
 * one of the offered versions, because a browser drops a socket whose answer it did not offer. A ticket is never echoed.
 */
import { subprotocol as ours, ticketSubprotocolPrefix as ticketPrefix } from "@trunkline/protocol"

const versionPattern = /^trunkline\.v\d+$/

export interface Offer {
  /** What to echo; undefined if the peer offered no version, which means version 1. */
  readonly answer: string | undefined
  /** False if the peer offered only versions that this gateway does not speak. */
  readonly supported: boolean
  readonly ticket: string | undefined
}

/** Reads the value of `Sec-WebSocket-Protocol`. */
export function readOffer(header: string | null): Offer {
  const offered = (header ?? "").split(",").map((protocol) => protocol.trim())
  const versions = offered.filter((protocol) => versionPattern.test(protocol))
  const ticket = offered.find((protocol) => protocol.startsWith(ticketPrefix))?.slice(ticketPrefix.length)
  const supported = versions.length === 0 || versions.includes(ours)
  return { answer: versions.includes(ours) ? ours : versions[0], supported, ticket }
}
