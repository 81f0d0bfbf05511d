/** What is around a link: its user above it, and what it is told once. */
import type { TunnelError } from "../errors.ts"
import type { Clock } from "../ports.ts"
import type { Frame } from "../wire/frame.ts"

/** What is above the link: the mux. */
export interface LinkUser {
  /**
   * Frames to send now, in order, together at most `room.bytes` on the wire, bulk ones only within `room.bulkBytes`.
   * Only when `room.whole` is set may a single frame be larger. Empty when there is nothing (that fits).
   * Their bytes are copied before frames are asked for again.
   */
  take(room: Room): readonly Frame[]
  receive(frame: Frame): void
  /** Once, after which nothing is called any more. `untouched`: the agent has looked at no frame of it, because it refused the link or never heard of it. */
  linkEnded(error: TunnelError, untouched: boolean): void
}

export interface Room {
  readonly bytes: number
  readonly bulkBytes: number
  /** Payload of one bulk frame at most. */
  readonly bulkPayloadBytes: number
  /** Nothing is in flight: one frame above the room may go, so that no frame waits for ever. */
  readonly whole: boolean
}

/** Interactive streams open on one transport, shared by all links on it: while there are any, bulk is paced. */
export interface Traffic {
  interactiveStreams: number
}

export interface LinkOptions {
  readonly clock: Clock
  /** Bytes the peer may have in flight towards us. */
  readonly windowBytes?: number
  readonly traffic?: Traffic
  /** The transport is gone and the link waits for another. */
  readonly detached?: () => void
  /** The link is over, before its user hears of it; `by` says who has ended it. */
  readonly ended?: (error: TunnelError, by: "us" | "peer") => void
}
