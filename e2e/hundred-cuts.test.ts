/**
 * Lines that are cut again and again under the same command: every byte of either direction arrives once and in order, and the
 * command runs once. 15 cuts of each of three streams in about 40 s; `TRUNKLINE_CUTS=100` makes it the hundred of the promise, or any
 * other number, at about two seconds a cut.
 */
import { randomBytes } from "node:crypto"
import { readFile, stat } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { connect } from "@trunkline/client"
import { dialNode } from "@trunkline/client/node"
import { limits } from "@trunkline/protocol"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { cuts, type Leg, Lines, livedMs, numbers, printsMore, seeded, sha256 } from "./lines.ts"
import { World } from "./world.ts"

const cutCount = Number(process.env.TRUNKLINE_CUTS ?? 15)
/** Milliseconds: most of it is waiting for redials, which are random and real. */
const timeout = 60_000 + 6_000 * cutCount
/** Bytes a second at which so many bytes outlast the cuts: each cut leaves a line at least a second. */
const outlasting = (bytes: number): number => (0.6 * bytes) / (1.2 * cutCount)
/** An agent that is back more often than this makes its clients dial as well (SPEC GW10), which `cuts.test.ts` has. */
const agentCutEveryMs = limits.flapWindowMs / limits.flapReconnectsMax + 1_000
/** Of so many cuts one is followed by a line that says nothing for a while. */
const freezeEvery = 8
/** Milliseconds: long enough to be noticed by a person, too short for anybody to give up the line. */
const frozenMs = 1_500

let world: World
const opened: Lines[] = []
async function open(name: string, bytesPerSecond?: number): Promise<Lines> {
  const lines = await Lines.open(world, name, bytesPerSecond)
  // What a slow line still holds of a connection that is gone at its other end would have to pass before anything new.
  lines.agentLine.setRate(undefined)
  opened.push(lines)
  return lines
}

beforeAll(async () => {
  world = await World.start()
})
afterAll(async () => {
  await Promise.all(opened.map((lines) => lines.stop()))
  await world.stop()
})

/** Cuts so often. `progress` resolves when something has come that had not when it was called. */
async function cutOften(lines: Lines, seed: number, progress: () => Promise<void>): Promise<void> {
  const random = seeded(seed)
  let agentCutAtMs = 0
  let agentCuts = 0
  for (let cut = 0; cut < cutCount; cut++) {
    await pause(livedMs(random))
    if (cut % freezeEvery === freezeEvery - 1) {
      const frozen = lines.lines(random() < 0.5 ? "both" : "client")
      for (const line of frozen) line.freeze()
      await pause(frozenMs)
      for (const line of frozen) line.thaw()
      await progress()
    }
    let which: Leg = "client"
    if (performance.now() - agentCutAtMs > agentCutEveryMs) {
      agentCutAtMs = performance.now()
      agentCuts += 1
      which = agentCuts % 2 === 0 ? "both" : "agent"
    }
    await lines.cut(which, cuts[cut % cuts.length] ?? { how: "fin" }, progress)
  }
  lines.setRate(undefined)
}

describe.concurrent(`${cutCount} cuts`, () => {
  test("under 38.9 MB of output: every byte arrives once, with the exit code", { timeout }, async () => {
    const lines = await open("output", outlasting(38_888_896))
    const runs = join(world.home, "output-runs")
    const script = 'echo run >> "$0"; seq 1 5000000; exit 3'
    const command = lines.command(["exec", lines.name, "--", "sh", "-c", script, runs])
    await printsMore(command)
    await cutOften(lines, 1, () => printsMore(command))
    expect(command.child.exitCode).toBe(null)
    const { code, stdout, stderr } = await command.finished
    expect({ code, bytes: stdout.byteLength, stderr }).toEqual({ code: 3, bytes: 38_888_896, stderr: "" })
    expect(sha256(stdout)).toBe(sha256(Buffer.from(numbers(5_000_000))))
    expect(await readFile(runs, "utf8")).toBe("run\n")
  })

  test("under 5 MB of input and more: every byte arrives once, and the command runs once", { timeout }, async () => {
    // A message of a slow line would take longer than the line lives.
    const input = randomBytes(Math.max(5_000_000, 200_000 * cutCount))
    const lines = await open("input", outlasting(input.byteLength))
    const runs = join(world.home, "input-runs")
    const consumed = join(world.home, "consumed")
    const script = 'echo run >> "$0"; echo started; tee "$1" | sha256sum; exit 4'
    const command = lines.command(["exec", "-i", lines.name, "--", "sh", "-c", script, runs, consumed], "pipe")
    // It is the command's end that says what happened.
    command.child.stdin?.on("error", () => {})
    command.child.stdin?.end(input)
    await command.until(({ stdout }) => stdout.includes("started"))
    const consumedBytes = async () => (await stat(consumed)).size
    await cutOften(lines, 2, async () => {
      const before = await consumedBytes()
      await world.until(async () => (await consumedBytes()) > before)
    })
    expect(command.child.exitCode).toBe(null)
    const { code, stdout, stderr } = await command.finished
    expect({ code, stdout: stdout.toString(), stderr }).toEqual({ code: 4, stdout: `started\n${sha256(input)}  -\n`, stderr: "" })
    expect(await readFile(runs, "utf8")).toBe("run\n")
  })

  test("under a terminal in which somebody types: the keys arrive once and in order, and so do their echoes", { timeout }, async () => {
    const lines = await open("terminal")
    const keys = join(world.home, "keys")
    const client = connect({ url: lines.clientLine.url, token: world.secret, dial: dialNode })
    const terminal = await client.agent(lines.name).pty.create({
      cols: 80,
      rows: 24,
      command: ["/bin/sh", "-c", 'stty raw -echo; echo ready; sed -u /^end$/q | tee "$0"; exit 5', keys],
    })
    let shown = ""
    let heard = () => {}
    const reading = (async () => {
      const decoder = new TextDecoder()
      for await (const bytes of terminal.output) {
        shown += decoder.decode(bytes, { stream: true })
        heard()
      }
    })()
    lines.over = reading.then(() => {
      throw new Error(`the terminal ended before the last cut, having shown ${shown.slice(-1_000)}`)
    })
    lines.over.catch(() => {})
    const shows = () =>
      new Promise<void>((resolve) => {
        heard = resolve
      })
    await shows()
    let typed = ""
    let typing = true
    const typist = (async () => {
      for (let count = 0; typing; count++, await pause(5)) {
        const line = `${count} grüße\n`
        typed += line
        await terminal.write(line)
      }
    })()
    typist.catch(() => {})
    await cutOften(lines, 3, shows)
    typing = false
    await typist
    await terminal.write("end\n")
    await reading
    expect((await terminal.wait()).exit).toEqual({ type: "code", code: 5 })
    expect(sha256(await readFile(keys))).toBe(sha256(Buffer.from(`${typed}end\n`)))
    expect(sha256(Buffer.from(shown))).toBe(sha256(Buffer.from(`ready\n${typed}end\n`)))
    client.close()
  })
})
