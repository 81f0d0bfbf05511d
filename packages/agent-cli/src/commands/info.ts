/** `trunkline info NAME`: one endpoint, the round trip to its agent, and how many processes run there. */
import type { Agent, EndpointDetail } from "@trunkline/client"
import { type GatewayValues, openAgent } from "../gateway-client.ts"
import type { Operands } from "../operands.ts"
import { formatAge, formatFields, formatJson, formatLabels, printable, showProgress } from "../output.ts"
import type { Values } from "../settings/settings.ts"
import { writeAll } from "../stdio.ts"
import { styledStatus } from "./ls.ts"

/** Milliseconds: an agent that answers later than this is not one to wait for. */
const answerWaitMs = 5_000

export async function run(values: GatewayValues & Values<"output">, { name }: Operands): Promise<number> {
  const { gateway, agent } = await openAgent(values, name)
  const progress = showProgress(`asking ${name}…`)
  try {
    const endpoint = await gateway.endpoints.get(name)
    const connected = endpoint.status !== "offline"
    const answers = connected ? await ask(agent) : noAnswers
    progress()
    await writeAll(
      process.stdout,
      values.output === "json" ? formatJson({ ...endpoint, ...answers }) : describe(endpoint, connected, answers),
    )
    return 0
  } finally {
    progress()
    gateway.close()
  }
}

/** What the agent itself says; null where it does not answer: the listing's own status is still worth showing. */
interface Answers {
  readonly linkRttMs: number | null
  readonly runningProcesses: number | null
}

const noAnswers: Answers = { linkRttMs: null, runningProcesses: null }

async function ask(agent: Agent): Promise<Answers> {
  const cancel = new AbortController()
  const late = new Promise<null>((resolve) => {
    cancel.signal.addEventListener("abort", () => resolve(null), { once: true })
  })
  const timer = setTimeout(() => cancel.abort(), answerWaitMs)
  const orNull = <T>(answer: Promise<T>): Promise<T | null> => Promise.race([answer.catch(() => null), late])
  // One after the other: the round trip is the bare path's.
  const linkRttMs = await orNull(agent.ping())
  const processes = linkRttMs === null ? null : await orNull(agent.processes.list({ signal: cancel.signal }))
  clearTimeout(timer)
  return { linkRttMs, runningProcesses: processes?.filter(({ state }) => state === "running").length ?? null }
}

function describe(endpoint: EndpointDetail, connected: boolean, { linkRttMs, runningProcesses }: Answers): string {
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
    if (runningProcesses !== null) fields.push(["processes", `${runningProcesses} running`])
    fields.push(["link round trip", linkRttMs === null ? "no answer" : `${linkRttMs.toFixed(1)} ms`])
  }
  return formatFields(fields)
}
