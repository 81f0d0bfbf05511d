/** `trunkline ls`: the endpoints, once or for as long as somebody watches. */
import type { Endpoint, EndpointStatus, Gateway } from "@trunkline/client"
import { TunnelError } from "@trunkline/protocol"
import { type GatewayValues, openGateway } from "../gateway-client.ts"
import { formatAge, formatJson, formatJsonLine, formatLabels, formatTable, printable, styled } from "../output.ts"
import type { Values } from "../settings/settings.ts"
import { writeAll } from "../stdio.ts"

type ListValues = GatewayValues & Values<"labelFilter" | "status" | "watch" | "listOutput">

/** Milliseconds between two looks: a person sees it as live, and a gateway serves a page from memory. */
const watchIntervalMs = 2_000

export async function run(values: ListValues): Promise<number> {
  const gateway = await openGateway(values)
  try {
    if (values.watch) return await watch(gateway, values)
    const endpoints = await list(gateway, values)
    if (endpoints.length === 0 && values.listOutput === "table") process.stderr.write(emptyText(values))
    else await writeAll(process.stdout, render(endpoints, values.listOutput))
    return 0
  } finally {
    gateway.close()
  }
}

async function list(gateway: Gateway, { labelFilter, status }: ListValues): Promise<Endpoint[]> {
  const endpoints: Endpoint[] = []
  for await (const endpoint of gateway.endpoints.all({ labels: labelFilter, limit: 1_000, ...(status === undefined ? {} : { status }) }))
    endpoints.push(endpoint)
  return endpoints
}

function emptyText({ gateway, labelFilter, status }: ListValues): string {
  if (status !== undefined || Object.keys(labelFilter).length > 0) return "no endpoint matches; `trunkline ls` without filters shows all\n"
  return `no endpoints yet at ${gateway.origin}; run this on a machine to add it: trunkline serve --name NAME --gateway ${gateway.origin}\n`
}

function render(endpoints: readonly Endpoint[], output: ListValues["listOutput"]): string {
  switch (output) {
    case "json":
      return formatJson({ endpoints })
    case "name":
      return endpoints.map(({ name }) => `${name}\n`).join("")
    case "table":
      return formatTable(["NAME", "STATUS", "MODE", "SINCE", "VERSION", "LABELS"], endpoints.map(row))
  }
}

const row = ({ name, status, mode, since, version, labels }: Endpoint): string[] => [
  printable(name),
  styledStatus(status),
  mode,
  formatAge(since, Date.now()),
  printable(version),
  printable(formatLabels(labels)),
]

export function styledStatus(status: EndpointStatus): string {
  switch (status) {
    case "online":
      return styled("green", status)
    case "stale":
    case "draining":
      return styled("yellow", status)
    case "offline":
      return styled("red", status)
  }
}

/** Until it is interrupted. A gateway that is away for a while is reported and asked again. */
async function watch(gateway: Gateway, values: ListValues): Promise<number> {
  let known = new Map<string, Endpoint>()
  const drawn = process.stdout.isTTY && values.listOutput === "table"
  if (drawn) await writeAll(process.stdout, "\u001b[2J")
  while (true) {
    try {
      const endpoints = await list(gateway, values)
      if (drawn) {
        // The new picture is drawn over the old one, so nothing flickers.
        const text = endpoints.length === 0 ? emptyText(values) : render(endpoints, "table")
        await writeAll(process.stdout, `\u001b[H${text.replaceAll("\n", "\u001b[K\n")}\u001b[J`)
      } else {
        for (const change of changesBetween(known, endpoints)) await writeAll(process.stdout, formatJsonLine(change))
      }
      known = new Map(endpoints.map((endpoint) => [endpoint.name, endpoint]))
    } catch (error) {
      if (!(error instanceof TunnelError) || !error.retryable) throw error
      process.stderr.write(`trunkline: ${error.message}; trying again\n`)
    }
    await new Promise((resolve) => setTimeout(resolve, watchIntervalMs))
  }
}

export type Change =
  | { readonly type: "added" | "changed"; readonly endpoint: Endpoint }
  | { readonly type: "removed"; readonly endpoint: Endpoint }

/** What a watcher is told. When it was last seen and how fast it answers change all the time and are no news. */
export function changesBetween(known: ReadonlyMap<string, Endpoint>, endpoints: readonly Endpoint[]): Change[] {
  const present = new Set(endpoints.map(({ name }) => name))
  const changes = endpoints.flatMap((endpoint): Change[] => {
    const before = known.get(endpoint.name)
    if (before === undefined) return [{ type: "added", endpoint }]
    return news(before) === news(endpoint) ? [] : [{ type: "changed", endpoint }]
  })
  const removed = [...known.values()].filter(({ name }) => !present.has(name)).map((endpoint): Change => ({ type: "removed", endpoint }))
  return [...changes, ...removed]
}

const news = ({ name, status, mode, since, version, labels }: Endpoint): string =>
  JSON.stringify([name, status, mode, since, version, labels])
