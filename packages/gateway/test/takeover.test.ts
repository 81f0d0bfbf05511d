/** Who the agent is: newest wins, older sockets are nobody, and what a socket may do before its hello. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { encodeControl, limits } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { bodyOf, connectAgent, connectClient, data, dialAgent, freshName, hello, listed, objectOf } from "./peers.ts"

/** Makes the waiting socket what an earlier connection of that generation left: displaced, and still open at both ends. */
async function displace(name: string, generation: number): Promise<void> {
  await runInDurableObject(objectOf(name), (_, ctx) => {
    const waiting = ctx.getWebSockets("agent").find((socket) => socket.deserializeAttachment().type === "pending")
    waiting?.serializeAttachment({ v: 1, type: "agent", generation, nextSlot: 1 })
  })
  // The object reads attachments once per wake.
  await evictDurableObject(objectOf(name))
}

describe("a second connection of one agent", () => {
  test("[GW4] wins at once, and the first is closed with 1012, after which an agent dials again: it may have been the late one", async () => {
    const name = freshName()
    const first = await connectAgent(name, { instance: "the same" })
    const second = await connectAgent(name, { instance: "the same" })
    expect(await first.agent.closed).toEqual({ code: 1012, reason: "replaced by another connection of this agent" })
    expect(second.generation).toBe(2)
  })
})

describe("a second agent under one name", () => {
  test("wins at once, and the first is closed with the final 4009", async () => {
    const name = freshName()
    const first = await connectAgent(name)
    const second = await connectAgent(name)
    expect(await first.agent.closed).toEqual({ code: 4009, reason: "replaced by a newer agent" })
    const { client, slot } = await connectClient(name, second.agent)
    second.agent.send(data(slot, "from the second"))
    expect(bodyOf(await client.nextData())).toBe("from the second")
  })

  test("gets the clients of the first, and they are told it is back with its generation and instance", async () => {
    const name = freshName()
    const first = await connectAgent(name)
    const { client } = await connectClient(name, first.agent)
    const second = await connectAgent(name, { instance: "the-second" })
    const attached = await second.agent.nextControl()
    expect(attached).toMatchObject({ type: "attached", principal: { id: "gateway" } })
    expect(await client.nextControl()).toEqual({
      type: "agent-state",
      state: "back",
      generation: second.generation,
      instance: "the-second",
    })
    client.send(data(0, "to the second"))
    expect(bodyOf(await second.agent.nextData())).toBe("to the second")
    // A slot that is taken is not given to the next client.
    expect((await connectClient(name, second.agent)).slot).not.toBe(attached.type === "attached" && attached.slot)
  })

  test("is not touched by late messages and the close of the displaced socket", async () => {
    const name = freshName()
    const first = await connectAgent(name)
    const { client, slot } = await connectClient(name, first.agent)
    const displaced = await dialAgent(name)
    const second = await connectAgent(name)
    await second.agent.nextControl()
    await client.nextControl()
    await displace(name, first.generation)
    displaced.send(data(slot, "late"))
    displaced.send(encodeControl({ type: "detach", slot, code: 1000, reason: "late" }))
    displaced.send(encodeControl({ type: "bye" }))
    displaced.close(1001, "late")
    expect(await displaced.closed).toEqual({ code: 1001, reason: "late" })
    await second.agent.settled()
    await client.settled()
    expect(await listed(name)).toMatchObject({ status: "online" })
  })

  test("does not start a duel: each connection displaces one older one and no newer one", async () => {
    const name = freshName()
    const agents = []
    for (let count = 0; count < 5; count += 1) agents.push((await connectAgent(name)).agent)
    const newest = agents.pop()
    const codes = await Promise.all(agents.map(async (agent) => (await agent.closed).code))
    expect(codes).toEqual([4009, 4009, 4009, 4009])
    await newest?.settled()
  })

  test("is the one chosen after a wake, not an older one that is still listed as open", async () => {
    const name = freshName()
    const first = await connectAgent(name)
    await dialAgent(name)
    const second = await connectAgent(name)
    const { client } = await connectClient(name, second.agent)
    await displace(name, first.generation)
    client.send(data(0, "who is it"))
    expect(bodyOf(await second.agent.nextData())).toBe("who is it")
  })
})

test("a closing socket is never chosen, although the runtime still lists it", async () => {
  const name = freshName()
  await connectAgent(name)
  await runInDurableObject(objectOf(name), (instance, ctx) => {
    const [agent] = ctx.getWebSockets("agent")
    agent?.close(1000, "half closed")
    expect(ctx.getWebSockets("agent").map((socket) => socket.readyState)).toEqual([WebSocket.CLOSING])
    expect(instance.presence()).toMatchObject({ status: "offline" })
  })
})

describe("with takeover refused", () => {
  beforeEach(() => {
    Object.assign(env, { TAKEOVER: "reject" })
  })
  afterEach(() => {
    vi.useRealTimers()
    Object.assign(env, { TAKEOVER: "replace" })
  })

  test("another instance is closed with the final 4010, and the holder stays", async () => {
    const name = freshName()
    const holder = await connectAgent(name, { instance: "holder" })
    const other = await dialAgent(name)
    other.send(hello({ instance: "other" }))
    expect(await other.closed).toEqual({ code: 4010, reason: `"${name}" is held by another live agent` })
    await holder.agent.settled()
  })

  test("the same instance takes its own name back", async () => {
    const name = freshName()
    const holder = await connectAgent(name, { instance: "holder" })
    const again = await connectAgent(name, { instance: "holder" })
    expect(again.generation).toBe(2)
    expect((await holder.agent.closed).code).toBe(1012)
  })

  test("another instance takes the name from one that has not been heard for too long", async () => {
    const name = freshName()
    const holder = await connectAgent(name, { instance: "holder" })
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + limits.pingDeadMs + 1_000 })
    await connectAgent(name, { instance: "other" })
    expect((await holder.agent.closed).code).toBe(4009)
  })
})

describe("before its hello", () => {
  test("a socket is not the agent: the one before stays", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const silent = await dialAgent(name)
    await silent.settled()
    await connectClient(name, agent)
  })

  test("anything else than a hello closes the socket with 1002", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const drains = await dialAgent(name)
    drains.send(encodeControl({ type: "drain" }))
    expect(await drains.closed).toEqual({ code: 1002, reason: "the first message must be a hello" })
    const sends = await dialAgent(name)
    sends.send(data(1, "early"))
    expect((await sends.closed).code).toBe(1002)
    const garbles = await dialAgent(name)
    garbles.send("{")
    expect((await garbles.closed).code).toBe(1002)
    await agent.settled()
  })

  test("a hello of no common version closes the socket with the final 4026, and the agent before stays", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const newer = await dialAgent(name)
    newer.send(hello({ protocol: { min: 2, max: 3 } }))
    expect(await newer.closed).toEqual({ code: 4026, reason: "the gateway speaks protocol 1, this agent 2 to 3" })
    await agent.settled()
  })

  test("a hello that starts above version 1 and one that reaches it are told apart", async () => {
    const { agent } = await connectAgent(freshName(), { protocol: { min: 0, max: 7 } })
    await agent.settled()
  })

  test("only four sockets may wait; the oldest is closed", async () => {
    const name = freshName()
    const waiting = []
    for (let count = 0; count < 5; count += 1) waiting.push(await dialAgent(name))
    expect(await waiting[0]?.closed).toEqual({ code: 4029, reason: "too many connections without a hello" })
    for (const socket of waiting.slice(1)) await socket.settled()
  })
})
