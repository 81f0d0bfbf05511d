/** Where the real thing runs: a gateway, and the keepers of the agents that are started beside it. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { startGateway } from "../../packages/agent-cli/src/gateway-local/gateway-process.ts"
import { built } from "../end-process.ts"
import type { KeeperPlace } from "./agent-end.ts"

export interface Place {
  readonly gateway: string
  readonly gatewayPid: number
  readonly secret: string
  readonly keeper: KeeperPlace
  /** Of the keepers that run. */
  keeperPids(): readonly number[]
  /** Once the agents' processes have ended, or they would start keepers again. */
  stop(): Promise<void>
}

export const startPlace = async (): Promise<Place> => {
  const directory = mkdtempSync(join(tmpdir(), "trunkline-bench-"))
  const gateway = await startGateway({ port: 0, dataDirectory: directory })
  const keeperMain = new URL("../../packages/agent-cli/src/keeper/main.ts", import.meta.url)
  const keepers = join(directory, "trunkline")
  const keeperPids = (): number[] =>
    readdirSync(keepers)
      .filter((file) => file.endsWith(".pid"))
      .map((file) => Number(readFileSync(join(keepers, file), "utf8")))
  return {
    gateway: gateway.url,
    gatewayPid: gateway.pid,
    secret: readFileSync(gateway.secretFile, "utf8").trim(),
    keeper: { program: built(fileURLToPath(keeperMain), new URL("../version.ts", keeperMain)), stateHome: directory },
    keeperPids,
    async stop() {
      // They would wait for their clients to come back.
      for (const pid of keeperPids()) process.kill(pid, "SIGKILL")
      await gateway.stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
