/** The exit code of every ending: a remote code unchanged, 128 + n for a signal, and the table for the rest. */
import { constants } from "node:os"
import type { ErrorCode, Exit } from "@trunkline/protocol"

export const exitCodes = {
  ok: 0,
  /** A local part could not do its work: the gateway could not start. */
  failure: 1,
  usage: 2,
  timeout: 124,
  notExecutable: 126,
  notFound: 127,
  /** The link, the gateway, or an outcome that nobody knows. */
  link: 255,
} as const

const byErrorCode: Readonly<Record<ErrorCode, number>> = {
  "bad-request": exitCodes.usage,
  "bad-name": exitCodes.usage,
  unauthorised: exitCodes.link,
  denied: exitCodes.link,
  "not-found": exitCodes.link,
  "agent-unknown": exitCodes.link,
  "method-not-allowed": exitCodes.link,
  "upgrade-required": exitCodes.link,
  // More arguments than fit: what a shell answers to "argument list too long".
  "too-large": exitCodes.notExecutable,
  "agent-away": exitCodes.link,
  "agent-offline": exitCodes.link,
  "agent-draining": exitCodes.link,
  "agent-stopped": exitCodes.link,
  "agent-replaced": exitCodes.link,
  "agent-restarted": exitCodes.link,
  "link-lost": exitCodes.link,
  "gateway-unreachable": exitCodes.link,
  overloaded: exitCodes.link,
  "too-many-clients": exitCodes.link,
  "too-many-streams": exitCodes.link,
  "protocol-error": exitCodes.link,
  "unsupported-version": exitCodes.link,
  "unsupported-kind": exitCodes.link,
  "command-not-found": exitCodes.notFound,
  "not-executable": exitCodes.notExecutable,
  "cwd-not-found": exitCodes.notExecutable,
  "spawn-failed": exitCodes.notExecutable,
  "command-failed": exitCodes.failure,
  "service-refused": exitCodes.link,
  "service-unreachable": exitCodes.link,
  "service-timeout": exitCodes.link,
  "service-failed": exitCodes.link,
  "address-in-use": exitCodes.failure,
  // Of a call, not of a command: a command's time limit is an exit.
  timeout: exitCodes.link,
  aborted: exitCodes.link,
  internal: exitCodes.link,
}

export const exitCodeOfError = (code: ErrorCode): number => byErrorCode[code]

const signalNumbers = new Map<string, number>(Object.entries(constants.signals))

/** 128 + n; 255 for a signal this machine has no number for. */
export function exitCodeOfSignal(signal: string): number {
  const number = signalNumbers.get(signal)
  return number === undefined ? exitCodes.link : 128 + number
}

export function exitCodeOf(exit: Exit): number {
  switch (exit.type) {
    case "code":
      return exit.code
    case "signal":
      return exitCodeOfSignal(exit.signal)
    case "timeout":
      return exitCodes.timeout
    case "unknown":
      return exitCodes.link
  }
}
