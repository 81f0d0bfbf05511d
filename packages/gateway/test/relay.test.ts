/** The switch as its peers see it: attach, data both ways, detach, and what hibernation may not change. */
import { evictDurableObject } from "cloudflare:test"
import { encodeControl, limits, linkHeaderBytes, readSlot } from "@trunkline/protocol"
import { describe, expect, test } from "vitest"
import { bodyOf, connectAgent, connectClient, data, freshName, objectOf, openClient } from "./peers.ts"

describe("attaching", () => {
  test("an agent is welcomed under its name, and each connection has a higher generation", async () => {
    const name = freshName()
    const first = await connectAgent(name)
    const second = await connectAgent(name)
    expect(first.generation).toBe(1)
    expect(second.generation).toBe(2)
  })

  test("a client is told who the agent is, and the agent who the client is", async () => {
    const name = freshName()
    const { agent, generation } = await connectAgent(name, { instance: "instance-1", version: "9.8.7" })
    const client = await openClient(name)
    expect(await client.nextControl()).toEqual({
      type: "ready",
      protocol: 1,
      agent: "here",
      generation,
      instance: "instance-1",
      version: "9.8.7",
    })
    expect(await agent.nextControl()).toEqual({
      type: "attached",
      slot: 1,
      principal: { id: "gateway", scopes: ["read", "exec", "pty", "http", "tcp", "admin"] },
    })
  })

  test("a client that leaves is detached at the agent, and its slot is not given again", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const { client, slot } = await connectClient(name, agent)
    client.close(1001, "away")
    expect(await client.closed).toEqual({ code: 1001, reason: "away" })
    expect(await agent.nextControl()).toEqual({ type: "detached", slot })
    expect((await connectClient(name, agent)).slot).toBe(slot + 1)
  })

  test("[CC3] a client that closes with 1000 has ended its link, and the agent is told so", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const { client, slot } = await connectClient(name, agent)
    client.close(1000, "done")
    expect(await client.closed).toEqual({ code: 1000, reason: "done" })
    expect(await agent.nextControl()).toEqual({ type: "detached", slot, ended: true })
  })

  test("the agent can close one client with a code and a reason", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const { client, slot } = await connectClient(name, agent)
    const other = await connectClient(name, agent)
    agent.send(encodeControl({ type: "detach", slot, code: 4003, reason: "revoked" }))
    expect(await client.closed).toEqual({ code: 4003, reason: "revoked" })
    expect(await agent.nextControl()).toEqual({ type: "detached", slot })
    await other.client.settled()
  })
})

describe("data", () => {
  test("reaches the agent under the client's slot, whatever slot the client wrote", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const first = await connectClient(name, agent)
    const second = await connectClient(name, agent)
    second.client.send(data(first.slot, "from the second"))
    const message = await agent.nextData()
    expect(readSlot(message)).toBe(second.slot)
    expect(bodyOf(message)).toBe("from the second")
  })

  test("reaches only the client whose slot the agent wrote, who sees slot 0", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const first = await connectClient(name, agent)
    const second = await connectClient(name, agent)
    agent.send(data(second.slot, "for the second"))
    const message = await second.client.nextData()
    expect(readSlot(message)).toBe(0)
    expect(bodyOf(message)).toBe("for the second")
    await first.client.settled()
  })

  test("for a slot nobody has is dropped", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const { client, slot } = await connectClient(name, agent)
    agent.send(data(slot + 100, "for nobody"))
    agent.send(data(slot, "for the client"))
    expect(bodyOf(await client.nextData())).toBe("for the client")
  })

  test("of the largest size passes both ways", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const { client, slot } = await connectClient(name, agent)
    const body = "x".repeat(limits.messageBytesMax - linkHeaderBytes)
    client.send(data(0, body))
    expect((await agent.nextData()).byteLength).toBe(limits.messageBytesMax)
    agent.send(data(slot, body))
    expect((await client.nextData()).byteLength).toBe(limits.messageBytesMax)
  })
})

describe("hibernation", () => {
  test("between two messages changes nothing: data flows both ways and slots keep increasing", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const first = await connectClient(name, agent)
    const second = await connectClient(name, agent)
    second.client.close()
    expect(await agent.nextControl()).toEqual({ type: "detached", slot: second.slot, ended: true })

    await evictDurableObject(objectOf(name))
    first.client.send(data(0, "after the first"))
    expect(bodyOf(await agent.nextData())).toBe("after the first")

    await evictDurableObject(objectOf(name))
    agent.send(data(first.slot, "after the second"))
    expect(bodyOf(await first.client.nextData())).toBe("after the second")

    await evictDurableObject(objectOf(name))
    expect((await connectClient(name, agent)).slot).toBe(second.slot + 1)
  })

  test("a client's close after it still reaches the agent", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const { client, slot } = await connectClient(name, agent)
    await evictDurableObject(objectOf(name))
    client.close(1000, "bye")
    expect(await client.closed).toEqual({ code: 1000, reason: "bye" })
    expect(await agent.nextControl()).toEqual({ type: "detached", slot, ended: true })
  })

  test("pings are answered without waking anybody", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    await evictDurableObject(objectOf(name))
    await agent.settled()
    // Eviction refuses an object that does not run, so it was not woken.
    await expect(evictDurableObject(objectOf(name))).rejects.toThrow()
  })
})
