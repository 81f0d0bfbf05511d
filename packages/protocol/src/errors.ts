/** The one error type that users meet, and the table of its codes. */

/** Whether the request reached the machine: `no` is safe to retry, `unknown` is not. */
export type Delivered = "no" | "yes" | "unknown"

interface CodeFacts {
  readonly retryable: boolean
  /** HTTP status of the gateway's answer. */
  readonly status: number
}

/** Every error code with its defaults. The meaning of each is in SPEC section "Errors". */
export const errorCodes = {
  "bad-request": { retryable: false, status: 400 },
  "bad-name": { retryable: false, status: 400 },
  unauthorised: { retryable: false, status: 401 },
  denied: { retryable: false, status: 403 },
  "not-found": { retryable: false, status: 404 },
  "agent-unknown": { retryable: false, status: 404 },
  "method-not-allowed": { retryable: false, status: 405 },
  "upgrade-required": { retryable: false, status: 426 },
  "too-large": { retryable: false, status: 413 },
  "agent-away": { retryable: true, status: 503 },
  "agent-offline": { retryable: true, status: 503 },
  "agent-draining": { retryable: true, status: 503 },
  "agent-stopped": { retryable: true, status: 503 },
  "agent-replaced": { retryable: true, status: 503 },
  "agent-restarted": { retryable: false, status: 502 },
  "link-lost": { retryable: false, status: 502 },
  "gateway-unreachable": { retryable: true, status: 502 },
  overloaded: { retryable: true, status: 503 },
  "too-many-clients": { retryable: true, status: 503 },
  "too-many-streams": { retryable: true, status: 503 },
  "protocol-error": { retryable: false, status: 502 },
  "unsupported-version": { retryable: false, status: 426 },
  "unsupported-kind": { retryable: false, status: 501 },
  "command-not-found": { retryable: false, status: 422 },
  "not-executable": { retryable: false, status: 422 },
  "cwd-not-found": { retryable: false, status: 422 },
  "spawn-failed": { retryable: false, status: 422 },
  "command-failed": { retryable: false, status: 422 },
  "service-refused": { retryable: true, status: 502 },
  "service-unreachable": { retryable: true, status: 502 },
  "service-timeout": { retryable: true, status: 504 },
  "service-failed": { retryable: false, status: 502 },
  "address-in-use": { retryable: false, status: 409 },
  timeout: { retryable: true, status: 504 },
  aborted: { retryable: false, status: 499 },
  internal: { retryable: false, status: 500 },
} as const satisfies Record<string, CodeFacts>

export type ErrorCode = keyof typeof errorCodes

export const isErrorCode = (value: string): value is ErrorCode => Object.hasOwn(errorCodes, value)

export interface TunnelErrorOptions {
  readonly delivered?: Delivered
  readonly retryable?: boolean
  readonly cause?: unknown
}

/**
 * What went wrong, in a sentence for people (`message`) and a stable `code` for programs.
 * `delivered` says whether the request reached the agent; only `no` may be retried without asking what happened.
 */
export class TunnelError extends Error {
  override readonly name = "TunnelError"
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly delivered: Delivered

  constructor(code: ErrorCode, message: string, options: TunnelErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retryable = options.retryable ?? errorCodes[code].retryable
    this.delivered = options.delivered ?? "no"
  }
}

/** The error body of the HTTP API. */
export interface ErrorBody {
  readonly error: {
    readonly code: ErrorCode
    readonly message: string
    readonly retryable: boolean
    readonly delivered: Delivered
    readonly requestId: string
  }
}
