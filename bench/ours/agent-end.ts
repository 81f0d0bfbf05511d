/** The agent's end of the real thing: `serve` as the command runs it, and any number of idle agents. */
import { pathToFileURL } from "node:url"
import { endpointName, silentLogger } from "@trunkline/protocol"
import { serve } from "../../packages/agent-cli/src/agent/serve.ts"
import { openKeeper } from "../../packages/agent-cli/src/keeper/open-keeper.ts"
import { serveEnd } from "../serve-end.ts"

/** Without a keeper's program and directory, the keeper is inside this process: a hundred idle agents need no hundred processes. */
export interface KeeperPlace {
  readonly program: string
  readonly stateHome: string
}

async function online(url: string, secret: string, endpoint: string, keeper: KeeperPlace | undefined): Promise<void> {
  const name = endpointName(endpoint)
  if (name === undefined) throw new Error(`${endpoint} is no endpoint name`)
  const [gateway, logger, version] = [new URL(url), silentLogger, "0.0.0"]
  const welcomed = Promise.withResolvers<void>()
  const served = serve(
    {
      name,
      gateway,
      secret,
      labels: {},
      logger,
      version,
      onOnline: welcomed.resolve,
      ...(keeper && {
        openKeeper: () => {
          const environment = { ...process.env, XDG_STATE_HOME: keeper.stateHome }
          return openKeeper({ gateway, name, logger, version, environment, entry: pathToFileURL(keeper.program) })
        },
      }),
    },
    new AbortController().signal,
  )
  await Promise.race([welcomed.promise, served])
}

const tasks = {
  serve: ({ gateway, secret, names, keeper }: { gateway: string; secret: string; names: readonly string[]; keeper?: KeeperPlace }) =>
    Promise.all(names.map((name) => online(gateway, secret, name, keeper))),
}

export type AgentTasks = typeof tasks
serveEnd(tasks)
