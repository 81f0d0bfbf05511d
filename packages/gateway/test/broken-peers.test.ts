/** A peer that breaks the protocol is closed with a reason, and nobody else notices. */
import { runInDurableObject } from "cloudflare:test"
import { encodeControl, limits } from "@trunkline/protocol"
import { describe, expect, test } from "vitest"
import {
  type Agent,
  bodyOf,
  type Client,
  connectAgent,
  connectClient,
  data,
  freshName,
  hello,
  objectOf,
  refusal,
  upgrade,
} from "./peers.ts"

interface Scene {
  readonly name: string
  readonly agent: Agent
  readonly broken: { client: Client; slot: number }
  readonly healthy: { client: Client; slot: number }
}

async function scene(): Promise<Scene> {
  const name = freshName()
  const { agent } = await connectAgent(name)
  return { name, agent, broken: await connectClient(name, agent), healthy: await connectClient(name, agent) }
}

async function expectOthersUntouched({ agent, broken, healthy }: Scene): Promise<void> {
  expect(await agent.nextControl()).toEqual({ type: "detached", slot: broken.slot })
  healthy.client.send(data(0, "still here"))
  expect(bodyOf(await agent.nextData())).toBe("still here")
  agent.send(data(healthy.slot, "so am I"))
  expect(bodyOf(await healthy.client.nextData())).toBe("so am I")
}

describe("a client", () => {
  test("that sends a message without a whole header is closed with 1002", async () => {
    const all = await scene()
    all.broken.client.send(new Uint8Array(15))
    expect(await all.broken.client.closed).toEqual({ code: 1002, reason: "a binary message of 15 bytes has no 16-byte header" })
    await expectOthersUntouched(all)
  })

  test("that sends an oversized message is closed with 1009", async () => {
    const all = await scene()
    all.broken.client.send(new Uint8Array(limits.messageBytesMax + 1))
    expect(await all.broken.client.closed).toEqual({ code: 1009, reason: "a message of 1048577 bytes is above the limit of 1048576" })
    await expectOthersUntouched(all)
  })

  test("that sends text is closed with 1002, be it control of an agent", async () => {
    const all = await scene()
    all.broken.client.send(encodeControl({ type: "bye" }))
    expect(await all.broken.client.closed).toEqual({ code: 1002, reason: "a client sends no text but pings" })
    await expectOthersUntouched(all)
  })

  test("whose attachment another version wrote is told to dial again", async () => {
    const all = await scene()
    await runInDurableObject(objectOf(all.name), (instance, ctx) => {
      const pair = new WebSocketPair()
      ctx.acceptWebSocket(pair[1], ["client", "slot:77"])
      pair[1].serializeAttachment({ v: 2, type: "client" })
      pair[0].accept()
      instance.webSocketMessage(pair[1], new ArrayBuffer(16))
      expect(pair[1].readyState).not.toBe(WebSocket.OPEN)
    })
    await all.agent.settled()
  })
})

describe("an agent", () => {
  const wrongs: readonly [string, string | Uint8Array, number][] = [
    ["a message without a whole header", new Uint8Array(3), 1002],
    ["an oversized message", new Uint8Array(limits.messageBytesMax + 1), 1009],
    ["text that is not JSON", "hello?", 1002],
    [
      "control of a type that only the gateway sends",
      JSON.stringify({ type: "attached", slot: 1, principal: { id: "x", scopes: [] } }),
      1002,
    ],
    ["a second hello", hello(), 1002],
    ["control longer than the limit", JSON.stringify({ type: "drain", padding: "x".repeat(limits.controlBytesMax) }), 1002],
    ["a detach with a code nobody may send", JSON.stringify({ type: "detach", slot: 1, code: 77, reason: "" }), 1002],
  ]
  test.each(wrongs)("that sends %s is closed, and its clients wait for it", async (_, message, code) => {
    const { agent, healthy, broken } = await scene()
    agent.send(message)
    const closed = await agent.closed
    expect(closed.code).toBe(code)
    expect(closed.reason).not.toBe("")
    for (const { client } of [healthy, broken]) expect(await client.nextControl()).toMatchObject({ type: "agent-state", state: "away" })
    await healthy.client.settled()
  })

  test("may not make the gateway send a reserved close code: the client sees 1000", async () => {
    const { agent, broken } = await scene()
    agent.send(encodeControl({ type: "detach", slot: broken.slot, code: 1006, reason: "é".repeat(100) }))
    const closed = await broken.client.closed
    expect(closed).toEqual({ code: 1000, reason: "é".repeat(61) })
  })
})

test("client number 1,025 is refused with too-many-clients, before the upgrade", async () => {
  const name = freshName()
  const { agent } = await connectAgent(name)
  await runInDurableObject(objectOf(name), (_, ctx) => {
    for (let slot = 1; slot <= limits.clientsMax - 1; slot += 1) {
      const pair = new WebSocketPair()
      ctx.acceptWebSocket(pair[1], ["client"])
      pair[1].serializeAttachment({ v: 1, type: "client", slot: 10_000 + slot, principal: { id: "crowd", scopes: [] } })
      pair[0].accept()
    }
  })
  const { client } = await connectClient(name, agent)
  const refused = await refusal(await upgrade(`/v1/agents/${name}/link`))
  expect(refused).toMatchObject({ status: 503, code: "too-many-clients", retryable: true })
  expect(refused.message).toContain("1024")
  await client.settled()
})
