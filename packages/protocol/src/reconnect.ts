/**
 * When to dial again (SPEC RC): pure. Full jitter spreads a fleet after a gateway restart; the attempt counter is only
 * forgiven after a connection that lasted, else one that is accepted and cut at once would be dialled without pause.
 * A line that is cut every few seconds still costs less time than it gives.
 */
import { closeCodes, isFinalCloseCode } from "./wire/close-codes.ts"

/** Milliseconds a connection must last to be redialled at once. */
export const stableMs = 10_000
/** Milliseconds: the first and the longest range that a wait is drawn from. A connection that lasted the first forgives earlier attempts. */
export const firstDelayMs = 1_000
const longestDelayMs = 30_000
/** Milliseconds at least after 4029 "overloaded", so that the one who asked for less gets it. */
const overloadedDelayMs = 5_000

export interface LostConnection {
  /** Waits since the last connection that forgave them. */
  readonly attempt: number
  /** WebSocket close code; 1006 for a dial that failed. */
  readonly code: number
  /** Milliseconds the connection was up; 0 for a dial that failed. */
  readonly connectedMs: number
  /** In [0, 1). */
  readonly random: number
}

export type ReconnectVerdict = { readonly action: "stop" } | { readonly action: "wait"; readonly delayMs: number; readonly attempt: number }

export function reconnect(lost: LostConnection): ReconnectVerdict {
  if (isFinalCloseCode(lost.code)) return { action: "stop" }
  // However long this connection lasted, what is behind it did not.
  const connectedMs = lost.code === closeCodes.flapping ? 0 : lost.connectedMs
  if (lost.code === closeCodes.overloaded)
    return { action: "wait", delayMs: overloadedDelayMs + lost.random * longestDelayMs, attempt: lost.attempt + 1 }
  // A restart cuts everybody at once: a fleet that came back in the same instant would be cut down by the next.
  if (connectedMs >= stableMs && lost.code === closeCodes.restart)
    return { action: "wait", delayMs: lost.random * firstDelayMs, attempt: 0 }
  if (connectedMs >= stableMs) return { action: "wait", delayMs: 0, attempt: 0 }
  const attempt = connectedMs >= firstDelayMs ? 0 : lost.attempt
  const range = Math.min(firstDelayMs * 2 ** attempt, longestDelayMs)
  return { action: "wait", delayMs: lost.random * range, attempt: attempt + 1 }
}
