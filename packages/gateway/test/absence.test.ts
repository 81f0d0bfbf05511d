/** What a client finds where its agent is not: a place to wait, or an answer that says which absence it is. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test"
import { encodeControl, limits } from "@trunkline/protocol"
import { afterEach, describe, expect, test, vi } from "vitest"
import { Machine } from "./machine.ts"
import {
  bearer,
  bodyOf,
  call,
  connectAgent,
  connectClient,
  data,
  freshName,
  objectOf,
  openClient,
  refusal,
  textOf,
  upgrade,
  waitingClient,
} from "./peers.ts"

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const setClock = (epochMs: number): void => {
  vi.useFakeTimers({ toFake: ["Date"], now: epochMs })
}

/** A name whose agent was lost just now. */
async function lostAgent(fields: Parameters<typeof connectAgent>[1] = {}): Promise<{ name: string; generation: number }> {
  const name = freshName()
  const { agent, generation } = await connectAgent(name, fields)
  agent.close(1001, "")
  await agent.closed
  await vi.waitFor(async () => expect(await objectOf(name).presence()).toMatchObject({ status: "offline" }))
  return { name, generation }
}

const clientsOf = async (name: string): Promise<number | undefined> => (await objectOf(name).presence())?.clients

describe("an agent that was lost a moment ago", () => {
  test("[GW9] lets a client in, who is told that it is away and what it was", async () => {
    const { name, generation } = await lostAgent({ instance: "one", version: "4.5.6" })
    const client = await openClient(name)
    expect(await client.nextControl()).toEqual({
      type: "ready",
      protocol: 1,
      agent: "away",
      generation,
      instance: "one",
      version: "4.5.6",
    })
    await client.settled()
  })

  test("[GW9] and comes back is told of each client that waits, under a slot of its own, and the client that it is back", async () => {
    const { name, generation } = await lostAgent()
    const clients = [await waitingClient(name), await waitingClient(name)]
    const { agent } = await connectAgent(name, { instance: "two" })
    const slots: number[] = []
    for (const _ of clients) {
      const attached = await agent.nextControl()
      if (attached.type === "attached") slots.push(attached.slot)
    }
    expect(new Set(slots).size).toBe(2)
    for (const client of clients) {
      expect(await client.nextControl()).toEqual({ type: "agent-state", state: "back", generation: generation + 1, instance: "two" })
    }
    clients[0]?.send(data(0, "after the wait"))
    expect(bodyOf(await agent.nextData())).toBe("after the wait")
    // The next client gets a slot above theirs.
    expect(slots).not.toContain((await connectClient(name, agent)).slot)
  })

  test("drops what a client sends before it is back", async () => {
    const { name } = await lostAgent()
    const client = await waitingClient(name)
    client.send(data(0, "too early"))
    await client.settled()
    const { agent } = await connectAgent(name)
    expect(await agent.nextControl()).toMatchObject({ type: "attached" })
    await agent.settled()
  })

  test("and whose object sleeps meanwhile comes back to the clients all the same", async () => {
    const { name, generation } = await lostAgent()
    const client = await waitingClient(name)
    await evictDurableObject(objectOf(name))
    const late = await waitingClient(name)
    await evictDurableObject(objectOf(name))
    const { agent } = await connectAgent(name)
    const attached = [await agent.nextControl(), await agent.nextControl()]
    expect(new Set(attached.map((control) => control.type === "attached" && control.slot)).size).toBe(2)
    for (const each of [client, late]) {
      expect(await each.nextControl()).toMatchObject({ state: "back", generation: generation + 1 })
    }
  })

  test("and whose object is reset meanwhile: the clients are lost, dial again and wait on", async () => {
    const { name } = await lostAgent()
    const client = await waitingClient(name)
    await expect(runInDurableObject(objectOf(name), (_, ctx) => ctx.abort("reset"))).rejects.toThrow()
    expect((await client.closed).code).toBe(1006)
    const again = await waitingClient(name)
    expect(await clientsOf(name)).toBe(1)
    const { agent } = await connectAgent(name)
    expect(await agent.nextControl()).toMatchObject({ type: "attached" })
    expect(await again.nextControl()).toMatchObject({ state: "back" })
  })

  test("while its object is reset in the middle of a connection is away to who dials first, and back for both", async () => {
    const name = freshName()
    const first = await connectAgent(name)
    const before = await connectClient(name, first.agent)
    await expect(runInDurableObject(objectOf(name), (_, ctx) => ctx.abort("reset"))).rejects.toThrow()
    await Promise.all([first.agent.closed, before.client.closed])
    const client = await waitingClient(name)
    const { agent } = await connectAgent(name)
    expect(await client.nextControl()).toMatchObject({ state: "back" })
    expect(await agent.nextControl()).toMatchObject({ type: "attached" })
    agent.send(data(1, "to the one that waited"))
    expect(bodyOf(await client.nextData())).toBe("to the one that waited")
  })

  test("hears nothing of a client that was leaving while it was away, whose slot another has by now", async () => {
    const { name } = await lostAgent()
    await runInDurableObject(objectOf(name), (_, ctx) => {
      const pair = new WebSocketPair()
      ctx.acceptWebSocket(pair[1], ["client", "slot:1"])
      pair[1].serializeAttachment({ v: 1, type: "client", slot: 1, principal: { id: "leaver", scopes: [] } })
      pair[1].close(1000, "leaving")
    })
    const client = await waitingClient(name)
    const { agent } = await connectAgent(name)
    expect(await agent.nextControl()).toMatchObject({ type: "attached", slot: 1 })
    await runInDurableObject(objectOf(name), (instance, ctx) => {
      const leaving = ctx.getWebSockets("client").find((socket) => socket.readyState === WebSocket.CLOSING)
      if (leaving === undefined) throw new Error("nobody is leaving")
      instance.webSocketClose(leaving, 1000, "leaving", true)
    })
    await agent.settled()
    agent.send(data(1, "to who waits"))
    expect(await client.nextControl()).toMatchObject({ state: "back" })
    expect(bodyOf(await client.nextData())).toBe("to who waits")
  })

  test("has no more clients waiting than it may have", async () => {
    const { name } = await lostAgent()
    await runInDurableObject(objectOf(name), (_, ctx) => {
      for (let slot = 1; slot <= limits.clientsMax; slot += 1) {
        const pair = new WebSocketPair()
        ctx.acceptWebSocket(pair[1], ["client"])
        pair[1].serializeAttachment({ v: 1, type: "client", slot, principal: { id: "crowd", scopes: [] } })
        pair[0].accept()
      }
    })
    expect(await refusal(await upgrade(`/v1/agents/${name}/link`))).toMatchObject({ code: "too-many-clients" })
  })

  test("and comes back only to say bye closes who waits", async () => {
    const { name } = await lostAgent()
    const client = await waitingClient(name)
    const { agent } = await connectAgent(name)
    agent.send(encodeControl({ type: "bye" }))
    expect(await client.nextControl()).toMatchObject({ state: "back" })
    expect(await client.nextControl()).toMatchObject({ state: "stopped" })
    expect(await client.closed).toEqual({ code: 1000, reason: "agent stopped" })
  })
})

describe("the answer to a client", () => {
  const refusedBy = async (name: string): Promise<{ status: number; code: string; message: string; retryAfter: string | null }> => {
    const response = await upgrade(`/v1/agents/${name}/link`)
    const { status, code, message } = await refusal(response)
    return { status, code, message, retryAfter: response.headers.get("retry-after") }
  }

  test("[GW9] is agent-unknown where there never was an agent, and no word of when to ask again", async () => {
    expect(await refusedBy(freshName())).toMatchObject({ status: 404, code: "agent-unknown", retryAfter: null })
  })

  test("[GW9] is agent-stopped with the time after a bye", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    agent.send(encodeControl({ type: "bye" }))
    await agent.closed
    const { since } = await runInDurableObject(objectOf(name), (_, ctx) => {
      const [row] = ctx.storage.sql.exec<{ record: string }>("SELECT record FROM endpoint").toArray()
      return JSON.parse(row?.record ?? "{}") as { since: number }
    })
    const stopped = await refusedBy(name)
    expect(stopped).toMatchObject({ status: 503, code: "agent-stopped", retryAfter: "60" })
    expect(stopped.message).toContain(new Date(since).toISOString())
  })

  test("[GW9] is agent-stopped no more when heartbeats say that the agent runs without a socket", async () => {
    vi.spyOn(globalThis, "fetch").mockRejectedValue(new Error("nothing is published there"))
    const name = freshName()
    const { agent } = await connectAgent(name)
    agent.send(encodeControl({ type: "bye" }))
    await agent.closed
    const beat = { method: "PUT", headers: bearer, body: JSON.stringify({ url: "https://box.example", version: "1", labels: {} }) }
    expect((await call(`/v1/heartbeats/${name}`, beat)).status).toBe(201)
    expect(await refusedBy(name)).toMatchObject({ status: 503, code: "agent-offline", retryAfter: "30" })
  })

  test("[GW9] is agent-offline with the time when the agent was lost longer ago than clients may wait", async () => {
    const { name } = await lostAgent()
    const since = (await objectOf(name).presence())?.since ?? 0
    setClock(since + limits.agentAwayMs)
    await waitingClient(name)
    setClock(since + limits.agentAwayMs + 1)
    const offline = await refusedBy(name)
    expect(offline).toMatchObject({ status: 503, code: "agent-offline", retryAfter: "30" })
    expect(offline.message).toContain(new Date(since).toISOString())
  })

  test("[GW5] is agent-draining while the agent drains", async () => {
    const name = freshName()
    const { agent } = await connectAgent(name)
    agent.send(encodeControl({ type: "drain" }))
    await agent.settled()
    expect(await refusedBy(name)).toMatchObject({ status: 503, code: "agent-draining", retryAfter: "10" })
  })
})

describe("a command over HTTP", () => {
  const exec = (name: string, accept = "application/json"): Promise<Response> =>
    call(`/v1/agents/${name}/exec`, { method: "POST", headers: { ...bearer, accept }, body: '{"argv":["true"]}' })

  /** The wait for an agent is over at once. */
  function hurryWaits(): void {
    const { setTimeout } = globalThis
    vi.spyOn(globalThis, "setTimeout").mockImplementation(((task: () => void, delayMs?: number) =>
      setTimeout(task, delayMs === limits.agentWaitMs ? 0 : delayMs)) as typeof setTimeout)
  }

  test.each(["application/json", "application/x-ndjson"])(
    "for an agent that is away waits, and runs when it is back (%s)",
    async (accept) => {
      const machine = await Machine.start(freshName())
      machine.cut()
      await vi.waitFor(async () => expect(await objectOf(machine.name).presence()).toMatchObject({ status: "offline" }))
      const answer = exec(machine.name, accept)
      await vi.waitFor(async () => expect(await clientsOf(machine.name)).toBe(1))
      await machine.connect()
      ;(await machine.nextRun()).start().exit({ type: "code", code: 7 })
      expect(await textOf(await answer)).toContain('"exitCode":7')
    },
  )

  test.each(["application/json", "application/x-ndjson"])(
    "for an agent that does not come back is refused with agent-away and a Retry-After, and leaves no client (%s)",
    async (accept) => {
      const { name } = await lostAgent()
      hurryWaits()
      const response = await exec(name, accept)
      expect(response.headers.get("retry-after")).toBe("1")
      expect(await refusal(response)).toMatchObject({ status: 503, code: "agent-away", retryable: true })
      await vi.waitFor(async () => expect(await clientsOf(name)).toBe(0))
    },
  )

  test("for an agent that stopped, or drains, says so", async () => {
    const machine = await Machine.start(freshName())
    machine.drain()
    await vi.waitFor(async () => expect(await objectOf(machine.name).presence()).toMatchObject({ status: "draining" }))
    expect(await refusal(await exec(machine.name))).toMatchObject({ status: 503, code: "agent-draining", retryable: true })
    machine.stop()
    await vi.waitFor(async () => expect(await objectOf(machine.name).presence()).toBeNull())
    expect(await refusal(await exec(machine.name))).toMatchObject({ status: 503, code: "agent-stopped" })
  })
})
