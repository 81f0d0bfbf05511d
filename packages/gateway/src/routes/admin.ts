/** `POST /v1/admin/drain`: closes every socket with 1012, so that a self-hosted gateway can be stopped at once. */
import { TunnelError } from "@trunkline/protocol"
import type { DrainCounts } from "../agent/legs.ts"
import { json } from "../answer.ts"
import { requireGateway } from "../auth.ts"
import type { Env } from "../env.ts"
import { rememberedNames } from "../open-link.ts"
import { allRegistries } from "../registry/shards.ts"
import { readJsonObject } from "../request-body.ts"
import { refuseSockets } from "../restart.ts"
import type { Call, Route } from "../route.ts"
import { withTimeout } from "../timeout.ts"

/** Milliseconds for which this isolate takes no new sockets after a drain: time for a supervisor to stop it. */
const refuseMsDefault = 5_000
const refuseMsMax = 60_000

/** Objects drained at once: bounds what waits in memory. */
const batchSize = 25
const namesPerCall = 1_000

/** Each drain waits up to 2 s for the registry itself. */
const drainTimeoutMs = 5_000

export const adminRoutes: readonly Route[] = [{ path: "/v1/admin/drain", methods: { POST: drain } }]

interface DrainReport extends DrainCounts {
  /** Endpoints asked, and those of them that did not answer. */
  readonly endpoints: number
  readonly failed: number
}

async function drain({ request, env, secrets }: Call): Promise<Response> {
  await requireGateway(request, secrets)
  const { refuseMs = refuseMsDefault } = await readJsonObject(request)
  if (typeof refuseMs !== "number" || refuseMs < 0 || refuseMs > refuseMsMax) {
    throw new TunnelError("bad-request", `refuseMs is a number of milliseconds from 0 to ${refuseMsMax}`)
  }
  // First, so that no agent that was told to redial slips back in.
  refuseSockets(refuseMs)
  let report: DrainReport = { endpoints: 0, agents: 0, clients: 0, failed: 0 }
  const unlisted = new Set<string>(rememberedNames())
  for await (const names of listedNames(env)) {
    for (const name of names) unlisted.delete(name)
    for (const batch of inBatches(names)) report = await drainAll(env, batch, report)
  }
  for (const batch of inBatches([...unlisted])) report = await drainAll(env, batch, report)
  return json(report)
}

/** Every listed name: clients may also wait at an agent that is offline. */
async function* listedNames(env: Env): AsyncGenerator<readonly string[]> {
  for (const registry of allRegistries(env)) {
    for (let after: string | undefined = ""; after !== undefined; ) {
      const names: string[] = await registry.names(after, namesPerCall)
      yield names
      after = names.at(-1)
    }
  }
}

function* inBatches(names: readonly string[]): Generator<readonly string[]> {
  for (let start = 0; start < names.length; start += batchSize) yield names.slice(start, start + batchSize)
}

async function drainAll(env: Env, names: readonly string[], report: DrainReport): Promise<DrainReport> {
  const results = await Promise.all(names.map((name) => drainOne(env, name)))
  return results.reduce(add, report)
}

async function drainOne(env: Env, name: string): Promise<DrainCounts | undefined> {
  try {
    return await withTimeout(env.AGENT.get(env.AGENT.idFromName(name)).drain(), "draining an endpoint", drainTimeoutMs)
  } catch (error) {
    console.warn("endpoint.undrained", { name, error: String(error) })
    return undefined
  }
}

const add = (report: DrainReport, counts: DrainCounts | undefined): DrainReport => ({
  endpoints: report.endpoints + 1,
  agents: report.agents + (counts?.agents ?? 0),
  clients: report.clients + (counts?.clients ?? 0),
  failed: report.failed + (counts === undefined ? 1 : 0),
})
