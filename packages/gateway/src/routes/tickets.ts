/** `POST /v1/tickets {"agent": NAME}`: a ticket with which a browser opens one link to that agent; with `"http": PORT`, its way to that service. */
import { TunnelError } from "@trunkline/protocol"
import { json } from "../answer.ts"
import { gatewayPrincipal, requireGateway } from "../auth.ts"
import { enterPath } from "../http-edge/enter.ts"
import { requestTarget } from "../http-edge/request-target.ts"
import { type Service, serviceOf, serviceUrl } from "../http-edge/service-address.ts"
import { readJsonObject } from "../request-body.ts"
import { type Call, type Route, requireName } from "../route.ts"
import { mintTicket } from "../tickets.ts"

export const ticketRoutes: readonly Route[] = [{ path: "/v1/tickets", methods: { POST: create } }]

async function create({ request, env, secrets }: Call): Promise<Response> {
  await requireGateway(request, secrets)
  const { agent, http } = await readJsonObject(request)
  const name = requireName(typeof agent === "string" ? agent : undefined)
  if (http === undefined) return json(await mintTicket(secrets, name, gatewayPrincipal, Date.now()), 201)
  const service = typeof http === "number" ? serviceOf(name, String(http)) : undefined
  if (service === undefined) throw new TunnelError("bad-request", "http is a port, a number from 1 to 65535")
  // What a browser is let in with is good for this service and no more.
  const principal = { ...gatewayPrincipal, scopes: [`http:${service.port}`] }
  const ticket = await mintTicket(secrets, name, principal, Date.now(), service.port)
  return json({ ...ticket, ...urls(service, request, env.HTTP_DOMAIN, ticket.ticket) }, 201)
}

/** Null where no host of the service is known to lead here. The ticket is in the fragment, which no server sees. */
function urls(service: Service, request: Request, httpDomain: string | undefined, ticket: string) {
  const url = serviceUrl(service, requestTarget(request), httpDomain)
  return url === undefined ? { url: null, enterUrl: null } : { url: url.href, enterUrl: new URL(`${enterPath}#${ticket}`, url).href }
}
