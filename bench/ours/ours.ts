/** The real thing: gateway, agent, its keeper and client, each in a process of its own, as the commands run them. */

import { startEnd } from "../end-process.ts"
import { readProcess } from "../measure.ts"
import type { AgentTasks } from "./agent-end.ts"
import type { ClientTasks } from "./client-end.ts"
import { startPlace } from "./place.ts"

export interface Ours {
  readonly workerdPid: number
  /** Microseconds from key to echo. */
  roundTrips(count: number, warmup: number): Promise<readonly number[]>
  /** Microseconds of `exec true`. */
  trues(count: number, warmup: number): Promise<readonly number[]>
  throughput(bytes: number, warmupBytes: number): Promise<number>
  /** Acknowledgements for each megabyte of the last `throughput` that travelled alone, which costs the gateway a message. */
  readonly acknowledgements: number
  connectIdle(count: number): Promise<void>
  /** Ends the terminal, so that bulk is not paced for it. */
  closeTerminal(): Promise<void>
  /** Bytes of the agent's two processes. */
  memory(): { readonly servePssBytes: number; readonly keeperPssBytes: number }
  stop(): Promise<void>
}

export const startOurs = async (): Promise<Ours> => {
  const place = await startPlace()
  const { gateway, secret, keeper } = place
  const agent = startEnd<AgentTasks>(new URL("agent-end.ts", import.meta.url))
  const client = startEnd<ClientTasks>(new URL("client-end.ts", import.meta.url))
  await agent.call("serve", { gateway, secret, names: ["measured"], keeper })
  await client.call("connect", { gateway, secret })
  let idle = 0
  let acknowledgements = 0
  return {
    workerdPid: place.gatewayPid,
    roundTrips: (count, warmup) => client.call("keystrokes", { count, warmup }),
    trues: (count, warmup) => client.call("trues", { count, warmup }),
    async throughput(bytes, warmupBytes) {
      const consumed = await client.call("consume", { bytes, warmupBytes })
      acknowledgements = consumed.acknowledgements / (bytes / 1e6)
      return bytes / 1_000 / consumed.elapsedMs
    },
    get acknowledgements() {
      return acknowledgements
    },
    async connectIdle(count) {
      const names = Array.from({ length: count }, () => `idle-${++idle}`)
      for (let at = 0; at < names.length; at += 20) await agent.call("serve", { gateway, secret, names: names.slice(at, at + 20) })
    },
    closeTerminal: () => client.call("closeTerminal", undefined),
    memory() {
      const keeperPssBytes = place.keeperPids().reduce((bytes, pid) => bytes + readProcess(pid).pssBytes, 0)
      return { servePssBytes: readProcess(agent.pid).pssBytes, keeperPssBytes }
    },
    async stop() {
      await Promise.all([agent.stop(), client.stop()])
      await place.stop()
    },
  }
}
