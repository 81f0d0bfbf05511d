/** `GET /v1/endpoints` and `GET /v1/endpoints/NAME`. */
import { TunnelError } from "@trunkline/protocol"
import { json } from "../answer.ts"
import { requireGateway } from "../auth.ts"
import { heartbeatSummary, listHeartbeats, readHeartbeat } from "../heartbeats.ts"
import { type ListingSources, listEndpoints, readListingQuery } from "../listing.ts"
import { presenceOf } from "../open-link.ts"
import { allRegistries } from "../registry/shards.ts"
import { type Call, type Route, requireName } from "../route.ts"

export const endpointRoutes: readonly Route[] = [
  { path: "/v1/endpoints", methods: { GET: list } },
  { path: "/v1/endpoints/:name", methods: { GET: one } },
]

async function list({ request, url, env, secrets }: Call): Promise<Response> {
  await requireGateway(request, secrets)
  const query = readListingQuery(url.searchParams)
  const sources: ListingSources = {
    registry: (rows) => Promise.all(allRegistries(env).map((registry) => registry.list(rows))),
    heartbeats: (cursor) => listHeartbeats(env.KV, cursor),
  }
  return json(await listEndpoints(sources, query))
}

/** Exact: asks the agent's own object rather than the registry's row. */
async function one({ request, env, secrets, params }: Call): Promise<Response> {
  await requireGateway(request, secrets)
  const name = requireName(params.name)
  const [presence, heartbeat] = await Promise.all([presenceOf(env, name), readHeartbeat(env.KV, name)])
  // A socket that was lost says nothing of the other way.
  if (presence !== null && (presence.status !== "offline" || heartbeat === undefined)) {
    const { revision: _revision, state: _state, ...shown } = presence
    return json({ ...shown, mode: "socket" })
  }
  if (heartbeat !== undefined) return json({ ...heartbeatSummary(name, heartbeat, Date.now()), url: heartbeat.url })
  throw new TunnelError("agent-unknown", `no agent "${name}" is known`)
}
