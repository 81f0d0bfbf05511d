/** The bare relay, `worker.js` in workerd with its objects on disk as the gateway has them, driven by an agent and a client process. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { capnpText, compatibilityDate } from "../../packages/agent-cli/src/gateway-local/workerd-config.ts"
import { launchWorkerd, type WorkerdProcess } from "../../packages/agent-cli/src/gateway-local/workerd-process.ts"
import { startEnd } from "../end-process.ts"
import type { MeasuredRelay } from "../measure.ts"
import type { AgentTasks } from "./agent-end.ts"
import type { ClientTasks } from "./client-end.ts"

const roundTripBytes = 64
const messageBytes = 64 * 1024
/** Enough to keep the path full, and a bound on what workerd queues. */
const inFlightBytes = 2 ** 20
/** A quarter of what may be in flight: few acknowledgements, and the sender never runs dry. */
const acknowledgeBytes = inFlightBytes / 4

export interface Floor extends MeasuredRelay {
  /** Microseconds to the first byte of each of `count` plain HTTP answers that come from the agent, one at a time, after `warmup` that are not counted. */
  asks(count: number, warmup: number): Promise<readonly number[]>
}

/** Starts workerd and both ends, connected to one object. */
export const startFloor = async (): Promise<Floor> => {
  const directory = mkdtempSync(join(tmpdir(), "trunkline-floor-"))
  const workerd = launchFloor(directory)
  const agent = startEnd<AgentTasks>(new URL("agent-end.ts", import.meta.url))
  const client = startEnd<ClientTasks>(new URL("client-end.ts", import.meta.url))
  const stop = async (): Promise<void> => {
    await Promise.all([agent.stop(), client.stop()])
    await workerd.stop(() => Promise.resolve(), 500)
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    const address = `127.0.0.1:${await workerd.port}`
    const url = `ws://${address}`
    await agent.call("echo", { url: `${url}/agent?name=measured` })
    await agent.call("answer", { url: `${url}/ask-agent?name=measured` })
    await client.call("connect", { url: `${url}/client?name=measured` })
    let idle = 0
    return {
      workerdPid: workerd.pid,
      asks: (count, warmup) => client.call("firstBytes", { url: `http://${address}/ask?name=measured`, count, warmup }),
      roundTrips: (count, warmup) => client.call("roundTrips", { count, warmup, messageBytes: roundTripBytes }),
      async throughput(bytes, warmupBytes) {
        // The client is ready before the first message, or what it missed would never be acknowledged.
        await client.call("receive", { bytes, warmupBytes, acknowledgeBytes })
        await agent.call("produce", { bytes: bytes + warmupBytes, messageBytes, inFlightBytes })
        const elapsedMs = await client.call("received", null)
        return bytes / 1_000 / elapsedMs
      },
      async connectIdle(count) {
        const urls = Array.from({ length: count }, () => `${url}/agent?name=idle-${++idle}`)
        await agent.call("idle", { urls })
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

const launchFloor = (directory: string): WorkerdProcess => {
  const storage = join(directory, "objects")
  const configFile = join(directory, "floor.capnp")
  mkdirSync(storage)
  writeFileSync(
    configFile,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "floor", worker = .floor), (name = "objects", disk = (path = ${capnpText(storage)}, writable = true))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "floor")],
);
const floor :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "/worker.js")],
  compatibilityDate = "${compatibilityDate}",
  durableObjectNamespaces = [
    (className = "Floor", uniqueKey = "floor", enableSql = true),
    (className = "Ask", uniqueKey = "ask", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [(name = "FLOOR", durableObjectNamespace = "Floor"), (name = "ASK", durableObjectNamespace = "Ask")],
);
`,
  )
  return launchWorkerd({
    configFile,
    importPath: fileURLToPath(new URL(".", import.meta.url)),
    environment: {},
    onOutput: (line) => console.error(line),
    onSpawn: () => {},
  })
}
