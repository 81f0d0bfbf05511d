/** What a caller is told when the answer to a command was lost on the way. */
import { errorCodes, TunnelError } from "@trunkline/protocol"

/**
 * The error as it is while nothing has reached the agent. After that it says nothing of what the command did, and nobody may retry it
 * blindly, unless it has an idempotency key: then asking again gives the true outcome.
 */
export function outcomeUnknown(error: TunnelError, keyed: boolean): TunnelError {
  const { code, message, delivered } = error
  if (delivered === "no") return error
  const advice = keyed
    ? "ask again with the same idempotencyKey, which runs nothing twice"
    : "the command may have run, so look before running it again"
  return new TunnelError(code, `outcome unknown: ${message}; ${advice}`, {
    retryable: keyed && (code === "link-lost" || errorCodes[code].retryable),
    delivered,
    cause: error,
  })
}
