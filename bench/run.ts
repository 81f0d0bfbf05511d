/**
 * `pnpm bench`: the bare relay (a Worker and an object that only forward) and the real thing, measured in turn in one run
 * on one machine. Medians over rounds and their ratios go to RESULTS.md and results.json: compare ratios, the machine is noisy.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync, writeFileSync } from "node:fs"
import { cpus, platform, release, totalmem } from "node:os"
import { setTimeout as delay } from "node:timers/promises"
import { limits } from "@trunkline/protocol"
import { startPty } from "../packages/agent-cli/src/processes/pty-process.ts"
import { startEnd } from "./end-process.ts"
import { warmRequests } from "./first-bytes.ts"
import { startFloor } from "./floor/floor.ts"
import { type IdleCost, measureIdle, measureRoundTrip, measureThroughput } from "./measure.ts"
import { measureCuts } from "./ours/cuts.ts"
import type { LinkTasks } from "./ours/link-end.ts"
import { startOurs } from "./ours/ours.ts"
import { type Comparison, json, median, percentile, table } from "./statistics.ts"
import { webRows } from "./web/rows.ts"
import { measureWeb, type WebRound } from "./web/web.ts"

const rounds = 5

/** Microseconds to start `true` and see its end, with nothing of ours in between. */
async function spawnTrue(): Promise<number> {
  const samples: number[] = []
  for (let run = 0; run < 220; run++) {
    const startMs = performance.now()
    await once(spawn("true", { stdio: ["ignore", "pipe", "pipe"], detached: true }), "close")
    if (run >= 20) samples.push((performance.now() - startMs) * 1_000)
  }
  return percentile(samples, 0.5)
}

/** Microseconds from a key to its echo on a terminal of this machine, with nothing of ours in between. */
async function terminalEcho(): Promise<number> {
  let echoed = Promise.withResolvers<void>()
  const terminal = await startPty(
    { argv: ["sleep", "86400"], cols: 80, rows: 24, env: {}, keep: false },
    { output: () => echoed.resolve(), exited() {} },
  )
  const samples: number[] = []
  for (let run = 0; run < 1_200; run++) {
    // As between two keys over a network: the kernel's workers sleep again.
    await delay(1)
    echoed = Promise.withResolvers<void>()
    const startMs = performance.now()
    terminal.write(new Uint8Array([120]), () => {})
    await echoed.promise
    if (run >= 200) samples.push((performance.now() - startMs) * 1_000)
  }
  terminal.signal("SIGKILL")
  return percentile(samples, 0.5)
}

interface Round {
  readonly floorTripUs: number
  readonly floorTripP99Us: number
  readonly floorRate: number
  readonly floorAskUs: number
  readonly spawnUs: number
  readonly terminalUs: number
  readonly keyUs: number
  readonly keyP99Us: number
  readonly trueUs: number
  readonly rate: number
  readonly pacedRate: number
  readonly acknowledgements: number
}

/** Floor and ours alternate, so that a slow minute of the machine touches both. */
async function round(): Promise<Round> {
  const floor = await startFloor()
  const floorTrip = await measureRoundTrip(floor, 1)
  const { megabytesPerSecond: floorRate } = await measureThroughput(floor, 1)
  const floorAskUs = percentile(await floor.asks(500, warmRequests), 0.5)
  await floor.stop()
  const spawnUs = await spawnTrue()
  const terminalUs = await terminalEcho()
  const ours = await startOurs()
  const key = await measureRoundTrip(ours, 1)
  const trueUs = percentile(await ours.trues(200, 20), 0.5)
  const { megabytesPerSecond: pacedRate } = await measureThroughput(ours, 1)
  await ours.closeTerminal()
  const { megabytesPerSecond: rate } = await measureThroughput(ours, 1)
  const { acknowledgements } = ours
  await ours.stop()
  return {
    floorTripUs: floorTrip.p50Us,
    floorTripP99Us: floorTrip.p99Us,
    floorRate,
    floorAskUs,
    spawnUs,
    terminalUs,
    keyUs: key.p50Us,
    keyP99Us: key.p99Us,
    trueUs,
    rate,
    pacedRate,
    acknowledgements,
  }
}

async function idle(): Promise<{ floor: IdleCosts; ours: IdleCosts }> {
  const floor = await startFloor()
  const floorCosts = await measureIdle(floor)
  await floor.stop()
  const ours = await startOurs()
  const oursCosts = await measureIdle(ours)
  await ours.stop()
  return { floor: floorCosts, ours: oursCosts }
}

interface IdleCosts {
  readonly awake: IdleCost
  readonly hibernated: IdleCost
}

interface Links {
  /** Microseconds per megabyte. */
  readonly resumeCostUs: number
  readonly idleBytes: number
}

async function links(): Promise<Links> {
  const end = startEnd<LinkTasks>(new URL("ours/link-end.ts", import.meta.url))
  const idleBytes = await end.call("idleLinks", { count: 1_000 })
  const resumeCostUs = await end.call("resumeCost", undefined)
  await end.stop()
  return { resumeCostUs, idleBytes }
}

/** Medians of cuts on each leg, in milliseconds, and what an agent takes that idles in the wait before them, in bytes. */
async function cuts() {
  const ours = await startOurs()
  await ours.closeTerminal()
  let memory = ours.memory()
  const waitsMs = await measureCuts(async () => {
    await delay(10_000)
    memory = ours.memory()
    await ours.stop()
  })
  return { ...memory, clientMs: median(waitsMs.client), agentMs: median(waitsMs.agent), bothMs: median(waitsMs.both) }
}

const results: Round[] = []
const webs: WebRound[] = []
for (let count = 1; count <= rounds; count++) {
  console.error(`round ${count} of ${rounds}`)
  results.push(await round())
  webs.push(await measureWeb())
}
console.error("idle agents")
const idles = await idle()
console.error("links and cuts")
const link = await links()
const cut = await cuts()

const of = (field: keyof Round): number => median(results.map((result) => result[field]))
const kibibytes = (bytes: number): number => bytes / 1024
const mebibytes = (bytes: number): number => bytes / 2 ** 20
/** Microseconds that a megabyte of output takes. */
const outputUs = 1e6 / of("rate")
const comparisons: readonly Comparison[] = [
  { name: "round trip of a key and its echo, p50", unit: "µs", floor: of("floorTripUs"), ours: of("keyUs"), atMost: 1.5 },
  {
    name: "the same (floor: round trip + the terminal's own echo)",
    unit: "µs",
    floor: of("floorTripUs") + of("terminalUs"),
    ours: of("keyUs"),
  },
  { name: "round trip of a key and its echo, p99", unit: "µs", floor: of("floorTripP99Us"), ours: of("keyP99Us") },
  {
    name: "exec of `true` (floor: round trip + spawn + 3 ms)",
    unit: "µs",
    floor: of("floorTripUs") + of("spawnUs") + 3_000,
    ours: of("trueUs"),
    atMost: 1,
  },
  { name: "output of a command, one stream", unit: "MB/s", floor: of("floorRate"), ours: of("rate"), atLeast: 0.7 },
  { name: "the same while a terminal is open (paced)", unit: "MB/s", floor: of("floorRate"), ours: of("pacedRate") },
  {
    name: "idle agent, awake: gateway memory (PSS)",
    unit: "KiB",
    floor: kibibytes(idles.floor.awake.pssBytes),
    ours: kibibytes(idles.ours.awake.pssBytes),
    atMost: 1.15,
  },
  {
    name: "idle agent, hibernated: gateway memory (PSS)",
    unit: "KiB",
    floor: kibibytes(idles.floor.hibernated.pssBytes),
    ours: kibibytes(idles.ours.hibernated.pssBytes),
    atMost: 1.15,
  },
  {
    name: "idle agent, awake: gateway descriptors",
    unit: "",
    floor: idles.floor.awake.descriptors,
    ours: idles.ours.awake.descriptors,
    atMost: 1.15,
  },
  {
    name: "idle agent, hibernated: gateway descriptors",
    unit: "",
    floor: idles.floor.hibernated.descriptors,
    ours: idles.ours.hibernated.descriptors,
    atMost: 1.15,
  },
  { name: "cut of the client's leg under output, to the first new byte", unit: "ms", ours: cut.clientMs, bound: 100 },
  { name: "cut of the agent's leg", unit: "ms", ours: cut.agentMs, bound: 100 },
  { name: "cut of both", unit: "ms", ours: cut.bothMs, bound: 100 },
  { name: "resuming: work of both ends, of the time that output takes", unit: "%", ours: (100 * link.resumeCostUs) / outputUs, bound: 2 },
  { name: "resuming: acknowledgements that travel alone, per MB of output", unit: "messages", ours: of("acknowledgements") },
  { name: "idle link: agent's memory (heap and buffers)", unit: "KiB", ours: kibibytes(link.idleBytes), bound: 32 },
  ...webRows(webs, { rate: of("floorRate"), askUs: of("floorAskUs") }),
  { name: "idle serve: memory (PSS)", unit: "MiB", ours: mebibytes(cut.servePssBytes) },
  { name: "idle keeper: memory (PSS)", unit: "MiB", ours: mebibytes(cut.keeperPssBytes) },
]

const debian = readFileSync("/etc/os-release", "utf8").match(/^PRETTY_NAME="(.*)"$/m)?.[1] ?? platform()
const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? "CPU"}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${debian}, Linux ${release()}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`
const report = `# Measured

Made by \`pnpm bench\`: medians of ${rounds} rounds in one run, bare relay and ours in turn. Client, gateway and agent share the machine's cores, so these are CPU
budgets, and only ratios of one run mean anything. The floor is a Worker and a Durable Object that forward WebSocket messages and do nothing else, with \`ws\` at both
ends: same library, same masking, 1 MiB in flight. Direct is the same client at the same service without a tunnel, on loopback.

What has no floor is measured against a bound of its own. A cut resets a leg that has been up for 10 s, under output as fast as the path,
and the network is back at once; the first new byte is one that had not been sent at the cut. What resuming costs is the processor time
of both ends of a link beyond the frame codec's, ${link.resumeCostUs.toFixed(0)} µs per MB, of the ${outputUs.toFixed(0)} µs that a MB of output takes here;
its acknowledgements cross the gateway too, where each that is not part of another message is a message more beside the
${(1e6 / limits.dataBytesMax).toFixed(0)} or so that hold a MB of output. A first byte is measured
once ${warmRequests.toLocaleString("en")} requests have had their code compiled, in floor and ours alike. PSS divides what processes share, such as Node's own code, among all that run here.

Machine: ${machine}. Spawning \`true\` alone takes ${of("spawnUs").toFixed(0)} µs here, a key's echo on a
terminal of its own ${of("terminalUs").toFixed(0)} µs.

${table(comparisons)}
`
writeFileSync(new URL("RESULTS.md", import.meta.url), report)
writeFileSync(new URL("results.json", import.meta.url), `${json(comparisons)}\n`)
console.log(report)
