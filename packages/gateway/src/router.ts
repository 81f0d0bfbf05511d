/** From a request to its route, and from whatever comes back to an answer: 404, 405, CORS and errors live here. */
import { TunnelError } from "@trunkline/protocol"
import { failure, unexpected } from "./answer.ts"
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
    const url = URL.parse(request.url)
    // The runtime puts together whatever Host and path came.
    if (url === null) return failure(new TunnelError("bad-request", "the Host header and the path are no URL"), requestId)
    let response: Response
    try {
      response = await answer(compiled, request, url, env, ctx)
    } catch (error) {
      response =
        error instanceof TunnelError ? failure(error, requestId, headersOf(error)) : failure(unexpected(error, requestId), requestId)
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

/** An upgrade goes back untouched: its headers belong to the handshake. */
function withHeaders(response: Response, url: URL, requestId: string): Response {
  if (response.status === 101) return response
  const headers = new Headers(response.headers)
  headers.set("x-request-id", requestId)
  if (isApi(url)) for (const [name, value] of Object.entries(corsHeaders)) headers.set(name, value)
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers })
}
