/** The two WebSocket routes: an agent's own socket, and a client's link to an agent. */
import { closeCodes, type EndpointName, type Offer, type Principal, protocolVersion, readOffer, TunnelError } from "@trunkline/protocol"
import { upgradeRequest } from "../agent/upgrade.ts"
import { gatewayPrincipal, hasBearer, requireAgent, requireGateway } from "../auth.ts"
import { type LinkOptions, rememberName, requestLink, requestSocket } from "../open-link.ts"
import { type Call, type Route, requireName, requireUpgrade } from "../route.ts"
import { readTicket } from "../tickets.ts"

export const socketRoutes: readonly Route[] = [
  { path: "/ws/connect", methods: { GET: connectAgent } },
  { path: "/v1/agents/:name/link", methods: { GET: linkClient } },
]

/** Refusals in the order name 400, credential 401, upgrade 426. */
async function connectAgent({ request, url, env, secrets }: Call): Promise<Response> {
  const name = requireName(url.searchParams.get("name"))
  await requireAgent(request, secrets, name)
  requireUpgrade(request)
  const offer = offerOf(request)
  if (!offer.supported) return refuseVersion(offer)
  const response = await requestSocket(env, upgradeRequest({ type: "agent", name, ...echoOf(offer) }), name)
  // Its own dial has made the object, so clients may now reach it without asking the registry.
  rememberName(name)
  return response
}

async function linkClient(call: Call): Promise<Response> {
  const { request, env, params } = call
  const name = requireName(params.name)
  const offer = offerOf(request)
  const { principal, ticket } = await authoriseClient(call, name, offer)
  requireUpgrade(request)
  if (!offer.supported) return refuseVersion(offer)
  return requestLink(env, name, principal, { ...echoOf(offer), ...(ticket === undefined ? {} : { ticket }) })
}

interface ClientAccess {
  readonly principal: Principal
  readonly ticket?: LinkOptions["ticket"]
}

async function authoriseClient({ request, secrets }: Call, name: EndpointName, offer: Offer): Promise<ClientAccess> {
  if (!hasBearer(request) && offer.ticket !== undefined) {
    const { principal, nonce, expiresAt } = await readTicket(secrets, offer.ticket, name, Date.now())
    return { principal, ticket: { nonce, expiresAt } }
  }
  await requireGateway(request, secrets)
  return { principal: gatewayPrincipal }
}

const offerOf = (request: Request): Offer => readOffer(request.headers.get("sec-websocket-protocol"))

const echoOf = (offer: Offer): { subprotocol?: string } => (offer.answer === undefined ? {} : { subprotocol: offer.answer })

/** Accepts and closes at once: a refused upgrade would tell a browser nothing, a close code says what to do. */
function refuseVersion(offer: Offer): Response {
  if (offer.answer === undefined) throw new TunnelError("unsupported-version", `this gateway speaks trunkline.v${protocolVersion} only`)
  const pair = new WebSocketPair()
  pair[1].accept()
  pair[1].close(closeCodes.version, `this gateway speaks trunkline.v${protocolVersion} only`)
  return new Response(null, { status: 101, webSocket: pair[0], headers: { "sec-websocket-protocol": offer.answer } })
}
