/** A link whose dial takes its greeting along: what has been heard by whom, whatever becomes of the dial. */
import { limits, TunnelError } from "@trunkline/protocol"
import { ScriptedPeer } from "@trunkline/protocol/testing"
import { describe, expect, test } from "vitest"
import { ScriptedDial, welcome } from "./scripted-dial.ts"

/** A call whose dial is under way. */
async function dialled() {
  const line = new ScriptedDial({ takesFirst: true })
  const call = line.open()
  await line.turn()
  return { line, call, peer: new ScriptedPeer() }
}

const heard = (peer: ScriptedPeer): readonly string[] => [...peer.controls.map(({ type }) => type), ...peer.frames.map(({ type }) => type)]

describe("a greeting that its dial takes along", () => {
  test("holds all calls of its turn, and is not sent again once the agent has it", async () => {
    const { line, call, peer } = await dialled()
    line.last.take(peer)
    await line.turn()
    welcome(peer, false)
    await line.turn()
    expect(await call.outcome).toBe("open")
    expect(heard(peer)).toEqual(["hello", "open"])
    const other = line.open()
    await line.turn()
    expect(await other.outcome).toBe("open")
    expect(heard(peer)).toEqual(["hello", "open", "open"])
  })

  test("is sent over the socket where the dial has not handed it over", async () => {
    const { line, peer } = await dialled()
    line.last.open(peer)
    await line.turn()
    expect(heard(peer)).toEqual(["hello", "open"])
  })

  test("goes over the socket too where it is too large", async () => {
    const line = new ScriptedDial({ takesFirst: true })
    const opened = line.connection.open("exec", { argv: ["x".repeat(10_000)] }, { data() {}, closed() {} })
    await line.turn()
    const peer = new ScriptedPeer()
    expect(line.last.target.first).toBeUndefined()
    line.last.open(peer)
    await line.turn()
    expect((await opened).phase).toBe("opening")
    expect(heard(peer)).toEqual(["hello", "open"])
  })

  test("waits for an agent that is away, and is sent once when it is back", async () => {
    const { line, call, peer } = await dialled()
    line.last.open(peer, "away")
    await line.pass(1_000)
    expect(heard(peer)).toEqual([])
    line.last.say("back")
    await line.turn()
    welcome(peer, false)
    expect(heard(peer)).toEqual(["hello", "open"])
    await line.pass(2 * limits.agentWaitMs)
    expect(call.ended).toEqual([])
  })

  test("is given up, undelivered, when the agent is away for too long", async () => {
    const { line, call, peer } = await dialled()
    line.last.open(peer, "away")
    await line.turn()
    await line.pass(limits.agentWaitMs)
    expect(call.ended).toMatchObject([{ code: "agent-away", delivered: "no" }])
    expect(heard(peer)).toEqual([])
    expect(line.quiet).toBe(true)
  })

  test("follows what came behind it", async () => {
    const { line, call, peer } = await dialled()
    const stream = await call.stream
    stream.write(0, Uint8Array.of(1, 2, 3))
    stream.finish()
    await line.turn()
    line.last.take(peer)
    await line.turn()
    expect(heard(peer)).toEqual(["hello", "open", "data", "fin"])
  })
})

describe("a dial that comes to nothing", () => {
  test.each<readonly [string, unknown, string, string]>([
    ["refused", new TunnelError("agent-offline", "away", { retryable: true }), "agent-offline", "no"],
    ["broken off, by its own word", new TunnelError("link-lost", "gone", { delivered: "unknown" }), "link-lost", "unknown"],
    ["broken off", new Error("no route"), "gateway-unreachable", "unknown"],
  ])("because it is %s", async (_, failure, code, delivered) => {
    const { line, call } = await dialled()
    line.last.fail(failure)
    await line.turn()
    expect(call.ended).toMatchObject([{ code, delivered }])
    expect(line.quiet).toBe(true)
    line.open()
    await line.turn()
    expect(line.calls).toHaveLength(2)
  })

  test("because nothing is said for 10 seconds: nobody knows what it has handed over", async () => {
    const { line, call } = await dialled()
    await line.pass(limits.handshakeMs)
    expect(call.ended).toMatchObject([{ code: "gateway-unreachable", delivered: "unknown" }])
    expect(line.quiet).toBe(true)
  })

  test("because the caller leaves: nobody knows either, and the socket that comes is closed with 1000", async () => {
    const { line, call, peer } = await dialled()
    line.connection.close()
    expect(call.ended).toMatchObject([{ code: "aborted", delivered: "unknown" }])
    line.last.take(peer)
    await line.turn()
    expect(line.last.closed).toMatchObject({ code: 1000 })
  })

  test("because the caller left in the same turn: nothing is dialled", async () => {
    const line = new ScriptedDial({ takesFirst: true })
    const call = line.open()
    line.connection.close()
    expect(await call.outcome).toMatchObject({ code: "aborted", delivered: "no" })
    await line.turn()
    expect(line.calls).toHaveLength(0)
    expect(line.quiet).toBe(true)
  })
})

describe("a socket that is lost before the welcome", () => {
  test.each<readonly [string, "take" | "accept", string]>([
    ["behind a greeting that was handed over", "take", "unknown"],
    ["before the gateway has said anything", "accept", "no"],
  ])("%s", async (_, how, delivered) => {
    const { line, call, peer } = await dialled()
    line.last[how](peer)
    await line.turn()
    line.last.events.closed(1006, "")
    await line.turn()
    expect(call.ended).toMatchObject([{ code: "link-lost", delivered }])
    expect(line.calls).toHaveLength(1)
    expect(line.quiet).toBe(true)
  })

  test("by an agent that stops while it is waited for: undelivered", async () => {
    const { line, call, peer } = await dialled()
    line.last.open(peer, "away")
    await line.turn()
    line.last.say("stopped")
    await line.turn()
    expect(call.ended).toMatchObject([{ code: "agent-stopped", delivered: "no" }])
  })
})
