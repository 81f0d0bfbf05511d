/** HTTP answers of the API: JSON, and every failure in one shape. */
import { type ErrorBody, type ErrorCode, errorCodes, TunnelError } from "@trunkline/protocol"

export const json = (body: unknown, status = 200): Response => Response.json(body, { status })

/** `{ error: { code, message, retryable, delivered, requestId } }` with the status of the code, and the headers that status asks for. */
export function failure(error: TunnelError, requestId: string, headers: Readonly<Record<string, string>> = {}): Response {
  const { code, message, retryable, delivered } = error
  const body: ErrorBody = { error: { code, message, retryable, delivered, requestId } }
  return Response.json(body, { status: statusOf(error), headers: { ...impliedHeaders(error), ...headers } })
}

/** Seconds after which asking again is worth it. An agent that is away has been waited for already; one that is gone needs somebody to start it. */
const retryAfterSeconds: Readonly<Partial<Record<ErrorCode, number>>> = {
  "agent-away": 1,
  "agent-draining": 10,
  "agent-offline": 30,
  "agent-stopped": 60,
}
const retryAfterDefaultSeconds = 5

/** 503 promises that nothing was done and invites a retry, also by programs that look at nothing else. */
export function statusOf({ code, delivered }: TunnelError): number {
  const { status } = errorCodes[code]
  return status === 503 && delivered !== "no" ? 502 : status
}

/** What a status asks for besides: when to come back, how to come in. */
export function impliedHeaders(error: TunnelError): Readonly<Record<string, string>> {
  const { code, retryable } = error
  if (statusOf(error) === 503 && retryable) return { "retry-after": String(retryAfterSeconds[code] ?? retryAfterDefaultSeconds) }
  if (code === "unauthorised") return { "www-authenticate": "Bearer" }
  if (code === "upgrade-required") return { upgrade: "websocket" }
  return {}
}

/** A fault of ours: the log has the cause, the caller the id to ask about. */
export function unexpected(error: unknown, requestId: string): TunnelError {
  console.error("request.failed", { requestId, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  const message = "the gateway failed on this request; its log has the cause under the request id"
  return new TunnelError("internal", message, { delivered: "unknown" })
}
