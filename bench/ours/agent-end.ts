/** The agent's end of the real thing: `serve` as the command runs it, and any number of idle agents. */
import { endpointName, silentLogger } from "@trunkline/protocol"
import { serve } from "../../packages/agent-cli/src/agent/serve.ts"
import { serveEnd } from "../serve-end.ts"

async function online(gateway: string, secret: string, name: string): Promise<void> {
  const checked = endpointName(name)
  if (checked === undefined) throw new Error(`${name} is no endpoint name`)
  const welcomed = Promise.withResolvers<void>()
  const served = serve(
    { name: checked, gateway: new URL(gateway), secret, labels: {}, logger: silentLogger, version: "0.0.0", onOnline: welcomed.resolve },
    new AbortController().signal,
  )
  await Promise.race([welcomed.promise, served])
}

const tasks = {
  serve: ({ gateway, secret, names }: { gateway: string; secret: string; names: readonly string[] }) =>
    Promise.all(names.map((name) => online(gateway, secret, name))),
}

export type AgentTasks = typeof tasks
serveEnd(tasks)
