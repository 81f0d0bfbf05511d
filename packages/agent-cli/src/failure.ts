/** What people read when something failed: one sentence, what to do, and the exit code. */
import { type ErrorCode, TunnelError } from "@trunkline/protocol"
import { exitCodeOfError, exitCodes } from "./exit-codes.ts"
import { UsageError } from "./usage-error.ts"

export interface Failure {
  readonly message: string
  readonly remedy?: string
  readonly exitCode: number
}

/** For errors whose own message does not say what to do. */
const remedies: Readonly<Partial<Record<ErrorCode, string>>> = {
  unauthorised: "`trunkline gateway` says when it starts which file holds its secret",
  "agent-unknown": "`trunkline ls` shows the names there are",
  "agent-offline": "`trunkline ls` shows since when; it is reachable again once `trunkline serve` runs there",
  "gateway-unreachable": "check --gateway or TRUNKLINE_GATEWAY; `trunkline gateway` starts one on this machine",
  "unsupported-version": "use the same version of trunkline on all sides",
}

/** A failure of its own kind, for one that `exitCodes` alone cannot tell. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure"
  readonly exitCode: number

  constructor(message: string, exitCode: number, options: { readonly cause?: unknown } = {}) {
    super(message, options)
    this.exitCode = exitCode
  }
}

export function failureOf(error: unknown): Failure {
  if (error instanceof UsageError) return { message: error.message, exitCode: exitCodes.usage }
  if (error instanceof CommandFailure) return { message: error.message, exitCode: error.exitCode }
  if (error instanceof TunnelError) {
    const remedy = remedies[error.code]
    return { message: error.message, exitCode: exitCodeOfError(error.code), ...(remedy === undefined ? {} : { remedy }) }
  }
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof Error && "syscall" in error && error.syscall === "write")
    return { message: `the output cannot be written: ${message}`, exitCode: exitCodes.failure }
  return { message: `unexpected error: ${message}`, remedy: "set TRUNKLINE_DEBUG=1 to see where", exitCode: exitCodes.link }
}

/** After the request has left, an error says nothing about what the command did. */
export function unknownOutcome(error: unknown): CommandFailure {
  const reason = error instanceof Error ? error.message : String(error)
  return new CommandFailure(`outcome unknown: ${reason}; the command may have run, so look before running it again`, exitCodes.link, {
    cause: error,
  })
}
