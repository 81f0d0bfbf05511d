/**
 * What goes down under everything at once: the gateway, its process, an agent's object in it, `serve`, the keeper, and two at a
 * time. Users see a pause. `TRUNKLINE_STOPPED_SECONDS=30` stops processes for longer than the 12 s that CI has.
 */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { firstDelayMs } from "@trunkline/protocol"
import { build } from "esbuild"
import { expect, onTestFinished, test } from "vitest"
import { startGateway } from "../packages/agent-cli/src/gateway-local/gateway-process.ts"
import { BusyAgent } from "./busy-agent.ts"
import { World } from "./world.ts"

/** Longer than a leg that does not answer is given. */
const stoppedMs = 1_000 * Number(process.env.TRUNKLINE_STOPPED_SECONDS ?? 12)
const timeout = 120_000 + 2 * stoppedMs

/** The gateway, and a way to have an object reset as the platform does when it moves one. */
const gatewayThatAborts = `
import gateway, { AgentSocket as Socket, Registry } from "./dist/gateway.js"

export { Registry }
export class AgentSocket extends Socket {
  reset() {
    this.ctx.abort("reset by a test")
  }
}
export default {
  async fetch(request, env, ctx) {
    const [, verb, name] = new URL(request.url).pathname.split("/")
    if (verb !== "abort") return gateway.fetch(request, env, ctx)
    const answer = await env.AGENT.get(env.AGENT.idFromName(name)).reset().catch(String)
    return new Response(answer)
  },
}
`

async function start(): Promise<World> {
  const world = await World.start()
  onTestFinished(() => world.stop())
  return world
}

/** Resolves when its process has ended. */
async function killWorkerd(world: World): Promise<void> {
  const { workerdPid } = JSON.parse(await readFile(join(world.home, "gateway", "running.json"), "utf8")) as { workerdPid: number }
  process.kill(workerdPid, "SIGKILL")
  const { code } = (await world.gateway?.finished) ?? {}
  expect(code).not.toBe(0)
}

async function killGateway(world: World): Promise<void> {
  world.gateway?.child.kill("SIGKILL")
  await world.gateway?.finished
}

test("kill -9 of workerd, then of the whole gateway, each started again, is a pause", { timeout }, async () => {
  const world = await start()
  const busy = await BusyAgent.start(world, "box")
  const { port } = world
  for (const [word, kill] of [
    ["workerd", killWorkerd],
    ["gateway", killGateway],
  ] as const) {
    await pause(firstDelayMs)
    await kill(world)
    await busy.type(word)
    await world.startGateway(port)
    await busy.goesOn()
  }
  await busy.endsWell()
})

test("kill -9 of serve, at the moment of a client's cut too, and of the gateway's death, is a pause", { timeout }, async () => {
  const world = await start()
  const busy = await BusyAgent.start(world, "box")
  const { port } = world
  const accidents: readonly (readonly [string, () => Promise<unknown>, () => Promise<void>])[] = [
    ["serve", () => busy.killServe(), async () => {}],
    ["serve-and-line", () => Promise.all([busy.killServe(), busy.clientLine.cut({ how: "rst", loseBytes: 10_000 })]), async () => {}],
    ["serve-and-gateway", () => Promise.all([busy.killServe(), killGateway(world)]), () => world.startGateway(port)],
  ]
  for (const [word, accident, repair] of accidents) {
    await pause(firstDelayMs)
    await accident()
    await busy.type(word)
    await repair()
    await busy.serve()
    await busy.goesOn()
  }
  await busy.endsWell()
})

test(`serve, the keeper, or both, stopped for ${stoppedMs / 1_000} s and continued, are a pause`, { timeout }, async () => {
  const world = await start()
  const agents = await Promise.all(["serve-stops", "keeper-stops", "both-stop"].map((name) => BusyAgent.start(world, name)))
  const [serve = 0, , both = 0] = agents.map(({ servePid }) => servePid)
  const stopped = [serve, await world.keeper("keeper-stops"), both, await world.keeper("both-stop")]
  for (const pid of stopped) process.kill(pid, "SIGSTOP")
  for (let typed = 0; typed < 5; typed++) {
    for (const agent of agents) await agent.type(`stopped-${typed}`)
    await pause(stoppedMs / 5)
  }
  for (const pid of stopped) process.kill(pid, "SIGCONT")
  await Promise.all(agents.map((agent) => agent.goesOn()))
  await Promise.all(agents.map((agent) => agent.endsWell()))
})

test("ctx.abort() of an agent's object, which closes its sockets and tells it nothing, is a pause", { timeout }, async () => {
  const world = await start()
  const { port, home } = world
  world.gateway?.child.kill("SIGTERM")
  await world.gateway?.finished
  const bundle = join(home, "gateway-that-aborts.js")
  await build({
    stdin: { contents: gatewayThatAborts, resolveDir: fileURLToPath(new URL("../packages/gateway", import.meta.url)) },
    bundle: true,
    format: "esm",
    target: "es2024",
    external: ["cloudflare:workers"],
    outfile: bundle,
  })
  const gateway = await startGateway({ bundle, port, dataDirectory: join(home, "gateway") })
  onTestFinished(() => gateway.stop())
  const busy = await BusyAgent.start(world, "box")
  for (const word of ["aborted", "again"]) {
    await pause(firstDelayMs)
    const { connections } = busy
    expect(await (await fetch(`${gateway.url}/abort/box`)).text()).toContain("reset by a test")
    await busy.type(word)
    await busy.goesOn()
    expect(busy.connections).toBe(connections + 1)
  }
  await busy.endsWell()
})
