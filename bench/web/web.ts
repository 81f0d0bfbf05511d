/** What stock clients see of services at the agent: HTTP through the gateway's edge, and TCP through the SDK, beside direct connections. */
import { setTimeout as delay } from "node:timers/promises"
import { startEnd } from "../end-process.ts"
import { warmRequests } from "../first-bytes.ts"
import { readProcess } from "../measure.ts"
import type { AgentTasks } from "../ours/agent-end.ts"
import { startPlace } from "../ours/place.ts"
import { percentile } from "../statistics.ts"
import type { Place, WebClientTasks } from "./client-end.ts"
import type { ServiceTasks } from "./service-end.ts"

const largeBytes = 2 ** 30
/** What is downloaded before the first reading of memory, so that what is kept for the next is not counted. */
const warmupBytes = 2 ** 26
/** Milliseconds after which what was on the way has come to rest. */
const restMs = 2_000
const tcpBytes = 128 * 2 ** 20
const tcpWarmupBytes = 32 * 2 ** 20
/** Requests of which a p99 is taken. */
const requests = 500
const crowdClients = 128
const crowdEach = 10
/** Requests of all of them together. */
export const crowdRequests = crowdClients * crowdEach

export interface WebRound {
  /** Milliseconds of the worst of the pieces, beyond the same piece's on a direct connection. */
  readonly eventsMs: number
  readonly chunksMs: number
  /** Milliseconds of the worst piece on a direct connection. */
  readonly directPieceMs: number
  readonly firstByteUs: number
  /** Of the first requests, whose code runs uncompiled in most processes. */
  readonly coldFirstByteUs: number
  readonly directFirstByteUs: number
  /** MB/s. */
  readonly tcpRate: number
  readonly tcpRateOf8: number
  readonly directTcpRate: number
  /** Bytes that the process that grew most has grown by. */
  readonly stalledGrowthBytes: number
  /** Microseconds of another client. */
  readonly unstalledP99Us: number
  readonly stalledP99Us: number
  readonly crowdErrors: number
  readonly crowdP50Us: number
  readonly crowdP99Us: number
  readonly directCrowdP99Us: number
}

export async function measureWeb(): Promise<WebRound> {
  const place = await startPlace()
  const { gateway, secret, keeper } = place
  const agent = startEnd<AgentTasks>(new URL("../ours/agent-end.ts", import.meta.url))
  const service = startEnd<ServiceTasks>(new URL("service-end.ts", import.meta.url))
  const [client, slow] = [new URL("client-end.ts", import.meta.url)].flatMap((module) => [
    startEnd<WebClientTasks>(module),
    startEnd<WebClientTasks>(module),
  ])
  if (client === undefined || slow === undefined) throw new Error("no client was started")
  try {
    await agent.call("serve", { gateway, secret, names: ["measured"], keeper })
    const ports = await service.call("listen", undefined)
    for (const each of [client, slow]) await each.call("connect", { gateway, secret })
    const direct = (path: string): Place => ({ url: `http://127.0.0.1:${ports.http}${path}`, headers: {}, through: "fetch" })
    const sdk = (path: string): Place => ({ ...direct(path), through: "sdk" })
    const edge = (path: string): Place => ({
      url: `${gateway.replace(/\/$/, "")}/v1/agents/measured/http/${ports.http}${path}`,
      headers: { authorization: `Bearer ${secret}` },
      through: "fetch",
    })

    const firstByteUs = async (at: Place, warmup = 50): Promise<readonly number[]> =>
      await client.call("firstBytes", { place: at, count: requests, warmup })
    const coldFirstByte = await firstByteUs(edge("/"))
    const firstByte = await firstByteUs(edge("/"), warmRequests)
    const directFirstByte = await firstByteUs(direct("/"), warmRequests)

    // In turn: a slow moment of the machine touches all.
    const directPieces = await client.call("pieces", { place: direct("/events") })
    const beyond = (delaysMs: readonly number[]): number => Math.max(...delaysMs.map((ms, piece) => ms - (directPieces[piece] ?? 0)))
    const eventsMs = beyond(await client.call("pieces", { place: edge("/events") }))
    const chunksMs = beyond(await client.call("pieces", { place: sdk("/chunks") }))

    const tcpRate = async (streams: number, isDirect = false): Promise<number> => {
      const elapsedMs = await client.call("tcp", {
        port: ports.tcp,
        direct: isDirect,
        streams,
        bytes: tcpBytes,
        warmupBytes: tcpWarmupBytes,
      })
      return tcpBytes / 1_000 / elapsedMs
    }
    await tcpRate(1)
    const rates = { one: await tcpRate(1), eight: await tcpRate(8), direct: await tcpRate(1, true) }

    const crowd = (at: Place) => client.call("crowd", { place: at, clients: crowdClients, each: crowdEach })
    const crowded = await crowd(edge("/"))
    const directCrowd = await crowd(direct("/"))

    for (const at of [edge, sdk]) await slow.call("download", { place: at(`/large?bytes=${warmupBytes}`) })
    const unstalled = await firstByteUs(edge("/"))
    const watched = [place.gatewayPid, agent.pid, slow.pid, ...place.keeperPids()]
    await delay(restMs)
    const before = watched.map((pid) => readProcess(pid).pssBytes)
    for (const at of [edge, sdk]) await slow.call("stall", { place: at(`/large?bytes=${largeBytes}`) })
    await delay(restMs)
    const growths = watched.map((pid, index) => readProcess(pid).pssBytes - (before[index] ?? 0))
    const stalled = await firstByteUs(edge("/"))
    await slow.call("leave", undefined)

    return {
      eventsMs,
      chunksMs,
      directPieceMs: Math.max(...directPieces),
      firstByteUs: percentile(firstByte, 0.5),
      coldFirstByteUs: percentile(coldFirstByte, 0.5),
      directFirstByteUs: percentile(directFirstByte, 0.5),
      tcpRate: rates.one,
      tcpRateOf8: rates.eight,
      directTcpRate: rates.direct,
      stalledGrowthBytes: Math.max(...growths),
      unstalledP99Us: percentile(unstalled, 0.99),
      stalledP99Us: percentile(stalled, 0.99),
      crowdErrors: crowded.errors,
      crowdP50Us: percentile(crowded.samplesUs, 0.5),
      crowdP99Us: percentile(crowded.samplesUs, 0.99),
      directCrowdP99Us: percentile(directCrowd.samplesUs, 0.99),
    }
  } finally {
    await Promise.all([agent, service, client, slow].map((end) => end.stop()))
    await place.stop()
  }
}
