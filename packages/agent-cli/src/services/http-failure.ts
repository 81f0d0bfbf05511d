/** What went wrong between the agent and an HTTP service, as the client is told. */
import { limits, TunnelError } from "@trunkline/protocol"
import { errnoOf, sentenceOf } from "../errno.ts"

/** Bytes of an answer that is none which are shown. */
const shownBytes = 40

/** Before the head of the answer. `what` names the service. */
export function noAnswer(cause: Error, what: string): TunnelError {
  if (cause instanceof TunnelError) return cause
  const code = errnoOf(cause)
  if (code === "HPE_HEADER_OVERFLOW") {
    return failed(
      `the head of the answer of ${what} is longer than ${limits.httpHeadBytesMax} bytes; it sets too much, perhaps in cookies`,
      cause,
    )
  }
  if (code?.startsWith("HPE_") === true) return failed(`${what} does not answer in HTTP/1.1: ${nonsense(cause)}`, cause)
  if (code === "ECONNRESET" || code === "EPIPE") return failed(`${what} closed the connection without an answer`, cause)
  return failed(`the connection to ${what} failed before the answer: ${sentenceOf(cause)}`, cause)
}

/** In the body of the answer, after so many bytes of it. */
export function brokeOff(cause: Error, what: string, bodyBytes: number): TunnelError {
  const reason = errnoOf(cause)?.startsWith("HPE_") === true ? sentenceOf(cause) : "it closed the connection"
  return failed(`${what} broke its answer off after ${bodyBytes} bytes of the body: ${reason}`, cause)
}

export const failed = (message: string, cause?: Error): TunnelError =>
  new TunnelError("service-failed", message, { delivered: "yes", cause })

/** What was said instead of an answer, and what that may mean. */
function nonsense(cause: Error): string {
  const said = "rawPacket" in cause && Buffer.isBuffer(cause.rawPacket) ? cause.rawPacket : Buffer.alloc(0)
  // An alert: a record of type 21, of any version of TLS.
  if (said[0] === 21 && said[1] === 3) return "it speaks TLS there; ask for https"
  if (said.subarray(0, 4).toString("latin1") === "HTTP") return sentenceOf(cause)
  const shown = said
    .subarray(0, shownBytes)
    .toString("latin1")
    .replaceAll(/[^\x20-\x7e]/g, ".")
  return `${sentenceOf(cause)}, in "${shown}"`
}
