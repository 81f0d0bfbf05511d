/** From a request to its route, and from whatever comes back to an answer: 404, 405, CORS and errors live here. */
import { TunnelError } from "@trunkline/protocol"
import { failure } from "./answer.ts"
import { secretsOf } from "./auth.ts"
import type { Env } from "./env.ts"
import type { Answer, Route } from "./route.ts"

interface CompiledRoute extends Route {
  readonly pattern: URLPattern
}

export type Router = (request: Request, env: Env, ctx: ExecutionContext) => Promise<Response>

/** Credentials are bearer tokens and never cookies, so any page may call: it has to bring the token itself. */
const corsHeaders = { "access-control-allow-origin": "*", "access-control-expose-headers": "x-request-id, retry-after" }

export function createRouter(routes: readonly Route[]): Router {
  const compiled = routes.map((route): CompiledRoute => ({ ...route, pattern: new URLPattern({ pathname: route.path }) }))
  return async (request, env, ctx) => {
    const requestId = crypto.randomUUID()
    const url = new URL(request.url)
    let response: Response
    try {
      response = await answer(compiled, request, url, env, ctx)
    } catch (error) {
      response = error instanceof TunnelError ? failure(error, requestId, headersOf(error)) : unexpected(error, requestId)
    }
    return withHeaders(response, url, requestId)
  }
}

async function answer(routes: readonly CompiledRoute[], request: Request, url: URL, env: Env, ctx: ExecutionContext): Promise<Response> {
  const secrets = secretsOf(env)
  for (const route of routes) {
    const match = route.pattern.exec({ pathname: url.pathname })
    if (match === null) continue
    if (request.method === "OPTIONS" && isApi(url)) return preflight(route)
    const run = methodOf(route, request.method)
    if (run === undefined) throw new MethodNotAllowed(request.method, Object.keys(route.methods))
    return run({ request, url, env, secrets, params: match.pathname.groups, ctx })
  }
  throw new TunnelError("not-found", `there is nothing at ${url.pathname}`)
}

class MethodNotAllowed extends TunnelError {
  readonly allow: string

  constructor(method: string, allowed: readonly string[]) {
    const allow = allowed.join(", ")
    super("method-not-allowed", `${method} is not possible here, only ${allow}`)
    this.allow = allow
  }
}

const headersOf = (error: TunnelError): Record<string, string> => (error instanceof MethodNotAllowed ? { allow: error.allow } : {})

const methodOf = (route: Route, method: string): Answer | undefined =>
  Object.hasOwn(route.methods, method) ? route.methods[method] : route.methods.ANY

const isApi = (url: URL): boolean => url.pathname.startsWith("/v1/")

function preflight(route: Route): Response {
  const methods = Object.keys(route.methods).join(", ")
  return new Response(null, {
    status: 204,
    headers: {
      allow: methods,
      "access-control-allow-methods": route.methods.ANY === undefined ? methods : "*",
      "access-control-allow-headers": "authorization, content-type, accept, last-event-id",
      "access-control-max-age": "86400",
    },
  })
}

/** A fault of ours: the log has the cause, the caller the id to ask about. */
function unexpected(error: unknown, requestId: string): Response {
  console.error("request.failed", { requestId, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  const message = "the gateway failed on this request; its log has the cause under the request id"
  return failure(new TunnelError("internal", message, { delivered: "unknown" }), requestId)
}

/** An upgrade goes back untouched: its headers belong to the handshake. */
function withHeaders(response: Response, url: URL, requestId: string): Response {
  if (response.status === 101) return response
  const headers = new Headers(response.headers)
  headers.set("x-request-id", requestId)
  if (isApi(url)) for (const [name, value] of Object.entries(corsHeaders)) headers.set(name, value)
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers })
}
