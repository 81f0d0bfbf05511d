/** The real thing: gateway, agent, its keeper and client, each in a process of its own, as the commands run them. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { startGateway } from "../../packages/agent-cli/src/gateway-local/gateway-process.ts"
import { built, startEnd } from "../end-process.ts"
import type { AgentTasks } from "./agent-end.ts"
import type { ClientTasks } from "./client-end.ts"

export interface Ours {
  readonly workerdPid: number
  /** Microseconds from key to echo. */
  roundTrips(count: number, warmup: number): Promise<readonly number[]>
  /** Microseconds of `exec true`. */
  trues(count: number, warmup: number): Promise<readonly number[]>
  throughput(bytes: number, warmupBytes: number): Promise<number>
  connectIdle(count: number): Promise<void>
  /** Ends the terminal, so that bulk is not paced for it. */
  closeTerminal(): Promise<void>
  stop(): Promise<void>
}

export const startOurs = async (): Promise<Ours> => {
  const directory = mkdtempSync(join(tmpdir(), "trunkline-ours-"))
  const gateway = await startGateway({ port: 0, dataDirectory: directory })
  const secret = readFileSync(gateway.secretFile, "utf8").trim()
  const agent = startEnd<AgentTasks>(new URL("agent-end.ts", import.meta.url))
  const client = startEnd<ClientTasks>(new URL("client-end.ts", import.meta.url))
  const keeperMain = new URL("../../packages/agent-cli/src/keeper/main.ts", import.meta.url)
  const keeper = { program: built(fileURLToPath(keeperMain), new URL("../version.ts", keeperMain)), stateHome: directory }
  await agent.call("serve", { gateway: gateway.url, secret, names: ["measured"], keeper })
  await client.call("connect", { gateway: gateway.url, secret })
  let idle = 0
  return {
    workerdPid: gateway.pid,
    roundTrips: (count, warmup) => client.call("keystrokes", { count, warmup }),
    trues: (count, warmup) => client.call("trues", { count, warmup }),
    throughput: async (bytes, warmupBytes) => bytes / 1_000 / (await client.call("consume", { bytes, warmupBytes })),
    async connectIdle(count) {
      const names = Array.from({ length: count }, () => `idle-${++idle}`)
      for (let at = 0; at < names.length; at += 20)
        await agent.call("serve", { gateway: gateway.url, secret, names: names.slice(at, at + 20) })
    },
    closeTerminal: () => client.call("closeTerminal", undefined),
    async stop() {
      await Promise.all([agent.stop(), client.stop()])
      // It would wait for its client to come back.
      const keepers = join(directory, "trunkline")
      for (const file of readdirSync(keepers)) {
        if (file.endsWith(".pid")) process.kill(Number(readFileSync(join(keepers, file), "utf8")), "SIGKILL")
      }
      await gateway.stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
