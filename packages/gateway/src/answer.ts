/** HTTP answers of the API: JSON, and every failure in one shape. */
import { type ErrorBody, type ErrorCode, errorCodes, type TunnelError } from "@trunkline/protocol"

export const json = (body: unknown, status = 200): Response => Response.json(body, { status })

/** `{ error: { code, message, retryable, requestId } }` with the status of the code, and the headers that status asks for. */
export function failure(error: TunnelError, requestId: string, headers: Readonly<Record<string, string>> = {}): Response {
  const body: ErrorBody = { error: { code: error.code, message: error.message, retryable: error.retryable, requestId } }
  return Response.json(body, { status: errorCodes[error.code].status, headers: { ...impliedHeaders(error.code), ...headers } })
}

function impliedHeaders(code: ErrorCode): Readonly<Record<string, string>> {
  if (code === "unauthorised") return { "www-authenticate": "Bearer" }
  if (code === "upgrade-required") return { upgrade: "websocket" }
  return {}
}
