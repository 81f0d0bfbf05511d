/** One dial with an end: within the handshake's time, at a stop at once, and always with a typed error. */
import { type Clock, closeCodes, limits, TunnelError } from "@trunkline/protocol"
import type { Dial, DialTarget, Socket, SocketEvents } from "./dial.ts"
import { unreachable } from "./gateway-api.ts"

export interface BoundedDialOptions {
  readonly dial: Dial
  readonly target: Omit<DialTarget, "signal">
  readonly clock: Clock
  /** Aborted: rejects with the reason. */
  readonly stop: AbortSignal
}

/** Rejects with TunnelError. A socket that opens after that is closed, whether or not the dial cares for its signal. */
export async function boundedDial({ dial, target, clock, stop }: BoundedDialOptions, events: SocketEvents): Promise<Socket> {
  stop.throwIfAborted()
  const giveUp = new AbortController()
  const { signal } = giveUp
  const stopped = () => giveUp.abort(stop.reason)
  stop.addEventListener("abort", stopped, { once: true })
  const cancelTimer = clock.schedule(limits.handshakeMs, () => {
    giveUp.abort(unreachable(target.gateway, new Error(`no answer within ${limits.handshakeMs / 1_000} seconds`)))
  })
  const gaveUp = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true })
  })
  let dialled: Promise<Socket> | undefined
  try {
    dialled = dial({ ...target, signal }, events)
    return await Promise.race([dialled, gaveUp])
  } catch (error) {
    dialled?.then(
      (late) => late.close(closeCodes.normal, "not needed"),
      () => {},
    )
    // An aborted dial calls its error what it likes.
    if (signal.aborted) throw signal.reason
    throw error instanceof TunnelError ? error : unreachable(target.gateway, error)
  } finally {
    cancelTimer()
    stop.removeEventListener("abort", stopped)
  }
}
