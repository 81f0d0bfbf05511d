/** What a close or a refusal of the gateway means to a client. */
import { closeCodes, TunnelError } from "@trunkline/protocol"

/** The reason a gateway closed a client's socket, as an error. */
export function closeError(code: number, reason: string): TunnelError {
  switch (code) {
    case closeCodes.normal:
      return new TunnelError("agent-stopped", reason === "" ? "the agent was stopped" : reason, { delivered: "unknown" })
    case closeCodes.unauthorised:
    case closeCodes.revoked:
      return new TunnelError("unauthorised", `the gateway refused the credentials${reason === "" ? "" : `: ${reason}`}`, {
        delivered: "unknown",
      })
    case closeCodes.version:
      return new TunnelError("unsupported-version", `the gateway speaks another protocol version${reason === "" ? "" : `: ${reason}`}`)
    case closeCodes.protocolError:
      return new TunnelError("protocol-error", reason === "" ? "the gateway takes a message of ours for malformed" : reason, {
        delivered: "unknown",
      })
    case closeCodes.flapping:
      return new TunnelError(
        "agent-away",
        `the agent's connection is lost again and again${reason === "" ? "" : ` (${reason})`}: try again soon`,
        {
          delivered: "unknown",
          retryable: true,
        },
      )
    case closeCodes.overloaded:
      return new TunnelError("overloaded", reason === "" ? "the gateway is overloaded" : reason, { delivered: "unknown" })
    default:
      return new TunnelError("link-lost", `the connection was closed with code ${code}${reason === "" ? "" : ` (${reason})`}`, {
        delivered: "unknown",
        retryable: true,
      })
  }
}

/**
 * Whether a redial that was refused so would be refused again, or too late: an agent that stopped has ended its links.
 * What lies between us and the gateway may answer in its place for a while.
 */
export const isFinalRefusal = ({ code, retryable }: TunnelError): boolean =>
  code === "agent-stopped" || (!retryable && code !== "protocol-error")

/** An error from before the first greeting: nothing of any call has left us. */
export function undelivered(error: TunnelError): TunnelError {
  if (error.delivered === "no") return error
  return new TunnelError(error.code, error.message, { retryable: error.retryable, delivered: "no", cause: error })
}
