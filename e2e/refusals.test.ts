/** What users do wrong, and what they are told. */
import { createHmac } from "node:crypto"
import { writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { WebSocket } from "ws"
import { World } from "./world.ts"

describe("refusals", () => {
  let world: World
  beforeAll(async () => {
    world = await World.start()
    await world.agent("here")
  })
  afterAll(() => world.stop())

  test("a wrong secret stops the agent and the command with a message, and is in nobody's output", async () => {
    const wrong = { TRUNKLINE_SECRET: "this-is-not-the-secret-of-anything" }
    const agent = await world.run(["serve", "--name", "intruder"], { env: wrong })
    expect(agent.code).toBe(255)
    expect(agent.stderr).toContain("secret")
    const exec = await world.run(["exec", "here", "--", "true"], { env: wrong })
    expect(exec.code).toBe(255)
    for (const output of [agent.stderr, exec.stderr]) expect(output).not.toContain(wrong.TRUNKLINE_SECRET)
  })

  test("a missing secret says where one can come from", async () => {
    const none = await world.run(["exec", "here", "--", "true"], { env: { XDG_CONFIG_HOME: join(world.home, "nothing-here") } })
    expect(none.code).not.toBe(0)
    expect(none.stderr).toContain("--secret-file")
    expect(none.stderr).toContain("TRUNKLINE_SECRET")
  })

  test("a bad name is refused with the rule", async () => {
    const bad = await world.run(["exec", "Not_A_Name", "--", "true"])
    expect(bad.code).toBe(2)
    expect(bad.stderr).toContain("a-z")
    expect((await world.run(["serve", "--name", "no spaces"])).code).toBe(2)
  })

  test("an unknown agent, one that was lost a moment ago and one that stopped are different answers", async () => {
    const unknown = await world.run(["exec", "nobody", "--", "true"])
    expect(unknown.code).toBe(255)
    expect(unknown.stderr).toContain("nobody")
    const agent = await world.agent("gone")
    agent.child.kill("SIGKILL")
    await world.until(async () => (await world.endpoint("gone"))?.status === "offline")
    const stopped = await world.agent("stopped")
    stopped.child.kill("SIGTERM")
    await stopped.finished
    const statuses = await Promise.all(
      ["nobody", "gone", "stopped"].map(async (name) => {
        const response = await world.fetch(`/v1/agents/${name}/exec`, { method: "POST", body: JSON.stringify({ argv: ["true"] }) })
        const { error } = (await response.json()) as { error: { code: string; retryable: boolean } }
        return [response.status, error.code, error.retryable]
      }),
    )
    expect(statuses).toEqual([
      [404, "agent-unknown", false],
      [503, "agent-away", true],
      [503, "agent-stopped", true],
    ])
  })

  test("an unreachable gateway is named", async () => {
    const nowhere = await world.run(["exec", "here", "--", "true"], {
      env: { TRUNKLINE_GATEWAY: "http://127.0.0.1:9", TRUNKLINE_SECRET: world.secret },
    })
    expect(nowhere.code).toBe(255)
    expect(nowhere.stderr).toContain("127.0.0.1:9")
  })

  test("a gateway on a port that is taken says so and ends", async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    const second = await world.run(["gateway", "--port", String(port), "--data", join(world.home, "other")])
    server.close()
    expect(second.code).toBe(1)
    expect(second.stderr).toContain(String(port))
  })

  test("of two agents with one name the newer wins, and the older stops for good with 4009's message", async () => {
    const first = await world.agent("twin")
    // Another machine: on this one it would take over what the first has.
    const second = world.command(["serve", "--name", "twin"], { env: { XDG_STATE_HOME: join(world.home, "other") } })
    const ended = await first.finished
    expect(ended.code).not.toBe(0)
    expect(ended.stderr).toContain("another agent took this name")
    await world.until(async () => (await world.endpoint("twin"))?.status === "online")
    expect(second.child.exitCode).toBe(null)
  })

  test("an agent's own key opens its own name and nothing else", async () => {
    const key = createHmac("sha256", world.secret).update("agent:keyed").digest("hex")
    await world.agent("keyed", [], { TRUNKLINE_SECRET: key })
    expect((await world.run(["serve", "--name", "other"], { env: { TRUNKLINE_SECRET: key } })).code).toBe(255)
    expect((await world.run(["exec", "here", "--", "true"], { env: { TRUNKLINE_SECRET: key } })).code).toBe(255)
  })

  test("a client that breaks the protocol is closed, and others on the same agent go on", async () => {
    const url = `${world.url.replace("http", "ws")}/v1/agents/here/link`
    const headers = { authorization: `Bearer ${world.secret}` }
    const bystander = world.command(["exec", "-i", "here", "--", "cat"], { stdin: "pipe" })
    bystander.child.stdin?.write("before\n")
    await bystander.until(({ stdout }) => stdout.includes("before"))
    const abuses: (string | Uint8Array)[] = ["hello gateway", new Uint8Array(3), new Uint8Array(1_100_000)]
    for (const abuse of abuses) {
      const socket = new WebSocket(url, "trunkline.v1", { headers })
      const closed = new Promise<number>((resolve) => socket.once("close", resolve))
      socket.once("open", () => socket.send(abuse))
      expect([1002, 1009]).toContain(await closed)
    }
    bystander.child.stdin?.end("after\n")
    const finished = await bystander.finished
    expect(finished.stdout.toString()).toBe("before\nafter\n")
  })

  test("the secret is in no process's arguments and in no log", async () => {
    const listing = await world.run(["exec", "here", "--", "ps", "-eww", "-o", "args"])
    expect(listing.stdout.toString()).not.toContain(world.secret)
    expect(world.gateway?.stdout.toString()).not.toContain(world.secret)
    expect(world.gateway?.stderr).not.toContain(world.secret)
  })

  test("a secret file that others can read is refused", async () => {
    const file = join(world.home, "readable")
    await writeFile(file, world.secret, { mode: 0o644 })
    const refused = await world.run(["exec", "--secret-file", file, "here", "--", "true"])
    expect(refused.code).not.toBe(0)
    expect(refused.stderr).toContain("chmod 600")
  })
})
