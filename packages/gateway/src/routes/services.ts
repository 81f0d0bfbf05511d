/**
 * HTTP and WebSockets to services at agents: by host, `PORT--NAME.<domain>`, and by path, `/v1/agents/NAME/http/PORT/…`. It looks at a request before the API's
 * routes do, because the host decides first and a service's path is taken as it was written.
 */
import { type Principal, TunnelError } from "@trunkline/protocol"
import { unexpected } from "../answer.ts"
import { gatewayPrincipal, isGatewayBearer, type Secrets, secretsOf } from "../auth.ts"
import type { Env } from "../env.ts"
import { requireOwnPage, sessionPrincipal, withoutSession } from "../http-edge/browser-session.ts"
import { enter, ownPathPrefix } from "../http-edge/enter.ts"
import { clientAddress, forwardedHeaders } from "../http-edge/forwarded-headers.ts"
import { type RequestTarget, requestTarget } from "../http-edge/request-target.ts"
import { type PathService, type Service, serviceDomains, serviceOfHost, serviceOfPath } from "../http-edge/service-address.ts"
import { serviceFailure } from "../http-edge/service-failure.ts"
import { passToService } from "../http-edge/service-request.ts"

/** The answer to a request for a service; undefined for one that is the API's. */
export async function answerService(request: Request, env: Env, ctx: ExecutionContext): Promise<Response | undefined> {
  let service: Service | undefined
  try {
    const target = requestTarget(request)
    const byHost = serviceOfHost(target.authority, serviceDomains(env.HTTP_DOMAIN))
    service = byHost
    if (byHost !== undefined) return await answerByHost({ request, env, ctx, target }, byHost)
    const byPath = serviceOfPath(target)
    service = byPath
    if (byPath !== undefined) return await answerByPath({ request, env, ctx, target }, byPath)
    return undefined
  } catch (error) {
    const requestId = crypto.randomUUID()
    return serviceFailure(error instanceof TunnelError ? error : unexpected(error, requestId), { request, requestId, service })
  }
}

interface ServiceCall {
  readonly request: Request
  readonly env: Env
  readonly ctx: ExecutionContext
  readonly target: RequestTarget
}

async function answerByHost(call: ServiceCall, service: Service): Promise<Response> {
  const { request, env, target } = call
  const secrets = secretsOf(env)
  if (target.path.startsWith(ownPathPrefix)) return enter({ request, env, secrets, service, target })
  const host = target.authority.toLowerCase()
  const access =
    (await bearerAccess(request, secrets)) ?? (await sessionAccess(request, secrets, target, { ...service, host })) ?? refuse(service)
  return pass(call, service, access, { host: target.authority, path: target.path })
}

async function answerByPath(call: ServiceCall, { prefix, path, ...service }: PathService): Promise<Response> {
  const access = (await bearerAccess(call.request, secretsOf(call.env))) ?? refuse(service)
  return pass(call, service, access, { host: `localhost:${service.port}`, path, prefix })
}

/** Who is calling, and which headers let him in: the service gets none of them. */
interface Access {
  readonly principal: Principal
  readonly credentials: readonly string[]
}

/** Throws `unauthorised` where the header that is only for us is wrong; undefined where there is nothing for us. */
async function bearerAccess({ headers }: Request, secrets: Secrets): Promise<Access | undefined> {
  const own = headers.get("trunkline-authorization")
  const inAuthorization = await isGatewayBearer(headers.get("authorization"), secrets)
  if (own !== null && !(await isGatewayBearer(own, secrets)))
    throw new TunnelError("unauthorised", "the credential in Trunkline-Authorization is not this gateway's secret")
  if (own === null && !inAuthorization) return undefined
  return { principal: gatewayPrincipal, credentials: inAuthorization ? ["authorization"] : [] }
}

async function sessionAccess(
  request: Request,
  secrets: Secrets,
  target: RequestTarget,
  place: Service & { readonly host: string },
): Promise<Access | undefined> {
  const principal = await sessionPrincipal(secrets, request.headers.get("cookie"), place, Date.now())
  if (principal === undefined) return undefined
  requireOwnPage(request, target)
  return { principal, credentials: [] }
}

function refuse({ agent, port }: Service): never {
  throw new TunnelError(
    "unauthorised",
    `port ${port} of "${agent}" is for those who may use this gateway: send \`Authorization: Bearer …\`, or \`Trunkline-Authorization: Bearer …\` where the service needs the other; a browser gets in by \`trunkline http ${agent} ${port}\``,
  )
}

interface Onward {
  readonly host: string
  readonly path: string
  readonly prefix?: string
}

function pass({ request, env, ctx, target }: ServiceCall, service: Service, access: Access, onward: Onward): Promise<Response> {
  const { principal, credentials } = access
  const { host, path, prefix } = onward
  const headers = new Headers(request.headers)
  const cookies = headers.get("cookie")
  const kept = cookies === null ? undefined : withoutSession(cookies)
  if (kept === undefined) headers.delete("cookie")
  else if (kept !== cookies) headers.set("cookie", kept)
  const forwarding = {
    host,
    askedHost: target.authority,
    scheme: target.scheme,
    client: clientAddress(request),
    ...(prefix === undefined ? {} : { prefix }),
  }
  return passToService(request, { service, principal, path, headers: forwardedHeaders(headers, forwarding, credentials) }, env, ctx)
}
