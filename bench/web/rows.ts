/** The report's lines on services behind the agent. */
import { type Comparison, median } from "../statistics.ts"
import { crowdRequests, type WebRound } from "./web.ts"

/** `floor`: MB/s of the bare relay, and microseconds of its answer over HTTP. */
export function webRows(rounds: readonly WebRound[], floor: { readonly rate: number; readonly askUs: number }): readonly Comparison[] {
  const of = (field: keyof WebRound): number => median(rounds.map((round) => round[field]))
  const direct = { pieceMs: of("directPieceMs"), rate: of("directTcpRate") }
  return [
    {
      name: "worst of 20 server-sent events by HTTP, beyond the direct one's delay",
      unit: "ms",
      direct: direct.pieceMs,
      ours: of("eventsMs"),
      bound: 5,
    },
    { name: "worst of 20 chunks by the SDK's fetch, likewise", unit: "ms", direct: direct.pieceMs, ours: of("chunksMs"), bound: 5 },
    {
      name: "first byte of a GET by HTTP, p50 (floor: a Worker and an object that ask the agent)",
      unit: "µs",
      direct: of("directFirstByteUs"),
      floor: floor.askUs,
      ours: of("firstByteUs"),
      atMost: 2.5,
    },
    {
      name: "the same for the first 500 requests to a gateway and agent that have just started",
      unit: "µs",
      floor: floor.askUs,
      ours: of("coldFirstByteUs"),
    },
    { name: "TCP, one stream", unit: "MB/s", direct: direct.rate, floor: floor.rate, ours: of("tcpRate"), atLeast: 0.8 },
    { name: "TCP, 8 streams (floor: ours, one stream)", unit: "MB/s", floor: of("tcpRate"), ours: of("tcpRateOf8"), atLeast: 1 },
    {
      name: "two stalled downloads of 1 GiB: growth of the process that grows most (PSS)",
      unit: "MiB",
      ours: of("stalledGrowthBytes") / 2 ** 20,
      bound: 8,
    },
    {
      name: "first byte for another client meanwhile, p99 (floor: without them)",
      unit: "µs",
      floor: of("unstalledP99Us"),
      ours: of("stalledP99Us"),
      atMost: 1.5,
    },
    { name: "128 clients at once: answers that are none", unit: `of ${crowdRequests}`, ours: of("crowdErrors"), bound: 0 },
    {
      name: "128 clients at once: p99 (floor: their p50)",
      unit: "µs",
      direct: of("directCrowdP99Us"),
      floor: of("crowdP50Us"),
      ours: of("crowdP99Us"),
      atMost: 10,
    },
  ]
}
