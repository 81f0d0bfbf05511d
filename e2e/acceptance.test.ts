/** The main job, as the first users of such a system wrote it down: healthz, serve, online, gone, back again. */
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { World } from "./world.ts"

describe("the main job", () => {
  let world: World
  beforeAll(async () => {
    world = await World.start()
  })
  afterAll(() => world.stop())

  test("the gateway answers healthz without credentials", async () => {
    const response = await fetch(new URL("/healthz", world.url))
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ ok: true })
  })

  test("an agent that serves is listed as online, and no longer when it is stopped", async () => {
    const agent = await world.agent("acceptance", ["--label", "team=build"])
    const listed = await world.run(["ls", "-o", "json"])
    expect(listed.code).toBe(0)
    expect(JSON.parse(listed.stdout.toString())).toMatchObject({
      endpoints: [{ name: "acceptance", status: "online", mode: "socket", labels: { team: "build" } }],
    })
    agent.child.kill("SIGTERM")
    expect((await agent.finished).code).toBe(0)
    await world.until(async () => (await world.endpoint("acceptance")) === undefined)
  })

  test("an agent that is killed is listed as offline, and online again when it is back", async () => {
    const agent = await world.agent("killed")
    agent.child.kill("SIGKILL")
    await world.until(async () => (await world.endpoint("killed"))?.status === "offline")
    await world.agent("killed")
  })

  test("an agent comes back by itself when the gateway was killed and started again", async () => {
    await world.agent("faithful")
    const { port } = world
    world.gateway?.child.kill("SIGKILL")
    await world.gateway?.finished
    await world.startGateway(port)
    await world.until(async () => (await world.endpoint("faithful"))?.status === "online")
    expect((await world.run(["exec", "faithful", "--", "echo", "back"])).stdout.toString()).toBe("back\n")
  })

  test("a gateway that is told to stop closes its agents with 1012 and ends at once", async () => {
    const { port } = world
    const agent = await world.agent("redials")
    world.gateway?.child.kill("SIGTERM")
    expect((await world.gateway?.finished)?.code).toBe(0)
    await agent.until(({ stderr }) => /gateway\.lost/.test(stderr))
    expect(agent.stderr).toContain("1012")
    await world.startGateway(port)
    await world.until(async () => (await world.endpoint("redials"))?.status === "online")
  })

  test("an agent without a socket is listed while its heartbeats come, beside the others", async () => {
    await world.agent("socketed")
    const heartbeat = {
      method: "PUT",
      body: JSON.stringify({ url: "http://127.0.0.1:9/", version: "9.9.9", labels: { via: "url" } }),
    }
    expect((await world.fetch("/v1/heartbeats/beating", heartbeat)).status).toBe(201)
    expect((await world.fetch("/v1/heartbeats/beating", heartbeat)).status).toBe(200)
    const { endpoints } = await world.client().endpoints.list()
    expect(
      endpoints.filter(({ name }) => ["beating", "socketed"].includes(name)).map(({ name, mode, status }) => [name, mode, status]),
    ).toEqual([
      ["beating", "tunnel-url", "online"],
      ["socketed", "socket", "online"],
    ])
    expect((await world.run(["exec", "beating", "--", "true"])).stderr).toContain("its URL at http://127.0.0.1:9 cannot be reached")
    expect((await world.client().endpoints.list({ labels: { via: "url" } })).endpoints.map(({ name }) => name)).toEqual(["beating"])
    expect((await world.fetch("/v1/heartbeats/beating", { method: "DELETE" })).status).toBe(204)
    expect(await world.endpoint("beating")).toBeUndefined()
  })
})
