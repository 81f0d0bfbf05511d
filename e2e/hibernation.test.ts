/** Idle agents cost nothing: their objects leave memory while every socket stays, and nobody notices when they come back. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { Terminal } from "@trunkline/client"
import { encodeControl, pingText, pongText } from "@trunkline/protocol"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { WebSocket } from "ws"
import { type Command, World } from "./world.ts"

/** Only Linux tells which files another process has open. */
describe.skipIf(process.platform !== "linux")("an agent, a terminal with two clients, and a detached job, all idle", () => {
  let world: World
  let agent: Command
  let terminal: Terminal
  let watcher: Command
  let typed: (key: string) => Promise<string>
  /** Sockets of an agent and its client without any code that could hide what arrives. */
  let bare: readonly WebSocket[]

  beforeAll(async () => {
    world = await World.start()
    agent = await world.agent("box")
    terminal = await world
      .client()
      .agent("box")
      .pty.create({ cols: 80, rows: 24, command: ["cat"] })
    watcher = world.command(["attach", "box", terminal.id, "--read-only"])
    await world.run(["exec", "-d", "box", "--", "sh", "-c", 'until [ -e "$0" ]; do sleep 0.1; done', join(world.home, "go")])
    const output = terminal.output.getReader()
    typed = async (key) => {
      await terminal.write(key)
      return new TextDecoder().decode((await output.read()).value)
    }
    const bareAgent = await open(world, "/ws/connect?name=bare")
    bareAgent.send(hello)
    await nextText(bareAgent)
    bare = [bareAgent, await open(world, "/v1/agents/bare/link")]
  })
  afterAll(async () => {
    await writeFile(join(world.home, "go"), "")
    for (const socket of bare) socket.terminate()
    await world.stop()
  })

  test("leave no object in memory, and pings do not bring one back", { timeout: 20_000 }, async () => {
    expect(await typed("a")).toBe("a")
    await watcher.until(({ stdout }) => stdout.includes("a"))
    expect(objectsInMemory(world)).toBeGreaterThan(0)
    // The runtime evicts an object 10 s after its last event: anything that anybody said meanwhile would keep it.
    await world.until(() => objectsInMemory(world) === 0)
    for (const socket of bare) {
      const answer = nextText(socket)
      socket.send(pingText)
      expect(await answer).toBe(pongText)
    }
    // One that was woken would stay for another 10 s.
    expect(objectsInMemory(world)).toBe(0)
  })

  test("go on at the next key as if nothing had happened: its echo comes and nobody has dialled again", async () => {
    expect(objectsInMemory(world)).toBe(0)
    expect(await typed("b")).toBe("b")
    expect(await typed("c")).toBe("c")
    await watcher.until(({ stdout }) => stdout.includes("abc"))
    expect(objectsInMemory(world)).toBe(1)
    const events = agent.stderr.match(/gateway\.connected|gateway\.lost|link\.\w+/g)
    // One link is of the command that started the job; when the agent hears of its end is its own affair.
    expect(events?.sort()).toEqual(["gateway.connected", "link.ended", "link.opened", "link.opened", "link.opened"])
  })
})

const hello = encodeControl({
  type: "hello",
  protocol: { min: 1, max: 1 },
  instance: "bare",
  version: "0.0.0",
  labels: {},
  host: { hostname: "bare", os: "linux", arch: "x64" },
})

function open(world: World, path: string): Promise<WebSocket> {
  const socket = new WebSocket(new URL(path, world.url), "trunkline.v1", { headers: { authorization: `Bearer ${world.secret}` } })
  return new Promise((resolve, reject) => socket.once("open", () => resolve(socket)).once("error", reject))
}

const nextText = (socket: WebSocket): Promise<string> =>
  new Promise((resolve) => socket.once("message", (data, binary) => resolve(binary ? "" : String(data))))

/** Agents' objects that the gateway's workerd has loaded: each keeps its database open. */
function objectsInMemory(world: World): number {
  const { workerdPid } = JSON.parse(readFileSync(join(world.home, "gateway", "running.json"), "utf8")) as { workerdPid: number }
  const folder = `/proc/${workerdPid}/fd`
  const databases = readdirSync(folder).map((descriptor) => {
    try {
      return readlinkSync(join(folder, descriptor))
    } catch {
      return "closed meanwhile"
    }
  })
  return new Set(databases.filter((file) => /\/gateway-AgentSocket\/[0-9a-f]+\.sqlite$/.test(file))).size
}
