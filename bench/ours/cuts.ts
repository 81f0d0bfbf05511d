/** How soon output goes on after a cut when the network is back at once: real agents, keepers and clients, each behind a line of its own. */
import { setTimeout as delay } from "node:timers/promises"
import { startEnd } from "../end-process.ts"
import type { AgentTasks } from "./agent-end.ts"
import type { CutTasks, Leg } from "./cut-end.ts"
import { startPlace } from "./place.ts"

const legs: readonly Leg[] = ["client", "agent", "both"]
/** Lines that are cut on each leg, once each and one after the other; they wait together until they count as stable. */
const cutsPerLeg = 5
/** Milliseconds: a connection that has lasted for 10 s is dialled again at once (SPEC RC3). */
const stableMs = 10_500

/** Milliseconds of each cut, by the leg that was cut. `meanwhile` runs in the wait before. */
export const measureCuts = async (meanwhile: () => Promise<void>): Promise<Readonly<Record<Leg, readonly number[]>>> => {
  const place = await startPlace()
  const { gateway, secret, keeper } = place
  const agents = startEnd<AgentTasks>(new URL("agent-end.ts", import.meta.url))
  const clients = startEnd<CutTasks>(new URL("cut-end.ts", import.meta.url))
  const names = Array.from({ length: legs.length * cutsPerLeg }, (_, index) => `cut-${index}`)
  const urls = await clients.call("lines", { gatewayPort: Number(new URL(gateway).port), count: names.length })
  for (const [index, url] of urls.entries())
    await agents.call("serve", { gateway: url, secret, names: names.slice(index, index + 1), keeper })
  await clients.call("connect", { secret, names })
  await Promise.all([delay(stableMs), meanwhile()])
  const waitsMs: Record<Leg, number[]> = { client: [], agent: [], both: [] }
  for (const index of names.keys()) {
    const leg = legs[index % legs.length] ?? "both"
    waitsMs[leg].push(await clients.call("cut", { index, leg }))
  }
  await Promise.all([agents.stop(), clients.stop()])
  await place.stop()
  return waitsMs
}
