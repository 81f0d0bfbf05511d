/** HTTP answers of the API: JSON, and every failure in one shape. */
import { type ErrorBody, type ErrorCode, errorCodes, type TunnelError } from "@trunkline/protocol"

export const json = (body: unknown, status = 200): Response => Response.json(body, { status })

/** `{ error: { code, message, retryable, delivered, requestId } }` with the status of the code, and the headers that status asks for. */
export function failure(error: TunnelError, requestId: string, headers: Readonly<Record<string, string>> = {}): Response {
  const { code, message, retryable, delivered } = error
  const body: ErrorBody = { error: { code, message, retryable, delivered, requestId } }
  return Response.json(body, { status: statusOf(error), headers: { ...impliedHeaders(code), ...headers } })
}

/** 503 promises that nothing was done and invites a retry, also by programs that look at nothing else. */
function statusOf({ code, delivered }: TunnelError): number {
  const { status } = errorCodes[code]
  return status === 503 && delivered !== "no" ? 502 : status
}

function impliedHeaders(code: ErrorCode): Readonly<Record<string, string>> {
  if (code === "unauthorised") return { "www-authenticate": "Bearer" }
  if (code === "upgrade-required") return { upgrade: "websocket" }
  return {}
}
