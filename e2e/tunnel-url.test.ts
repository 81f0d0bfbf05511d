/** Agents that listen, something that publishes them at a URL, and the gateway that comes to it: alone, and beside a socket. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as pause } from "node:timers/promises"
import { firstDelayMs } from "@trunkline/protocol"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { CutProxy } from "./cut-proxy.ts"
import { freePort } from "./free-port.ts"
import { cuts, livedMs, numbers, printsMore, seeded, sha256 } from "./lines.ts"
import { type Command, World } from "./world.ts"

/** Milliseconds: most of it is waiting for redials, which are random and real. */
const longTestMs = 120_000
const bytesPerSecond = 1_500_000
const last = 1_500_000

let world: World
beforeAll(async () => {
  world = await World.start()
})
afterAll(() => world.stop())

interface Published {
  readonly agent: Command
  /** Where the agent listens. */
  readonly port: number
  /** What is between the gateway and the agent. */
  readonly line: CutProxy
}

/** An agent at the URL of a line to it. */
async function publish(name: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}, at = world): Promise<Published> {
  const port = await freePort()
  const line = await CutProxy.start(port, bytesPerSecond)
  const agent = await at.agent(name, ["--tunnel-url", line.url, "--listen", `127.0.0.1:${port}`, ...args], env)
  onTestFinished(async () => {
    agent.child.kill("SIGKILL")
    await line.stop()
  })
  return { agent, port, line }
}

const count = (name: string, at = world): Command => at.command(["exec", name, "--", "seq", "1", String(last)])

async function countedAll(command: Command, line: CutProxy): Promise<void> {
  line.setRate(undefined)
  const { code, stdout, stderr } = await command.finished
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
  expect(sha256(stdout)).toBe(sha256(Buffer.from(numbers(last))))
}

/** What an HTTP caller hears who wants to run something. */
async function refusedBy(name: string): Promise<{ status: number; code: string; message: string; retryable: boolean }> {
  const response = await world.fetch(`/v1/agents/${name}/exec`, { method: "POST", body: JSON.stringify({ argv: ["true"] }) })
  const { error } = (await response.json()) as { error: { code: string; message: string; retryable: boolean } }
  return { status: response.status, ...error }
}

describe("an agent at a URL", () => {
  test("runs commands and terminals for the CLI, the SDK and HTTP callers, and has no socket", async () => {
    const { line } = await publish("plain")
    expect(await world.endpoint("plain")).toMatchObject({ status: "online", mode: "tunnel-url" })
    const piped = await world.run(["exec", "-i", "plain", "--", "sh", "-c", "cat; echo err >&2; exit 3"], { input: "in\n" })
    expect([piped.code, piped.stdout.toString(), piped.stderr]).toEqual([3, "in\n", "err\n"])
    const terminal = await world
      .client()
      .agent("plain")
      .pty.create({ cols: 80, rows: 24, command: ["sh"] })
    await terminal.write("echo $((6 * 7)); exit\n")
    let shown = ""
    for await (const bytes of terminal.output) shown += Buffer.from(bytes).toString()
    expect(shown).toContain("42")
    const response = await world.fetch("/v1/agents/plain/exec", { method: "POST", body: JSON.stringify({ argv: ["echo", "over http"] }) })
    expect(await response.json()).toMatchObject({ exitCode: 0, stdout: "over http\n" })
    expect(line.accepted).toBeGreaterThanOrEqual(3)
    const shows = await world.run(["info", "plain"])
    expect(shows.stdout.toString()).toMatch(/mode +tunnel-url[\s\S]*link round trip +\d/)
    expect((await world.run(["ls"])).stdout.toString()).toMatch(/plain +online +tunnel-url/)
  })

  test("serves HTTP through the gateway", async () => {
    const server = createServer((request, response) => response.end(`${request.method} ${request.url}`)).listen(0, "127.0.0.1")
    onTestFinished(() => void server.close())
    await publish("web")
    const { port } = server.address() as AddressInfo
    const response = await world.fetch(`/v1/agents/web/http/${port}/some/where?a=b`, { method: "PUT", body: "body" })
    expect([response.status, await response.text()]).toEqual([200, "PUT /some/where?a=b"])
  })

  test("loses nothing when the line that publishes it is cut, in every way", { timeout: longTestMs }, async () => {
    const { line } = await publish("cut")
    const command = count("cut")
    await printsMore(command)
    const random = seeded(7)
    for (const how of cuts) {
      await pause(livedMs(random))
      const dialled = line.next()
      await line.cut(how)
      await dialled
      await printsMore(command)
    }
    await countedAll(command, line)
  })

  test("loses nothing when the gateway is killed, and when serve is", { timeout: longTestMs }, async () => {
    const mortal = await World.start()
    onTestFinished(() => mortal.stop())
    const { agent, port, line } = await publish("killed", [], {}, mortal)
    const command = count("killed", mortal)
    await printsMore(command)
    await pause(firstDelayMs)
    const gatewayPort = mortal.port
    mortal.gateway?.child.kill("SIGKILL")
    await mortal.gateway?.finished
    await mortal.startGateway(gatewayPort)
    await printsMore(command)
    await pause(firstDelayMs)
    agent.child.kill("SIGKILL")
    await agent.finished
    mortal.command(["serve", "--name", "killed", "--tunnel-url", line.url, "--listen", `127.0.0.1:${port}`])
    await printsMore(command)
    await countedAll(command, line)
  })

  test("that stops ends what runs with the reason, and is gone from the listing", async () => {
    const { agent } = await publish("stops", ["--grace-period", "100ms"])
    const command = world.command(["exec", "stops", "--", "sh", "-c", "echo up; sleep 60"])
    await command.until(({ stdout }) => stdout.includes("up"))
    agent.child.kill("SIGTERM")
    const [{ code, stderr }, stopped] = await Promise.all([command.finished, agent.finished])
    expect([code, stopped.code]).toEqual([255, 0])
    expect(stderr).toContain("the agent was stopped")
    expect(await world.endpoint("stops")).toBeUndefined()
    expect(await refusedBy("stops")).toMatchObject({ status: 404, code: "agent-unknown" })
  })

  test("that is down, or frozen, is a typed error, and its record says how it was", async () => {
    const { agent, line } = await publish("down")
    line.freeze()
    const frozen = await refusedBy("down")
    expect(frozen).toMatchObject({ status: 503, code: "agent-offline", retryable: true })
    expect(frozen.message).toContain(`${line.url} did not answer within 5 seconds`)
    line.thaw()
    agent.child.kill("SIGKILL")
    await agent.finished
    const down = await world.run(["exec", "down", "--", "true"])
    expect([down.code, down.stdout.toString()]).toEqual([255, ""])
    expect(down.stderr).toContain(line.url)
    const { status, mode, lastSeen = 0 } = (await world.endpoint("down")) ?? {}
    expect([status, mode, lastSeen <= Date.now()]).toEqual(["online", "tunnel-url", true])
  })

  test("of another gateway, or of another name, is no agent of ours", async () => {
    const { port } = await publish("ours")
    const stranger = world.command(["serve", "--name", "stranger", "--no-tunnel", "--listen", "127.0.0.1:0"], {
      env: { TRUNKLINE_SECRET: "another-secret" },
    })
    await stranger.until(({ stderr }) => stderr.includes("direct.listening"))
    const at = /"url":"(http:[^"]+)"/.exec(stranger.stderr)?.[1]
    const register = (name: string, url: string | undefined) =>
      world.fetch(`/v1/heartbeats/${name}`, { method: "PUT", body: JSON.stringify({ url, version: "1" }) })
    await register("stranger", at)
    await register("alias", `http://127.0.0.1:${port}`)
    await register("itself", world.url)
    expect(await refusedBy("stranger")).toMatchObject({
      code: "agent-offline",
      message: expect.stringContaining("given this gateway's secret"),
    })
    expect(await refusedBy("alias")).toMatchObject({
      code: "agent-offline",
      message: expect.stringContaining("given this gateway's secret"),
    })
    expect(await refusedBy("itself")).toMatchObject({ code: "agent-offline" })
    stranger.child.kill("SIGTERM")
    await stranger.finished
  })

  test("whose credential the gateway does not take stops with the reason", async () => {
    const port = await freePort()
    const args = ["serve", "--name", "wrong", "--tunnel-url", "http://127.0.0.1:9", "--listen", `127.0.0.1:${port}`]
    const { code, stderr } = await world.run(args, { env: { TRUNKLINE_SECRET: "this-is-not-the-secret" } })
    expect(code).toBe(255)
    expect(stderr).toContain("stopped, because the gateway refuses this agent")
    expect(stderr).not.toContain("this-is-not-the-secret")
  })

  test("registers again when the gateway was away", async () => {
    const line = await CutProxy.start(world.port)
    onTestFinished(() => line.stop())
    line.refuse()
    const port = await freePort()
    const agent = world.command(["serve", "--name", "late", "--tunnel-url", "http://127.0.0.1:9", "--listen", `127.0.0.1:${port}`], {
      env: { TRUNKLINE_GATEWAY: line.url, TRUNKLINE_SECRET: world.secret },
    })
    await agent.until(({ stderr }) => stderr.includes("heartbeat.failed"))
    expect(await world.endpoint("late")).toBeUndefined()
    line.admit()
    await agent.until(({ stderr }) => stderr.includes("heartbeat.registered"))
    expect(await world.endpoint("late")).toMatchObject({ status: "online", mode: "tunnel-url" })
  })
})

describe("an agent with a URL and a socket", () => {
  test("is reached over the socket, over the URL while that is away, and over the socket again", { timeout: longTestMs }, async () => {
    const socketLine = await CutProxy.start(world.port, bytesPerSecond)
    onTestFinished(() => socketLine.stop())
    const env = { TRUNKLINE_GATEWAY: socketLine.url, TRUNKLINE_SECRET: world.secret }
    const { line, agent } = await publish("both", ["--with-socket"], env)
    await agent.until(({ stderr }) => stderr.includes("gateway.connected") && stderr.includes("heartbeat.registered"))
    const command = count("both")
    await printsMore(command)
    expect(line.accepted).toBe(0)

    socketLine.refuse()
    await socketLine.cut({ how: "rst", loseBytes: 40_000 })
    await line.next()
    await printsMore(command)
    expect(await world.endpoint("both")).toMatchObject({ status: "online", mode: "tunnel-url" })

    socketLine.admit()
    await world.until(async () => (await world.endpoint("both"))?.mode === "socket")
    // What runs over the URL stays there; what comes now does not.
    const accepted = line.accepted
    expect((await world.run(["exec", "both", "--", "echo", "over the socket"])).stdout.toString()).toBe("over the socket\n")
    expect(line.accepted).toBe(accepted)
    await printsMore(command)
    line.refuse()
    await line.cut({ how: "rst", loseBytes: 40_000 })
    await printsMore(command)
    expect(command.child.exitCode).toBe(null)
    await countedAll(command, socketLine)
    expect(line.accepted).toBe(accepted)
  })

  test("stops on both at once", async () => {
    const { agent } = await publish("leaves", ["--with-socket"])
    await agent.until(({ stderr }) => stderr.includes("gateway.connected") && stderr.includes("heartbeat.registered"))
    agent.child.kill("SIGTERM")
    expect((await agent.finished).code).toBe(0)
    expect(await world.endpoint("leaves")).toBeUndefined()
    expect(await refusedBy("leaves")).toMatchObject({ code: "agent-stopped" })
  })
})
