/** What an answer of the gateway that is no success means: its own error, or the word of something that stands in its place. */
import { errorCodes, isErrorCode, TunnelError } from "@trunkline/protocol"

/** Retryable where the same request may be answered otherwise later. `protocol-error`: it is not a gateway that answers. */
export function gatewayRefusal(status: number, body: string): TunnelError {
  // Of a server that is overrun or restarts, or of a proxy before one.
  const passing = status >= 500 || status === 408 || status === 429
  try {
    const { code, message } = JSON.parse(body).error
    if (typeof code === "string" && isErrorCode(code) && typeof message === "string")
      return new TunnelError(code, message, { retryable: errorCodes[code].retryable || passing })
  } catch {
    // Not a gateway's answer.
  }
  if (passing) return new TunnelError("gateway-unreachable", `something in front of the gateway answers HTTP ${status}`)
  return notAGateway(`HTTP ${status}`)
}

export const notAGateway = (what: string): TunnelError =>
  new TunnelError("protocol-error", `${what} that is not a gateway's answer; is the gateway's URL right?`)
