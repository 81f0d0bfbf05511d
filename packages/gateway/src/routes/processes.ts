/** `/v1/agents/NAME/processes`: what runs at an agent and what ended a while ago, its output, and signals to it. */
import { type Agent, type SignalName, signalNames } from "@trunkline/client"
import { checkBody, InvalidBody, TunnelError } from "@trunkline/protocol"
import * as v from "valibot"
import { json } from "../answer.ts"
import { gatewayPrincipal, requireGateway } from "../auth.ts"
import { agentFor } from "../http-edge/dial-agent.ts"
import { outputAnswer } from "../http-edge/output.ts"
import { readJsonObject } from "../request-body.ts"
import { type Call, type Route, requireName } from "../route.ts"

export const processRoutes: readonly Route[] = [
  { path: "/v1/agents/:name/processes", methods: { GET: list } },
  { path: "/v1/agents/:name/processes/:id", methods: { GET: one } },
  { path: "/v1/agents/:name/processes/:id/kill", methods: { POST: kill } },
  { path: "/v1/agents/:name/processes/:id/output", methods: { GET: output } },
]

async function list(call: Call): Promise<Response> {
  const { request, url } = call
  const idempotencyKey = url.searchParams.get("idempotencyKey")
  return answered(await agentOf(call), async ({ processes }) => ({
    processes: await processes.list({ ...(idempotencyKey === null ? {} : { idempotencyKey }), signal: request.signal }),
  }))
}

async function one(call: Call): Promise<Response> {
  const { request, params } = call
  return answered(await agentOf(call), ({ processes }) => processes.get(params.id ?? "", { signal: request.signal }))
}

async function kill(call: Call): Promise<Response> {
  const { request, params } = call
  const agent = await agentOf(call)
  const signal = parseKillRequest(await readJsonObject(request))
  return answered(agent, ({ processes }) => processes.kill(params.id ?? "", signal, { signal: request.signal }))
}

async function output(call: Call): Promise<Response> {
  return outputAnswer(await agentOf(call), call.params.id ?? "", call)
}

/** Throws `bad-name` and `unauthorised`. Nothing is dialled yet. */
async function agentOf({ request, env, ctx, secrets, url, params }: Call): Promise<Agent> {
  const name = requireName(params.name)
  await requireGateway(request, secrets)
  return agentFor({ env, ctx }, name, gatewayPrincipal, url)
}

async function answered(agent: Agent, ask: (agent: Agent) => Promise<unknown>): Promise<Response> {
  try {
    return json(await ask(agent))
  } finally {
    agent.close()
  }
}

/** A misspelt field is refused: the default signal may be the last one wanted. */
const killSchema = v.strictObject({ signal: v.optional(v.unknown(), "SIGTERM") })

/** Throws `bad-request`. */
function parseKillRequest(body: unknown): SignalName {
  try {
    const { signal } = checkBody(killSchema, body)
    const name = signalNames.find((known) => known === signal || known === `SIG${signal}`)
    if (name === undefined) throw new InvalidBody(`signal is one of ${signalNames.join(", ")}, not ${JSON.stringify(signal)?.slice(0, 64)}`)
    return name
  } catch (error) {
    throw error instanceof InvalidBody ? new TunnelError("bad-request", error.message) : error
  }
}
