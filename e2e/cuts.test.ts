/** Real lines that fail under real commands: every byte arrives once and in order, every command runs once, and the wait is short. */
import { setTimeout as pause } from "node:timers/promises"
import { firstDelayMs, limits } from "@trunkline/protocol"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { cuts, type Leg, Lines, livedMs, numbers, printsMore, seeded, sha256 } from "./lines.ts"
import { World } from "./world.ts"

/** Milliseconds: most of it is waiting for redials, which are random and real. */
const longTestMs = 120_000

const legs: readonly Leg[] = ["client", "agent", "both"]

const opened: Lines[] = []
async function open(world: World, name: string, bytesPerSecond?: number): Promise<Lines> {
  const lines = await Lines.open(world, name, bytesPerSecond)
  opened.push(lines)
  return lines
}
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
  test("are cut again while the link resumes, 10 times, 1 to 20 ms after the redial", { timeout: longTestMs }, async () => {
    const random = seeded(4)
    const lines = await open(world, "resume", 400_000)
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
    const lines = await open(world, "frozen", 600_000)
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
    const lines = await open(world, "stopped", 2_000_000)
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
    const lines = await open(mortal, "killed", 1_000_000)
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
