/**
 * The frames of the mux (SPEC FR): one wire unit about one stream, or about the link when `stream` is 0.
 *
 *     type u8 | tag u8 | length u24 | stream u32 | payload
 *
 * A link message's body holds whole frames only.
 */
import type { StreamId } from "./ids.ts"
import { limits } from "./limits.ts"

export const frameHeaderBytes = 9

export const frameTypes = {
  open: 1,
  accept: 2,
  reject: 3,
  data: 4,
  message: 5,
  credit: 6,
  fin: 7,
  reset: 8,
  ping: 9,
  pong: 10,
  goAway: 11,
} as const
export type FrameType = keyof typeof frameTypes

/** Bytes in a PING's payload, echoed by its PONG. */
export const pingBytes = 8

export type Frame =
  /** Asks for a stream; `body` is JSON `{ kind, body }`. */
  | { readonly type: "open"; readonly stream: StreamId; readonly body: Uint8Array }
  /** Grants it; JSON of the kind. */
  | { readonly type: "accept"; readonly stream: StreamId; readonly body: Uint8Array }
  /** Refuses it; JSON `{ code, message }`. */
  | { readonly type: "reject"; readonly stream: StreamId; readonly body: Uint8Array }
  /** Bytes, counted against credit; what `tag` means is the kind's affair. A frame to be sent may have `more` behind them, in pieces. */
  | {
      readonly type: "data"
      readonly stream: StreamId
      readonly tag: number
      readonly bytes: Uint8Array
      readonly more?: readonly Uint8Array[]
    }
  /** A small JSON message of the kind, not counted against credit: a signal must pass a full window. */
  | { readonly type: "message"; readonly stream: StreamId; readonly body: Uint8Array }
  /** More credit for the receiver of this frame. */
  | { readonly type: "credit"; readonly stream: StreamId; readonly bytes: number }
  /** No more from this side; `trailer` is empty or JSON of the kind. */
  | { readonly type: "fin"; readonly stream: StreamId; readonly trailer: Uint8Array }
  /** Abandons both directions; JSON `{ code, message }`. */
  | { readonly type: "reset"; readonly stream: StreamId; readonly body: Uint8Array }
  | { readonly type: "ping"; readonly token: Uint8Array }
  | { readonly type: "pong"; readonly token: Uint8Array }
  /** No new streams from the receiver of this frame; JSON `{ code, message }`. */
  | { readonly type: "goAway"; readonly body: Uint8Array }

/** Payload bytes allowed for each type, least and most (SPEC FR3). */
export const payloadBounds: Record<FrameType, { readonly min: number; readonly max: number }> = {
  open: { min: 2, max: limits.openBytesMax },
  // Any JSON value will do: the shortest is one digit.
  accept: { min: 1, max: limits.jsonBytesMax },
  reject: { min: 2, max: limits.jsonBytesMax },
  data: { min: 1, max: limits.dataBytesMax },
  message: { min: 1, max: limits.jsonBytesMax },
  credit: { min: 4, max: 4 },
  fin: { min: 0, max: limits.jsonBytesMax },
  reset: { min: 2, max: limits.jsonBytesMax },
  ping: { min: pingBytes, max: pingBytes },
  pong: { min: pingBytes, max: pingBytes },
  goAway: { min: 2, max: limits.jsonBytesMax },
}

/** A peer broke the protocol; `rule` is the SPEC's id. The link with that peer is ended, nothing else is. */
export class ProtocolViolation extends Error {
  override readonly name = "ProtocolViolation"
  readonly rule: string

  constructor(rule: string, message: string) {
    super(`${message} (${rule})`)
    this.rule = rule
  }
}

export function assertNever(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`)
}
