/** A caller that aborts: what it had begun is reset. */
import type { MuxStream } from "@trunkline/protocol"
import { abortedError } from "./gateway-api.ts"

/** `closed` settles when the stream is over, and the signal is let go. */
export function resetAtAbort(stream: MuxStream, closed: Promise<unknown>, signal: AbortSignal): void {
  const abort = (): void => stream.reset(abortedError(signal, stream.phase === "opening" ? "unknown" : "yes"))
  if (signal.aborted) return abort()
  signal.addEventListener("abort", abort, { once: true })
  const forget = (): void => signal.removeEventListener("abort", abort)
  closed.then(forget, forget)
}
