/** WebSocket close codes (SPEC CC). Final ones are never redialled. */

export const closeCodes = {
  /** Done: "agent stopped", "bye". */
  normal: 1000,
  /** A message that breaks the protocol. */
  protocolError: 1002,
  /** A message above the size limit. */
  tooBig: 1009,
  /** The agent comes and goes: redial, but not at once. */
  flapping: 1011,
  /** The gateway restarts or is drained: redial. */
  restart: 1012,
  /** Final: the credentials are not valid. */
  unauthorised: 4001,
  /** Final: the credentials were revoked. */
  revoked: 4003,
  /** Final: a newer agent took the name. */
  replaced: 4009,
  /** Final: the name is held by another agent and takeover is off. */
  nameInUse: 4010,
  /** Final: no common protocol version. */
  version: 4026,
  /** Retry later: a receiver does not keep up or a limit is reached. */
  overloaded: 4029,
} as const

const finalCodes: ReadonlySet<number> = new Set([
  closeCodes.unauthorised,
  closeCodes.revoked,
  closeCodes.replaced,
  closeCodes.nameInUse,
  closeCodes.version,
])

/** Whether an agent that was closed with this code must not dial again. */
export const isFinalCloseCode = (code: number): boolean => finalCodes.has(code)
