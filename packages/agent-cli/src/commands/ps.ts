/** `trunkline ps NAME`: the processes on an agent, those that run and those that ended a while ago. */
import type { ProcessDescription } from "@trunkline/client"
import { type GatewayValues, openAgent } from "../gateway-client.ts"
import type { Operands } from "../operands.ts"
import { formatAge, formatJson, formatTable, showProgress, styled } from "../output.ts"
import type { Values } from "../settings/settings.ts"
import { writeAll } from "../stdio.ts"
import { commandText, stateText } from "./process-text.ts"

type PsValues = GatewayValues & Values<"processListOutput">

export async function run(values: PsValues, { name }: Operands): Promise<number> {
  const { gateway, agent } = await openAgent(values, name)
  const progress = showProgress(`asking ${name}…`)
  try {
    const processes = await agent.processes.list()
    progress()
    if (processes.length === 0 && values.processListOutput === "table")
      process.stderr.write(`no process runs on ${name}, and none ended a short while ago\n`)
    else await writeAll(process.stdout, render(processes, values.processListOutput))
    return 0
  } finally {
    progress()
    gateway.close()
  }
}

function render(processes: readonly ProcessDescription[], output: PsValues["processListOutput"]): string {
  switch (output) {
    case "json":
      return formatJson({ processes })
    case "id":
      return processes.map(({ id }) => `${id}\n`).join("")
    case "table":
      return formatTable(["ID", "KIND", "STATE", "STARTED", "ATTACHED", "OUTPUT", "COMMAND"], processes.map(row))
  }
}

const row = (described: ProcessDescription): string[] => [
  described.id,
  described.kind,
  styledState(described),
  formatAge(described.startedAt, Date.now()),
  String(described.attached),
  String(described.output.to),
  commandText(described.argv),
]

function styledState(described: ProcessDescription): string {
  const text = stateText(described)
  if (described.state === "running") return styled("green", text)
  return described.exit?.type === "code" && described.exit.code === 0 ? text : styled("red", text)
}
