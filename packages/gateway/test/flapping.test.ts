/** An agent that comes and goes: its clients are sent away for a moment rather than made to greet it each time. */
import { evictDurableObject } from "cloudflare:test"
import { encodeControl, limits } from "@trunkline/protocol"
import { afterEach, describe, expect, test, vi } from "vitest"
import { type Agent, bearer, call, connectAgent, connectClient, freshName, objectOf, openClient, refusal, waitingClient } from "./peers.ts"

afterEach(() => vi.useRealTimers())

const setClock = (epochMs: number): void => {
  vi.useFakeTimers({ toFake: ["Date"], now: epochMs })
}

/** Loses the agent's socket and comes back on another. */
async function reconnect(name: string, agent: Agent): Promise<Agent> {
  agent.close(1001, "")
  await agent.closed
  return (await connectAgent(name)).agent
}

async function reconnectOften(name: string, agent: Agent, times: number): Promise<Agent> {
  let current = agent
  for (let time = 0; time < times; time++) current = await reconnect(name, current)
  return current
}

describe("an agent that is lost", () => {
  test("[GW10] three times within a minute comes back to its clients each time", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const { client } = await connectClient(name, agent)
    await reconnectOften(name, agent, 3)
    const heard = []
    for (let count = 0; count < 6; count++) {
      const control = await client.nextControl()
      heard.push(control.type === "agent-state" && control.state)
    }
    expect(heard).toEqual(["away", "back", "away", "back", "away", "back"])
    await client.settled()
  })

  test("[GW10] four times within a minute finds no clients: they were closed with 1011, those that waited too", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const third = await reconnectOften(name, agent, 3)
    const { client } = await connectClient(name, third)
    third.close(1001, "")
    await third.closed
    await vi.waitFor(async () => expect(await objectOf(name).presence()).toMatchObject({ status: "offline" }))
    const waiting = await waitingClient(name)
    const { agent: fourth } = await connectAgent(name)
    for (const each of [client, waiting]) expect(await each.closed).toEqual({ code: 1011, reason: "upstream flapping" })
    expect(await client.nextControl()).toMatchObject({ state: "away" })
    await fourth.settled()
    // Who dials again is welcome.
    await connectClient(name, fourth)
  })

  test("[GW10] is remembered through the sleep of its object", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    let current = await reconnectOften(name, agent, 2)
    await evictDurableObject(objectOf(name), { webSockets: "close" })
    current = (await connectAgent(name)).agent
    const { client } = await connectClient(name, current)
    await evictDurableObject(objectOf(name))
    await reconnect(name, current)
    expect(await client.closed).toEqual({ code: 1011, reason: "upstream flapping" })
  })

  test("[GW10] four times in more than a minute is not flapping", async () => {
    const name = freshName()
    const startMs = Date.now()
    setClock(startMs)
    const { agent } = await connectAgent(name)
    const first = await reconnect(name, agent)
    setClock(startMs + limits.flapWindowMs)
    const third = await reconnectOften(name, first, 2)
    const { client } = await connectClient(name, third)
    await reconnect(name, third)
    expect(await client.nextControl()).toMatchObject({ state: "away" })
    expect(await client.nextControl()).toMatchObject({ state: "back" })
  })

  test("[GW10] never is one that stops and starts again, however often", async () => {
    const name = freshName()
    for (let start = 0; start < 6; start++) {
      const { agent } = await connectAgent(name)
      agent.send(encodeControl({ type: "bye" }))
      await agent.closed
    }
    const { agent } = await connectAgent(name)
    const { client } = await connectClient(name, agent)
    await reconnect(name, agent)
    expect(await client.nextControl()).toMatchObject({ state: "away" })
    expect(await client.nextControl()).toMatchObject({ state: "back" })
  })

  test("[GW10] again at the moment for which a command over HTTP waited: it was not run, and may be sent again", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const third = await reconnectOften(name, agent, 3)
    third.close(1001, "")
    await vi.waitFor(async () => expect(await objectOf(name).presence()).toMatchObject({ status: "offline" }))
    const answer = call(`/v1/agents/${name}/exec`, { method: "POST", headers: bearer, body: '{"argv":["true"]}' })
    await vi.waitFor(async () => expect(await objectOf(name).presence()).toMatchObject({ clients: 1 }))
    await connectAgent(name)
    expect(await refusal(await answer)).toMatchObject({ status: 503, code: "agent-away", retryable: true })
  })

  test("[GW10] and replaced counts the same: two agents that fight for a name do not drag its clients along", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    const { client } = await connectClient(name, agent)
    for (let count = 0; count < 4; count++) await connectAgent(name)
    expect((await client.closed).code).toBe(1011)
    const again = await openClient(name)
    expect(await again.nextControl()).toMatchObject({ type: "ready", agent: "here" })
  })
})
