/** Real lines that fail under real commands: every byte arrives once and in order, every command runs once, and the wait is short. */
import { createHash, randomBytes } from "node:crypto"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { connect } from "@trunkline/client"
import { dialNode } from "@trunkline/client/node"
import { firstDelayMs, limits } from "@trunkline/protocol"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type Cut, CutProxy } from "./cut-proxy.ts"
import { type Command, World } from "./world.ts"

/** Milliseconds: most of it is waiting for redials, which are random and real. */
const longTestMs = 120_000

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")
const numbers = (last: number): string => `${Array.from({ length: last }, (_, index) => index + 1).join("\n")}\n`

/** In [0, 1), the same run after run (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Milliseconds that a line lives between cuts: just longer than what makes the next wait short again (SPEC RC3). */
const livedMs = (random: () => number): number => firstDelayMs + 200 * random()

/** An agent behind a line of its own, and a line for its clients. */
class Lines {
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

  static async open(world: World, name: string, bytesPerSecond?: number): Promise<Lines> {
    const [agentLine, clientLine] = await Promise.all([
      CutProxy.start(world.port, bytesPerSecond),
      CutProxy.start(world.port, bytesPerSecond),
    ])
    const env = { TRUNKLINE_GATEWAY: agentLine.url, TRUNKLINE_SECRET: world.secret }
    const lines = new Lines(world, name, await world.agent(name, [], env), agentLine, clientLine)
    opened.push(lines)
    return lines
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

type Leg = "agent" | "client" | "both"
const legs = ["client", "agent", "both"] as const
const cuts: readonly Cut[] = [
  { how: "fin" },
  { how: "rst" },
  { how: "fin", loseBytes: 0 },
  { how: "rst", loseBytes: 40_000 },
  { how: "rst", side: "peer", loseBytes: 5_000 },
]

/** How long users waited, for whoever reads the tests' output. Nothing is asserted of it. */
function report(name: string, waitsMs: readonly number[]): void {
  if (waitsMs.length === 0) return
  const sorted = waitsMs.toSorted((a, b) => a - b).map(Math.round)
  console.info(`${name}: ${sorted.length} cuts, ms to the next byte: median ${sorted[sorted.length >> 1]}, longest ${sorted.at(-1)}`)
}

/** Rejects when the process ends, which is too early for whoever asks. */
async function endOf(command: Command): Promise<never> {
  const { code, stderr } = await command.finished
  throw new Error(`ended too early with ${code}: ${stderr}`)
}

/** Resolves when the process prints more than it has by now. */
const printsMore = (command: Command): Promise<void> =>
  Promise.race([new Promise<void>((resolve) => command.child.stdout?.once("data", () => resolve())), endOf(command)])

const opened: Lines[] = []
const worlds: World[] = []
async function start(): Promise<World> {
  const world = await World.start()
  worlds.push(world)
  return world
}

let world: World
beforeAll(async () => {
  world = await start()
})
afterAll(async () => {
  await Promise.all(opened.map((lines) => lines.stop()))
  await Promise.all(worlds.map((world) => world.stop()))
})

describe.concurrent("lines that are cut", () => {
  test("20 times under 15 MB of output, on either leg and both, with lost tails: every byte arrives once, with one exit", {
    timeout: longTestMs,
  }, async () => {
    const random = seeded(1)
    const lines = await Lines.open(world, "output", 400_000)
    const command = lines.command(["exec", lines.name, "--", "seq", "1", "2000000"])
    await printsMore(command)
    for (let cut = 0; cut < 20; cut++) {
      await pause(livedMs(random))
      await lines.cut(legs[cut % legs.length] ?? "both", cuts[cut % cuts.length] ?? { how: "fin" }, () => printsMore(command))
    }
    expect(command.child.exitCode).toBe(null)
    lines.setRate(undefined)
    const { code, stdout, stderr } = await command.finished
    expect({ code, bytes: stdout.byteLength, stderr }).toEqual({ code: 0, bytes: 14_888_896, stderr: "" })
    expect(sha256(stdout)).toBe(sha256(Buffer.from(numbers(2_000_000))))
  })

  test("10 times under 3 MB of input: every byte arrives once and the command runs once", { timeout: longTestMs }, async () => {
    const random = seeded(2)
    const lines = await Lines.open(world, "input", 120_000)
    const input = randomBytes(3_000_000)
    const runs = join(world.home, "runs")
    const consumed = join(world.home, "consumed")
    const script = 'echo run >> "$0"; echo started; tee "$1" | sha256sum'
    const command = lines.command(["exec", "-i", lines.name, "--", "sh", "-c", script, runs, consumed], "pipe")
    // It is the command's end that says what happened.
    command.child.stdin?.on("error", () => {})
    command.child.stdin?.end(input)
    await command.until(({ stdout }) => stdout.includes("started"))
    const consumedBytes = async () => (await readFile(consumed)).byteLength
    const reads = async () => {
      const before = await consumedBytes()
      await world.until(async () => (await consumedBytes()) > before)
    }
    for (let cut = 0; cut < 10; cut++) {
      await pause(livedMs(random))
      await lines.cut(legs[(cut + 1) % legs.length] ?? "both", cuts[cut % cuts.length] ?? { how: "fin" }, reads)
    }
    expect(command.child.exitCode).toBe(null)
    lines.setRate(undefined)
    const { code, stdout } = await command.finished
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: `started\n${sha256(input)}  -\n` })
    expect(await readFile(runs, "utf8")).toBe("run\n")
  })

  test("9 times under somebody who types: what was typed arrives once and in order, and so does the answer", {
    timeout: longTestMs,
  }, async () => {
    const random = seeded(3)
    const lines = await Lines.open(world, "shell")
    const client = connect({ url: lines.clientLine.url, token: world.secret, dial: dialNode })
    const terminal = await client.agent(lines.name).pty.create({
      cols: 80,
      rows: 24,
      command: ["/bin/sh", "-c", 'stty -echo -onlcr; echo ready; while read -r line; do echo "got $line"; done; exit 7'],
    })
    let shown = ""
    let heard = () => {}
    const reading = (async () => {
      for await (const bytes of terminal.output) {
        shown += new TextDecoder().decode(bytes)
        heard()
      }
    })()
    lines.over = reading.then(() => {
      throw new Error(`the terminal ended before the last cut, having shown ${shown}`)
    })
    lines.over.catch(() => {})
    const shows = () =>
      new Promise<void>((resolve) => {
        heard = resolve
      })
    await shows()
    let typing = true
    let typed = 0
    const typist = (async () => {
      for (; typing; await pause(10)) await terminal.write(`line ${++typed}\n`)
      await terminal.write("\x04")
    })()
    typist.catch(() => {})
    for (let cut = 0; cut < 9; cut++) {
      await pause(livedMs(random))
      await lines.cut(legs[cut % legs.length] ?? "both", cuts[cut % cuts.length] ?? { how: "fin" }, shows)
    }
    typing = false
    await typist
    await reading
    expect(shown).toBe(`ready\n${Array.from({ length: typed }, (_, index) => `got line ${index + 1}\n`).join("")}`)
    expect((await terminal.wait()).exit).toEqual({ type: "code", code: 7 })
    client.close()
  })

  test("again while the link resumes, 10 times, 1 to 20 ms after the redial", { timeout: longTestMs }, async () => {
    const random = seeded(4)
    const lines = await Lines.open(world, "resume", 400_000)
    const command = lines.command(["exec", lines.name, "--", "seq", "1", "2000000"])
    await printsMore(command)
    for (let cut = 0; cut < 10; cut++) {
      await pause(livedMs(random))
      const which = legs[cut % legs.length] ?? "both"
      const how = cuts[cut % cuts.length] ?? { how: "fin" }
      await lines.cut(which, how, () => pause(1 + 19 * random()))
      await lines.cut(which, how, () => printsMore(command))
    }
    expect(command.child.exitCode).toBe(null)
    lines.setRate(undefined)
    const { code, stdout, stderr } = await command.finished
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(sha256(stdout)).toBe(sha256(Buffer.from(numbers(2_000_000))))
  })

  test("a line that freezes, is thawed, is cut and refuses to be dialled costs nothing but time", { timeout: longTestMs }, async () => {
    const lines = await Lines.open(world, "frozen", 600_000)
    const command = lines.command(["exec", lines.name, "--", "seq", "1", "2000000"])
    await printsMore(command)
    const dials = lines.clientLine.accepted
    for (const line of lines.lines("both")) line.freeze()
    await pause(2_000)
    for (const line of lines.lines("both")) line.thaw()
    await printsMore(command)
    expect(lines.clientLine.accepted).toBe(dials)
    for (const line of lines.lines("both")) line.refuse()
    const cut = Promise.all(lines.lines("both").map((line) => line.cut({ how: "rst", loseBytes: 10_000 })))
    await pause(2_000)
    for (const line of lines.lines("both")) line.admit()
    await cut
    await printsMore(command)
    // Only the gateway hears of this one: the agent finds out by asking.
    await pause(1_000)
    await lines.cut("agent", { how: "rst", side: "gateway" }, () => printsMore(command))
    lines.setRate(undefined)
    const { code, stdout, stderr } = await command.finished
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(sha256(stdout)).toBe(sha256(Buffer.from(numbers(2_000_000))))
  })

  test("an agent that is stopped for 10 seconds and continued loses nothing, its connection included", {
    timeout: longTestMs,
  }, async () => {
    const lines = await Lines.open(world, "stopped", 2_000_000)
    const command = lines.command(["exec", lines.name, "--", "seq", "1", "2000000"])
    await printsMore(command)
    const dials = lines.agentLine.accepted
    lines.agent.child.kill("SIGSTOP")
    // Longer than a leg that does not answer is given.
    await pause(limits.probeAfterMs + limits.probeVerdictMs + 1_000)
    lines.agent.child.kill("SIGCONT")
    const { code, stdout, stderr } = await command.finished
    expect(lines.agentLine.accepted).toBe(dials)
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(sha256(stdout)).toBe(sha256(Buffer.from(numbers(2_000_000))))
  })

  test("a gateway that is killed under output and started again on its port costs a pause", { timeout: longTestMs }, async () => {
    const mortal = await start()
    const lines = await Lines.open(mortal, "killed", 1_000_000)
    const command = lines.command(["exec", lines.name, "--", "seq", "1", "2000000"])
    await printsMore(command)
    for (let kill = 0; kill < 2; kill++) {
      await pause(firstDelayMs)
      const startMs = performance.now()
      const { port } = mortal
      mortal.gateway?.child.kill("SIGKILL")
      await mortal.gateway?.finished
      await mortal.startGateway(port)
      await printsMore(command)
      lines.waitsMs.push(performance.now() - startMs)
    }
    expect(command.child.exitCode).toBe(null)
    lines.setRate(undefined)
    const { code, stdout, stderr } = await command.finished
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(sha256(stdout)).toBe(sha256(Buffer.from(numbers(2_000_000))))
  })
})
