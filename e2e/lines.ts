/** An agent behind a line of its own and a line for its clients, both of which a test cuts while something runs over them. */
import { createHash } from "node:crypto"
import { firstDelayMs } from "@trunkline/protocol"
import { type Cut, CutProxy } from "./cut-proxy.ts"
import type { Command, World } from "./world.ts"

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** What `seq 1 LAST` prints. */
export const numbers = (last: number): string => `${Array.from({ length: last }, (_, index) => index + 1).join("\n")}\n`

/** In [0, 1), the same run after run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Milliseconds that a line lives between cuts: just longer than what makes the next wait short again (SPEC RC3). */
export const livedMs = (random: () => number): number => firstDelayMs + 200 * random()

export type Leg = "agent" | "client" | "both"
export const cuts: readonly Cut[] = [
  { how: "fin" },
  { how: "rst" },
  { how: "fin", loseBytes: 0 },
  { how: "rst", loseBytes: 40_000 },
  { how: "rst", side: "peer", loseBytes: 5_000 },
]

/** Rejects when the process ends, which is too early for whoever asks. */
async function endOf(command: Command): Promise<never> {
  const { code, stderr } = await command.finished
  throw new Error(`ended too early with ${code}: ${stderr}`)
}

/** Resolves when the process prints more than it has by now. */
export const printsMore = (command: Command): Promise<void> =>
  Promise.race([new Promise<void>((resolve) => command.child.stdout?.once("data", () => resolve())), endOf(command)])

export class Lines {
  readonly name: string
  readonly agent: Command
  readonly agentLine: CutProxy
  readonly clientLine: CutProxy
  readonly #world: World
  /** Milliseconds from each cut to the first output that came over the lines it led to. */
  readonly waitsMs: number[] = []
  /** Rejects when what runs over the lines ends, which is too early while they are still being cut. */
  over: Promise<never> = new Promise(() => {})

  private constructor(world: World, name: string, agent: Command, agentLine: CutProxy, clientLine: CutProxy) {
    this.#world = world
    this.name = name
    this.agent = agent
    this.agentLine = agentLine
    this.clientLine = clientLine
  }

  static async open(world: World, name: string, bytesPerSecond?: number, args: readonly string[] = []): Promise<Lines> {
    const [agentLine, clientLine] = await Promise.all([
      CutProxy.start(world.port, bytesPerSecond),
      CutProxy.start(world.port, bytesPerSecond),
    ])
    const env = { TRUNKLINE_GATEWAY: agentLine.url, TRUNKLINE_SECRET: world.secret }
    return new Lines(world, name, await world.agent(name, args, env), agentLine, clientLine)
  }

  command(args: readonly string[], stdin: "pipe" | "ignore" = "ignore"): Command {
    const env = { TRUNKLINE_GATEWAY: this.clientLine.url, TRUNKLINE_SECRET: this.#world.secret }
    const command = this.#world.command(args, { env, stdin })
    this.over = endOf(command)
    this.over.catch(() => {})
    return command
  }

  lines(which: Leg): readonly CutProxy[] {
    if (which === "both") return [this.agentLine, this.clientLine]
    return [which === "agent" ? this.agentLine : this.clientLine]
  }

  /** Cuts, and resolves when the lines are dialled again and something has come over them. */
  async cut(which: Leg, how: Cut, progress: () => Promise<void>): Promise<void> {
    const lines = this.lines(which)
    const startMs = performance.now()
    const dialled = lines.map((line) => line.next())
    await Promise.all(lines.map((line) => line.cut(how)))
    await Promise.race([Promise.all(dialled).then(progress), this.over])
    this.waitsMs.push(performance.now() - startMs)
  }

  setRate(bytesPerSecond: number | undefined): void {
    for (const line of this.lines("both")) line.setRate(bytesPerSecond)
  }

  async stop(): Promise<void> {
    await Promise.all([this.agentLine.stop(), this.clientLine.stop()])
    report(this.name, this.waitsMs)
  }
}

/** How long users waited, for whoever reads the tests' output. Nothing is asserted of it. */
function report(name: string, waitsMs: readonly number[]): void {
  if (waitsMs.length === 0) return
  const sorted = waitsMs.toSorted((a, b) => a - b).map(Math.round)
  console.info(`${name}: ${sorted.length} cuts, ms to the next byte: median ${sorted[sorted.length >> 1]}, longest ${sorted.at(-1)}`)
}
