/** What is measured, the same way for the bare relay and for ours. Each function returns numbers, medians over its runs. */
import { readdirSync, readFileSync } from "node:fs"
import { setTimeout as delay } from "node:timers/promises"
import { medianOver, percentile } from "./statistics.ts"

/** A relay in workerd with an agent and a client, each in a process of its own. */
export interface MeasuredRelay {
  readonly workerdPid: number
  /** Microseconds of each round trip client → agent → client of 64 bytes, one at a time, after `warmup` that are not counted. */
  roundTrips(count: number, warmup: number): Promise<readonly number[]>
  /** MB/s (10^6 bytes) at which `bytes` arrive at the client from the agent, after `warmupBytes` that are not counted. */
  throughput(bytes: number, warmupBytes: number): Promise<number>
  /** Connects `count` more agents under names of their own that say hello and then nothing. */
  connectIdle(count: number): Promise<void>
  stop(): Promise<void>
}

/** Median over the runs of the p50 and the p99, in microseconds. */
export const measureRoundTrip = (relay: Pick<MeasuredRelay, "roundTrips">, runs = 5): Promise<{ p50Us: number; p99Us: number }> =>
  medianOver(runs, async () => {
    const samples = await relay.roundTrips(2_000, 500)
    return { p50Us: percentile(samples, 0.5), p99Us: percentile(samples, 0.99) }
  })

/** Median over the runs, in MB/s. */
export const measureThroughput = (relay: Pick<MeasuredRelay, "throughput">, runs = 5): Promise<{ megabytesPerSecond: number }> =>
  medianOver(runs, async () => ({ megabytesPerSecond: await relay.throughput(256 * 2 ** 20, 32 * 2 ** 20) }))

export interface IdleCost {
  readonly rssBytes: number
  readonly pssBytes: number
  readonly descriptors: number
}

/** Of workerd: an object that has had nothing to do for 10 s is evicted and its sockets hibernate. */
const hibernatedMs = 12_000
/** Agents connected before the first reading, so that what the first ones load is not counted. */
const idleWarmup = 20

/**
 * What each of 1,000 idle agents adds (with fewer, what the collector has not yet collected decides) to workerd, right after its hello and once its object has been evicted.
 * Once per relay, because memory does not come back: for a median start a fresh relay for each run.
 */
export const measureIdle = async (
  relay: Pick<MeasuredRelay, "workerdPid" | "connectIdle">,
  agents = 1_000,
): Promise<{ awake: IdleCost; hibernated: IdleCost }> => {
  await relay.connectIdle(idleWarmup)
  // The first ones hibernate before the first reading, or what they give back later would count as a saving of the others.
  await delay(hibernatedMs)
  const before = readProcess(relay.workerdPid)
  await relay.connectIdle(agents)
  const awake = readProcess(relay.workerdPid)
  await delay(hibernatedMs)
  const hibernated = readProcess(relay.workerdPid)
  return { awake: each(before, awake, agents), hibernated: each(before, hibernated, agents) }
}

const each = (before: IdleCost, after: IdleCost, agents: number): IdleCost => ({
  rssBytes: (after.rssBytes - before.rssBytes) / agents,
  pssBytes: (after.pssBytes - before.pssBytes) / agents,
  descriptors: (after.descriptors - before.descriptors) / agents,
})

/** Memory and open descriptors of a process, from /proc (Linux only). */
export const readProcess = (pid: number): IdleCost => {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8")
  const kibibytes = (field: string): number => {
    const value = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(rollup)?.[1]
    if (value === undefined) throw new Error(`/proc/${pid}/smaps_rollup has no ${field}`)
    return Number(value) * 1024
  }
  return { rssBytes: kibibytes("Rss"), pssBytes: kibibytes("Pss"), descriptors: readdirSync(`/proc/${pid}/fd`).length }
}
