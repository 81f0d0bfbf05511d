/** What a caller is told when the answer to a command was lost on the way. */
import { TunnelError } from "@trunkline/protocol"

/** The error as it is while nothing has reached the agent. After that it says nothing of what the command did, and nobody may retry it blindly. */
export function outcomeUnknown(error: TunnelError): TunnelError {
  const { code, message, delivered } = error
  if (delivered === "no") return error
  return new TunnelError(code, `outcome unknown: ${message}; the command may have run, so look before running it again`, {
    retryable: false,
    delivered,
    cause: error,
  })
}
