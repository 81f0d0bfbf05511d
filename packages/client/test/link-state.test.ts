/** What a listener is told of a link: every change once, in order, and nothing of links that never came to be. */
import { limits, TunnelError } from "@trunkline/protocol"
import { ScriptedPeer } from "@trunkline/protocol/testing"
import { describe, expect, test } from "vitest"
import type { LinkState } from "../src/link-state.ts"
import { ScriptedDial, welcome } from "./scripted-dial.ts"

interface Watched {
  readonly line: ScriptedDial
  readonly peer: ScriptedPeer
  readonly told: LinkState[]
  readonly stop: () => void
}

/** A link whose first greeting the agent has answered. */
async function watched(): Promise<Watched> {
  const line = new ScriptedDial()
  const told: LinkState[] = []
  const stop = line.connection.onState((change) => told.push(change))
  const { outcome } = line.open()
  const peer = new ScriptedPeer()
  line.last.open(peer)
  await outcome
  await line.turn()
  expect(told).toEqual([])
  welcome(peer, false)
  await line.turn()
  return { line, peer, told, stop }
}

const states = (told: readonly LinkState[]): string[] => told.map(({ state }) => state)

describe("a listener", () => {
  test("is told that a link is connected, waits, is resumed and has ended, each with the agent's name", async () => {
    const { line, peer, told } = await watched()
    expect(told).toEqual([{ agent: "box", state: "connected" }])
    line.last.events.closed(1006, "")
    await line.turn()
    expect(told.at(-1)).toEqual({ agent: "box", state: "waiting" })
    await line.pass(1_000)
    line.last.open(peer)
    await line.turn()
    expect(states(told)).toEqual(["connected", "waiting"])
    welcome(peer, true)
    await line.turn()
    expect(told.at(-1)).toEqual({ agent: "box", state: "resumed" })
    line.connection.close()
    await line.turn()
    expect(told.at(-1)).toEqual({ agent: "box", state: "ended", error: expect.objectContaining({ code: "aborted" }) })
    expect(told).toHaveLength(4)
  })

  test("hears of one wait, whatever else is lost until it is over", async () => {
    const { line, peer, told } = await watched()
    line.last.say("away")
    line.last.say("back")
    line.last.events.closed(1006, "")
    await line.pass(1_000)
    line.last.fail(new TunnelError("gateway-unreachable", "no"))
    await line.turn()
    await line.pass(2_000)
    line.last.open(peer, "away")
    await line.turn()
    line.last.say("back")
    await line.turn()
    expect(states(told)).toEqual(["connected", "waiting"])
    welcome(peer, true)
    await line.turn()
    expect(states(told)).toEqual(["connected", "waiting", "resumed"])
  })

  test("hears how a wait that was too long has ended, and of the next link as of a new one", async () => {
    const { line, told } = await watched()
    line.last.say("away")
    await line.pass(limits.resumeGraceMs)
    expect(told.at(-1)).toMatchObject({ state: "ended", error: { code: "link-lost" } })
    const next = line.open()
    const peer = new ScriptedPeer()
    line.last.open(peer)
    await next.outcome
    welcome(peer, false)
    await line.turn()
    expect(states(told)).toEqual(["connected", "waiting", "ended", "connected"])
  })

  test("hears nothing of a link that the agent never answered", async () => {
    const line = new ScriptedDial()
    const told: LinkState[] = []
    line.connection.onState((change) => told.push(change))
    const calls = [line.open()]
    line.last.fail(new TunnelError("agent-offline", "away"))
    await calls[0]?.outcome
    calls.push(line.open())
    line.last.open(new ScriptedPeer())
    await calls[1]?.outcome
    line.last.events.closed(1006, "")
    await line.turn()
    expect(calls[1]?.ended).toHaveLength(1)
    expect(told).toEqual([])
  })

  test("hears nothing more once it was taken away, not even of what has just happened", async () => {
    const { line, told, stop } = await watched()
    line.last.say("away")
    stop()
    await line.turn()
    expect(states(told)).toEqual(["connected"])
  })

  test("may close the link from there", async () => {
    const { line, told } = await watched()
    line.connection.onState(({ state }) => {
      if (state === "waiting") line.connection.close()
    })
    line.last.say("away")
    await line.turn()
    expect(states(told)).toEqual(["connected", "waiting", "ended"])
    expect(line.quiet).toBe(true)
  })
})
