/** `POST /v1/admin/drain`: in a file of its own, because for a while after it the isolate takes no sockets. */
import { evictDurableObject } from "cloudflare:test"
import { afterEach, expect, test, vi } from "vitest"
import { Machine } from "./machine.ts"
import { bearer, call, callJson, connectAgent, connectClient, dialAgent, freshName, listed, objectOf, refusal, upgrade } from "./peers.ts"

afterEach(() => vi.useRealTimers())

const drain = (body: object): Promise<{ status: number; body: unknown }> =>
  callJson("/v1/admin/drain", { method: "POST", headers: bearer, body: JSON.stringify(body) })

test("drain closes every agent and client with 1012, also those whose agent is away or whose object hibernates", async () => {
  const [here, away] = [freshName("here"), freshName("away")]
  const connected = await connectAgent(here)
  const { client } = await connectClient(here, connected.agent)
  const left = await connectAgent(away)
  const waiting = await connectClient(away, left.agent)
  left.agent.close(1001, "")
  await waiting.client.nextControl()
  await vi.waitFor(async () => {
    expect(await listed(here)).toMatchObject({ status: "online" })
    expect(await listed(away)).toMatchObject({ status: "offline" })
  })
  await evictDurableObject(objectOf(here))

  expect(await drain({ refuseMs: 0 })).toEqual({ status: 200, body: { endpoints: 2, agents: 1, clients: 2, failed: 0 } })
  for (const peer of [connected.agent, client, waiting.client]) {
    expect(await peer.closed).toEqual({ code: 1012, reason: "the gateway restarts" })
  }
  expect(await listed(here)).toMatchObject({ status: "offline" })
  expect((await connectAgent(here)).generation).toBe(2)
})

test("drain closes a socket that has not said hello, under a name no listing shows", async () => {
  const silent = await dialAgent(freshName("silent"))
  await silent.settled()
  expect(await drain({ refuseMs: 0 })).toMatchObject({ body: { failed: 0 } })
  expect(await silent.closed).toEqual({ code: 1012, reason: "the gateway restarts" })
})

test("drain ends the gateway's own commands, with an outcome that nobody takes for success", async () => {
  const machine = await Machine.start(freshName("busy"))
  const answer = call(`/v1/agents/${machine.name}/exec`, { method: "POST", headers: bearer, body: '{"argv":["sleep"]}' })
  ;(await machine.nextRun()).start()
  await machine.roundTrip()
  await drain({ refuseMs: 3_000 })
  expect(await refusal(await answer)).toMatchObject({ status: 502, code: "link-lost", retryable: false })
  // Takes the refusal back.
  await drain({ refuseMs: 0 })
})

test("drain refuses new sockets for the time it was told", async () => {
  const name = freshName()
  await connectAgent(name)
  await vi.waitFor(async () => expect(await listed(name)).toBeDefined())
  await drain({ refuseMs: 3_000 })
  for (const path of [`/ws/connect?name=${name}`, `/v1/agents/${name}/link`]) {
    expect(await refusal(await upgrade(path))).toMatchObject({ status: 503, code: "overloaded", retryable: true })
  }
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3_001 })
  await connectAgent(name)
})

test("drain takes a sane time only", async () => {
  for (const refuseMs of [-1, 60_001, "5"]) expect((await drain({ refuseMs })).status).toBe(400)
})
