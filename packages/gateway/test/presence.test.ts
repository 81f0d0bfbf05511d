/** What the listing says of agents that come, drain, stop, vanish or are lost in a reset. */
import { evictAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { encodeControl, limits } from "@trunkline/protocol"
import { afterEach, describe, expect, type MockInstance, test, vi } from "vitest"
import { offlineKeptMs } from "../src/endpoint.ts"
import { Registry } from "../src/index.ts"
import { bearer, callJson, connectAgent, connectClient, freshName, listed, objectOf, openClient, refusal, upgrade } from "./peers.ts"

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const shard = (): DurableObjectStub<Registry> => env.REGISTRY.get(env.REGISTRY.idFromName("shard-0"))

const registryAway = (): MockInstance<Registry["announce"]> =>
  vi.spyOn(Registry.prototype, "announce").mockImplementation(() => {
    throw new Error("the registry is away")
  })

const setClock = (epochMs: number): void => {
  vi.useFakeTimers({ toFake: ["Date"], now: epochMs })
}

describe("an agent", () => {
  test("that is connected is listed online with what its hello said", async () => {
    const name = freshName()
    const before = Date.now()
    await connectAgent(name, { version: "4.5.6", labels: { site: "berlin" } })
    await vi.waitFor(async () => {
      const endpoint = await listed(name)
      expect(endpoint).toEqual({
        name,
        status: "online",
        mode: "socket",
        since: expect.any(Number),
        lastSeen: expect.any(Number),
        version: "4.5.6",
        labels: { site: "berlin" },
        rttMs: null,
        host: { hostname: "build-7.example", os: "linux", arch: "x64" },
      })
      expect(endpoint?.since).toBeGreaterThanOrEqual(before)
    })
  })

  test("by itself: exact presence with generation, instance and clients", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name, { instance: "one" })
    await connectClient(name, agent)
    const { status, body } = await callJson(`/v1/endpoints/${name}`, { headers: bearer })
    expect(status).toBe(200)
    expect(body).toMatchObject({ name, status: "online", mode: "socket", generation: 1, instance: "one", clients: 1, rttMs: null })
  })

  test("that says bye is gone from the listing, and its clients are closed with 1000", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const { client } = await connectClient(name, agent)
    await vi.waitFor(async () => expect(await listed(name)).toBeDefined())
    agent.send(encodeControl({ type: "bye" }))
    expect(await agent.closed).toEqual({ code: 1000, reason: "bye" })
    expect(await client.nextControl()).toMatchObject({ type: "agent-state", state: "stopped" })
    expect(await client.closed).toEqual({ code: 1000, reason: "agent stopped" })
    await vi.waitFor(async () => expect(await listed(name)).toBeUndefined())
    expect((await callJson(`/v1/endpoints/${name}`, { headers: bearer })).status).toBe(404)
  })

  test("that stopped and comes back has a higher generation", async () => {
    const name = freshName()
    const { agent, generation } = await connectAgent(name)
    agent.send(encodeControl({ type: "bye" }))
    await agent.closed
    expect((await connectAgent(name)).generation).toBe(generation + 1)
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "online" }))
  })

  test("that drains is listed so, keeps its clients, who are told, and gets no new ones", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const { client } = await connectClient(name, agent)
    agent.send(encodeControl({ type: "drain" }))
    expect(await client.nextControl()).toMatchObject({ type: "agent-state", state: "draining" })
    expect(await refusal(await upgrade(`/v1/agents/${name}/link`))).toMatchObject({ status: 503, code: "agent-draining" })
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "draining" }))
    await client.settled()
  })

  test("that vanishes is listed offline, and its clients stay and are told it is away", async () => {
    const name = freshName()
    const { agent, generation } = await connectAgent(name, { instance: "one" })
    const { client } = await connectClient(name, agent)
    agent.close(1001, "")
    await agent.closed
    expect(await client.nextControl()).toEqual({ type: "agent-state", state: "away", generation, instance: "one" })
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "offline" }))
    await connectAgent(name, { instance: "one" })
    expect(await client.nextControl()).toEqual({ type: "agent-state", state: "back", generation: generation + 1, instance: "one" })
  })

  test("whose object was hibernated is told away from gone as before", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const { client } = await connectClient(name, agent)
    await evictDurableObject(objectOf(name))
    agent.close(1001, "")
    await agent.closed
    expect(await client.nextControl()).toMatchObject({ type: "agent-state", state: "away" })
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "offline" }))
  })

  test("that has not been heard for too long is stale, and online again with its next ping", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    await vi.waitFor(async () => expect(await listed(name)).toBeDefined())
    setClock(Date.now() + limits.pingDeadMs + 1_000)
    expect(await listed(name)).toMatchObject({ status: "stale" })
    expect((await callJson(`/v1/endpoints/${name}`, { headers: bearer })).body).toMatchObject({ status: "stale" })
    vi.useRealTimers()
    await agent.settled()
    expect((await callJson(`/v1/endpoints/${name}`, { headers: bearer })).body).toMatchObject({ status: "online" })
  })

  test("that vanished a day ago is forgotten", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    agent.close(1001, "")
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "offline" }))
    setClock(Date.now() + offlineKeptMs + 1_000)
    expect(await listed(name)).toBeUndefined()
    expect((await callJson(`/v1/endpoints/${name}`, { headers: bearer })).status).toBe(404)
  })
})

describe("a reset, which delivers no close event", () => {
  test("of the object with its sockets: the listing says offline, not online", async () => {
    const name = freshName()
    await connectAgent(name)
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "online" }))
    await evictDurableObject(objectOf(name), { webSockets: "close" })
    expect((await callJson(`/v1/endpoints/${name}`, { headers: bearer })).body).toMatchObject({ status: "offline" })
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "offline" }))
  })

  test("by ctx.abort, seen by the listing when its look is older than the lease", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "online" }))
    await expect(runInDurableObject(objectOf(name), (_, ctx) => ctx.abort("reset"))).rejects.toThrow()
    expect((await agent.closed).code).toBe(1006)
    setClock(Date.now() + limits.pingDeadMs + 1_000)
    expect(await listed(name)).toMatchObject({ status: "offline" })
  })

  test("of everything at once: the registry has lost what it saw, and asks", async () => {
    const name = freshName()
    await connectAgent(name)
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "online" }))
    await evictAllDurableObjects({ webSockets: "close" })
    expect(await listed(name)).toMatchObject({ status: "offline" })
  })

  test("clients find the agent away, and it comes back with a higher generation", async () => {
    const name = freshName()
    const { generation } = await connectAgent(name)
    await evictDurableObject(objectOf(name), { webSockets: "close" })
    const client = await openClient(name)
    expect(await client.nextControl()).toMatchObject({ type: "ready", agent: "away", generation })
    expect((await connectAgent(name)).generation).toBe(generation + 1)
    expect(await client.nextControl()).toMatchObject({ state: "back", generation: generation + 1 })
  })
})

describe("with the registry away", () => {
  test("an agent connects and serves clients at once; the registry is told later by an alarm", async () => {
    const name = freshName()
    const announce = registryAway()
    const { agent } = await connectAgent(name)
    await connectClient(name, agent)
    await vi.waitFor(async () => {
      expect(await runInDurableObject(objectOf(name), (_, ctx) => ctx.storage.getAlarm())).toBeGreaterThan(Date.now())
    })
    expect(await listed(name)).toBeUndefined()
    announce.mockRestore()
    await runDurableObjectAlarm(objectOf(name))
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "online" }))
  })

  test("a change that could not be told is told with the next event, also after hibernation", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const client = await openClient(name)
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "online" }))
    const announce = registryAway()
    agent.send(encodeControl({ type: "drain" }))
    await vi.waitFor(() => expect(announce).toHaveBeenCalled())
    announce.mockRestore()
    await evictDurableObject(objectOf(name))
    client.close()
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ status: "draining" }))
  })
})

test("the registry keeps the newest revision, whatever order announcements arrive in", async () => {
  const name = freshName()
  const record = {
    name,
    generation: 1,
    revision: 5,
    state: "draining",
    since: 1,
    lastSeen: 1,
    instance: "i",
    version: "1",
    labels: {},
    host: { hostname: "h", os: "linux", arch: "x64" },
  } as const
  await shard().announce(record)
  await shard().announce({ ...record, revision: 4, state: "online" })
  await shard().announce({ ...record, revision: 3, state: "stopped" })
  expect(await shard().known([name, "nobody"])).toEqual([name])
  const page = await shard().list({ after: "", limit: 1_000, labels: {}, others: [] })
  expect(page.endpoints.find((endpoint) => endpoint.name === name)).toMatchObject({ status: "draining" })
  await shard().announce({ ...record, revision: 6, state: "stopped", since: Date.now() })
  const after = await shard().list({ after: "", limit: 1_000, labels: {}, others: [name] })
  expect(after.endpoints.map((endpoint) => endpoint.name)).not.toContain(name)
  expect(after.connectedOthers).toEqual([])
  // Its object can still say that it stopped, for a day.
  expect(await shard().known([name])).toEqual([name])
  setClock(Date.now() + offlineKeptMs + 1_000)
  expect(await shard().known([name])).toEqual([])
})

test("the registry counts endpoints by state", async () => {
  const before = await shard().counts()
  const { agent } = await connectAgent(freshName())
  await connectAgent(freshName())
  await vi.waitFor(async () => expect((await shard().counts()).online).toBe(before.online + 2))
  agent.send(encodeControl({ type: "drain" }))
  await vi.waitFor(async () => {
    expect(await shard().counts()).toEqual({ ...before, online: before.online + 1, draining: before.draining + 1 })
  })
})
