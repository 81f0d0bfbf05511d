/** What a route is, and what it is given. */
import { type EndpointName, endpointName, endpointNameRule, TunnelError } from "@trunkline/protocol"
import type { Secrets } from "./auth.ts"
import type { Env } from "./env.ts"

export interface Call {
  readonly request: Request
  readonly url: URL
  readonly env: Env
  readonly secrets: Secrets
  /** The groups of the route's path, as they stand in the URL. */
  readonly params: Readonly<Record<string, string | undefined>>
  /** Of the Worker's own invocation: for work that goes on after the answer. */
  readonly ctx: ExecutionContext
}

/** Answers the call, or throws a TunnelError. */
export type Answer = (call: Call) => Promise<Response>

export interface Route {
  /** A URLPattern path, such as `/v1/agents/:name/link`. */
  readonly path: string
  /** By method; `ANY` takes those not named. */
  readonly methods: Readonly<Record<string, Answer>>
}

/** The text as an endpoint name; throws `bad-name`. */
export function requireName(text: string | null | undefined): EndpointName {
  const name = endpointName(text ?? "")
  if (name === undefined) throw new TunnelError("bad-name", endpointNameRule)
  return name
}

/** Throws `upgrade-required` for a plain request where a WebSocket is expected. */
export function requireUpgrade(request: Request): void {
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
    throw new TunnelError("upgrade-required", "this is a WebSocket: send `Upgrade: websocket`")
  }
}
