/** Signals to this program while a remote command runs: passed on, and when to leave. */
import type { SignalName } from "@trunkline/client"
import { exitCodeOfSignal } from "./exit-codes.ts"

export interface InterruptOptions {
  /** Sends it to the remote command; false when none is running yet. */
  forward(signal: SignalName): boolean
  /** Leave now, with this exit code. */
  leave(exitCode: number): void
}

/** Milliseconds a command that was told to end gets to do so, so that its own exit code can be reported. */
const partingMs = 1_000

/**
 * The first SIGINT is forwarded, the second leaves. SIGTERM and SIGHUP are forwarded and leave once the command has had a
 * moment to end. The result stops listening.
 */
export function forwardInterrupts({ forward, leave }: InterruptOptions): () => void {
  let interrupted = false
  let parting: NodeJS.Timeout | undefined
  const interrupt = () => {
    if (interrupted || !forward("SIGINT")) leave(exitCodeOfSignal("SIGINT"))
    interrupted = true
  }
  const end = (signal: "SIGTERM" | "SIGHUP") => {
    const exitCode = exitCodeOfSignal(signal)
    if (parting !== undefined || !forward(signal)) leave(exitCode)
    else parting = setTimeout(leave, partingMs, exitCode)
  }
  process.on("SIGINT", interrupt).on("SIGTERM", end).on("SIGHUP", end)
  return () => {
    clearTimeout(parting)
    process.off("SIGINT", interrupt).off("SIGTERM", end).off("SIGHUP", end)
  }
}
