/** Calls of the gateway's HTTP API: bearer token, JSON, errors as TunnelError. */
import { isErrorCode, TunnelError } from "@trunkline/protocol"

export interface GatewayApi {
  readonly url: URL
  readonly token: string
  readonly fetch: typeof fetch
}

/** Milliseconds for an answer that is made from memory or one storage read. */
const answerMs = 30_000

/** The JSON answer; undefined if it has no body. Rejects with the gateway's own error, `gateway-unreachable`, `aborted`, or `protocol-error` for what is not JSON. */
export async function callGateway(api: GatewayApi, path: string, init: RequestInit = {}): Promise<unknown> {
  const url = new URL(path, api.url)
  const signal = AbortSignal.any([AbortSignal.timeout(answerMs), ...(init.signal == null ? [] : [init.signal])])
  let response: Response
  let text: string
  try {
    const { fetch } = api
    response = await fetch(url, { ...init, signal, headers: { ...init.headers, authorization: `Bearer ${api.token}` } })
    text = await response.text()
  } catch (error) {
    if (init.signal?.aborted === true) throw abortedError(init.signal)
    throw unreachable(api.url, error)
  }
  if (!response.ok) throw errorFromBody(response.status, text)
  if (text === "") return undefined
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new TunnelError("protocol-error", `${url.origin} does not answer like a gateway (not JSON)`, { cause: error })
  }
}

/** The error of an answer's body, whatever it is. */
export function errorFromBody(status: number, body: string): TunnelError {
  try {
    const { code, message, retryable } = JSON.parse(body).error
    if (typeof code === "string" && isErrorCode(code) && typeof message === "string") {
      return new TunnelError(code, message, { retryable: retryable === true })
    }
  } catch {
    // Not a gateway's error: something in between answered.
  }
  // A proxy says so while the gateway behind it restarts or is overrun.
  if (status >= 500 || status === 408 || status === 429)
    return new TunnelError("gateway-unreachable", `the gateway cannot be reached: something in front of it answers HTTP ${status}`)
  return new TunnelError("protocol-error", `HTTP ${status} that is not a gateway's answer; is the gateway's URL right?`)
}

export function unreachable(gateway: URL, cause: unknown): TunnelError {
  return new TunnelError("gateway-unreachable", `cannot reach the gateway at ${gateway.origin}: ${reasonOf(cause)}`, { cause })
}

export function abortedError(signal: AbortSignal, delivered: "no" | "unknown" | "yes" = "no"): TunnelError {
  return new TunnelError("aborted", "the call was aborted", { cause: signal.reason, delivered })
}

/** Node wraps the reason of a failed fetch; the innermost message is the one that helps. */
function reasonOf(cause: unknown): string {
  let error = cause
  while (error instanceof Error && error.cause instanceof Error) error = error.cause
  if (error instanceof AggregateError && error.errors[0] instanceof Error) error = error.errors[0]
  return error instanceof Error ? error.message : String(error)
}
