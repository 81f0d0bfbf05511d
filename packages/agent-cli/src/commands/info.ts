/** `trunkline info NAME`: one endpoint, and the round trip to its agent. */
import type { Agent, EndpointDetail } from "@trunkline/client"
import type { Values } from "../config.ts"
import { type GatewayValues, openAgent } from "../gateway-client.ts"
import type { Operands } from "../operands.ts"
import { formatAge, formatFields, formatJson, formatLabels, printable, showProgress } from "../output.ts"
import { writeAll } from "../stdio.ts"
import { styledStatus } from "./ls.ts"

/** Milliseconds: an agent that answers later than this is not one to wait for. */
const pingWaitMs = 5_000

export async function run(values: GatewayValues & Values<"output">, { name }: Operands): Promise<number> {
  const { gateway, agent } = await openAgent(values, name)
  const progress = showProgress(`asking ${name}…`)
  try {
    const endpoint = await gateway.endpoints.get(name)
    const connected = endpoint.status !== "offline" && endpoint.mode === "socket"
    const linkRttMs = connected ? await roundTrip(agent) : null
    progress()
    await writeAll(
      process.stdout,
      values.output === "json" ? formatJson({ ...endpoint, linkRttMs }) : describe(endpoint, connected, linkRttMs),
    )
    return 0
  } finally {
    progress()
    gateway.close()
  }
}

/** Null when the agent does not answer: the listing's own status is still worth showing. */
async function roundTrip(agent: Agent): Promise<number | null> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, pingWaitMs, null)
  })
  try {
    return await Promise.race([agent.ping(), late])
  } catch {
    return null
  } finally {
    clearTimeout(timer)
  }
}

function describe(endpoint: EndpointDetail, connected: boolean, linkRttMs: number | null): string {
  const { host } = endpoint
  const now = Date.now()
  const fields: [string, string][] = [
    ["name", printable(endpoint.name)],
    ["status", `${styledStatus(endpoint.status)}, since ${formatAge(endpoint.since, now)}`],
    ["last seen", formatAge(endpoint.lastSeen, now)],
    ["mode", endpoint.mode],
    ["version", printable(endpoint.version)],
    ["labels", printable(formatLabels(endpoint.labels)) || "none"],
  ]
  if (host != null) {
    fields.push(["host", printable(host.hostname)], ["system", printable(`${host.os} ${host.arch}`)])
    if (host.node !== undefined) fields.push(["node", printable(host.node)])
  }
  // Of an agent that is not there nobody was asked.
  if (connected) {
    if (endpoint.clients !== undefined) fields.push(["clients", String(endpoint.clients)])
    fields.push(["link round trip", linkRttMs === null ? "no answer" : `${linkRttMs.toFixed(1)} ms`])
  }
  return formatFields(fields)
}
