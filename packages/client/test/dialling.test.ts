/** A link from the first call to the agent's welcome: every way in which it does not come to be. */
import { getEventListeners } from "node:events"
import { limits, TunnelError } from "@trunkline/protocol"
import { ScriptedPeer } from "@trunkline/protocol/testing"
import { describe, expect, test } from "vitest"
import { idleMs, ScriptedDial, welcome } from "./scripted-dial.ts"

const offline = () => new TunnelError("agent-offline", "away", { retryable: true })

describe("a dial that fails", () => {
  test.each([
    ["a typed error as it is", offline(), "agent-offline"],
    ["anything else as gateway-unreachable", new Error("no route"), "gateway-unreachable"],
  ])("gives %s to every call that waits, and the next call dials anew", async (_, failure, code) => {
    const line = new ScriptedDial()
    const [one, other] = [line.open(), line.open()]
    expect(line.calls).toHaveLength(1)
    line.last.fail(failure)
    expect(await one.outcome).toMatchObject({ code, retryable: true, delivered: "no" })
    expect(await other.outcome).toMatchObject({ code, delivered: "no" })
    expect(line.quiet).toBe(true)
    const again = line.open()
    expect(line.calls).toHaveLength(2)
    line.last.open(new ScriptedPeer())
    expect(await again.outcome).toBe("open")
  })

  test("has 10 seconds, and a socket that opens later is closed", async () => {
    const line = new ScriptedDial()
    const call = line.open()
    await line.pass(limits.handshakeMs)
    expect(await call.outcome).toMatchObject({ code: "gateway-unreachable", delivered: "no" })
    expect(line.last.target.signal.aborted).toBe(true)
    line.last.open(new ScriptedPeer())
    await line.turn()
    expect(line.last.closed).toMatchObject({ code: 1000 })
    expect(line.quiet).toBe(true)
  })

  test("while a call is aborted that nobody else shares is nobody's unhandled rejection", async () => {
    const line = new ScriptedDial()
    const abort = new AbortController()
    const call = line.open(abort.signal)
    abort.abort()
    expect(await call.outcome).toMatchObject({ code: "aborted", delivered: "no" })
    line.last.fail(new Error("too late to matter"))
    await line.turn()
    expect(line.quiet).toBe(true)
  })
})

describe("an abort", () => {
  test("before the call dials nothing", async () => {
    const line = new ScriptedDial()
    const { outcome } = line.open(AbortSignal.abort())
    expect(await outcome).toMatchObject({ code: "aborted", delivered: "no" })
    expect(line.calls).toHaveLength(0)
    expect(line.quiet).toBe(true)
  })

  test("while dialling ends that call alone", async () => {
    const line = new ScriptedDial()
    const abort = new AbortController()
    const [aborted, other] = [line.open(abort.signal), line.open()]
    abort.abort()
    expect(await aborted.outcome).toMatchObject({ code: "aborted", delivered: "no" })
    line.last.open(new ScriptedPeer())
    expect(await other.outcome).toBe("open")
    expect(aborted.ended).toEqual([])
  })

  test("of the only call gives the dial up when the link has been idle", async () => {
    const line = new ScriptedDial()
    const abort = new AbortController()
    const { outcome } = line.open(abort.signal)
    abort.abort()
    await outcome
    await line.pass(idleMs)
    expect(line.last.target.signal.aborted).toBe(true)
    expect(line.quiet).toBe(true)
  })
})

describe("close", () => {
  test("while dialling ends every call with aborted, delivered no, and closes a socket that opens all the same", async () => {
    const line = new ScriptedDial()
    const call = line.open()
    const first = line.last
    line.connection.close()
    expect(await call.outcome).toMatchObject({ code: "aborted", retryable: false, delivered: "no" })
    const next = line.open()
    first.open(new ScriptedPeer())
    line.last.open(new ScriptedPeer())
    expect(await next.outcome).toBe("open")
    expect(first.closed).toMatchObject({ code: 1000 })
    expect(line.last.closed).toBeUndefined()
  })

  test("in the turn in which the socket opens still wins", async () => {
    const line = new ScriptedDial()
    const call = line.open()
    line.last.open(new ScriptedPeer())
    line.connection.close()
    expect(await call.outcome).toMatchObject({ code: "aborted", delivered: "no" })
    expect(line.last.closed).toMatchObject({ code: 1000 })
    expect(line.quiet).toBe(true)
  })
})

describe("before the socket is adopted", () => {
  test("what the gateway says is kept, in order", async () => {
    const line = new ScriptedDial()
    const call = line.open()
    const { last } = line
    last.open(new ScriptedPeer(), "away")
    last.say("stopped")
    expect(await call.outcome).toMatchObject({ code: "agent-stopped", delivered: "no" })
    expect(last.closed).toBeDefined()
  })

  test.each([
    [4001, "unauthorised"],
    [4003, "unauthorised"],
    [4026, "unsupported-version"],
    [4029, "overloaded"],
    [1000, "agent-stopped"],
    [1002, "protocol-error"],
    [1006, "link-lost"],
  ])("a close with %i ends the call with %s, delivered no", async (closeCode, code) => {
    const line = new ScriptedDial()
    const call = line.open()
    line.last.open(new ScriptedPeer())
    line.last.events.closed(closeCode, "")
    await call.outcome
    expect(call.ended).toMatchObject([{ code, delivered: "no" }])
    await line.pass(60_000)
    expect(line.calls).toHaveLength(1)
    expect(line.quiet).toBe(true)
  })
})

describe("before the gateway has said that it is ready", () => {
  test("[CT9] nothing is sent, and after 10 seconds the gateway counts as unreachable", async () => {
    const line = new ScriptedDial()
    const call = line.open()
    const peer = new ScriptedPeer()
    line.last.accept(peer)
    await line.pass(limits.handshakeMs - 1)
    expect(peer.heard).toEqual([])
    expect(line.last.closed).toBeUndefined()
    await line.pass(1)
    expect(await call.outcome).toMatchObject({ code: "gateway-unreachable", retryable: true, delivered: "no" })
    expect(line.last.closed).toMatchObject({ code: 1000 })
    expect(line.quiet).toBe(true)
  })

  test("[CT9] a later `ready` says nothing", async () => {
    const line = new ScriptedDial()
    const call = line.open()
    const peer = new ScriptedPeer()
    line.last.open(peer)
    await call.outcome
    line.last.ready("here")
    await line.turn()
    expect(peer.controls).toHaveLength(1)
    expect(call.ended).toEqual([])
  })
})

describe("an agent that is away when it is called", () => {
  test("[CT10] is waited for, and greeted once when it comes back", async () => {
    const line = new ScriptedDial()
    const call = line.open()
    const peer = new ScriptedPeer()
    line.last.open(peer, "away")
    await line.turn()
    await line.pass(limits.agentWaitMs - 1)
    expect(peer.heard).toEqual([])
    line.last.say("back")
    expect(await call.outcome).toBe("open")
    await line.turn()
    expect(peer.controls).toMatchObject([{ type: "hello", attempt: 1 }])
    expect(peer.frames.map(({ type }) => type)).toEqual(["open"])
    welcome(peer, false)
    // The wait is over.
    await line.pass(limits.handshakeMs)
    expect(call.ended).toEqual([])
    expect(line.calls).toHaveLength(1)
  })

  test("[CT10] and does not come back within 5 seconds fails every call with agent-away: nothing was sent", async () => {
    const line = new ScriptedDial()
    const calls = [line.open(), line.open()]
    const peer = new ScriptedPeer()
    line.last.open(peer, "away")
    await line.turn()
    await line.pass(limits.agentWaitMs)
    for (const { outcome } of calls) expect(await outcome).toMatchObject({ code: "agent-away", retryable: true, delivered: "no" })
    expect(peer.heard).toEqual([])
    expect(line.last.closed).toMatchObject({ code: 1000 })
    expect(line.quiet).toBe(true)
  })

  test.each([
    [1011, "agent-away"],
    [1012, "link-lost"],
  ])("and a gateway that closes with %i meanwhile: %s, retryable, delivered no", async (closeCode, code) => {
    const line = new ScriptedDial()
    const call = line.open()
    line.last.open(new ScriptedPeer(), "away")
    await line.turn()
    line.last.events.closed(closeCode, "")
    expect(await call.outcome).toMatchObject({ code, retryable: true, delivered: "no" })
    expect(line.calls).toHaveLength(1)
    expect(line.quiet).toBe(true)
  })

  test("and a caller that leaves meanwhile: the gateway is left when the link has been idle", async () => {
    const line = new ScriptedDial()
    const abort = new AbortController()
    const call = line.open(abort.signal)
    line.last.open(new ScriptedPeer(), "away")
    await line.turn()
    abort.abort()
    expect(await call.outcome).toMatchObject({ code: "aborted", delivered: "no" })
    await line.pass(idleMs)
    expect(line.last.closed).toMatchObject({ code: 1000 })
    expect(line.quiet).toBe(true)
  })
})

describe("before the agent has answered", () => {
  test.each([
    [1006, "link-lost"],
    [1012, "link-lost"],
    [4029, "overloaded"],
    [4001, "unauthorised"],
  ])(
    "[LC6] a socket lost with %i ends the streams with %s, delivered unknown, and nothing is dialled for them again",
    async (closeCode, code) => {
      const line = new ScriptedDial()
      const call = line.open()
      const peer = new ScriptedPeer()
      line.last.open(peer)
      await call.outcome
      await line.turn()
      expect(peer.frames.map(({ type }) => type)).toEqual(["open"])
      line.last.events.closed(closeCode, "")
      expect(call.ended).toMatchObject([{ code, delivered: "unknown", retryable: false }])
      await line.pass(60_000)
      expect(line.calls).toHaveLength(1)
      expect(line.quiet).toBe(true)
    },
  )

  test.each(["away", "back"] as const)("[LC6] an agent that is %s has an unknown share of what was sent", async (state) => {
    const line = new ScriptedDial()
    const call = line.open()
    line.last.open(new ScriptedPeer())
    await call.outcome
    await line.turn()
    line.last.say(state)
    expect(call.ended).toMatchObject([{ code: "link-lost", delivered: "unknown" }])
    expect(line.last.closed).toBeDefined()
    expect(line.quiet).toBe(true)
  })

  test("[LC6] a refusal means that nothing was looked at: delivered no", async () => {
    const line = new ScriptedDial()
    const call = line.open()
    const peer = new ScriptedPeer()
    line.last.open(peer)
    await call.outcome
    await line.turn()
    peer.sayControl({ type: "refused", code: "too-many-clients", message: "full" })
    expect(call.ended).toMatchObject([{ code: "too-many-clients", delivered: "no", retryable: true }])
    expect(line.quiet).toBe(true)
  })
})

test("a thousand calls in a row use one link and leave neither listener nor timer", async () => {
  const line = new ScriptedDial()
  const { signal } = new AbortController()
  const peer = new ScriptedPeer()
  for (let count = 0; count < 1_000; count++) {
    const call = line.open(signal)
    if (count === 0) line.last.open(peer)
    const stream = await call.stream
    line.clock.settle()
    if (count === 0) welcome(peer, false)
    stream.reset(new TunnelError("aborted", "done"))
    expect(call.ended).toHaveLength(1)
  }
  expect(line.calls).toHaveLength(1)
  expect(getEventListeners(signal, "abort")).toHaveLength(0)
  expect(getEventListeners(line.last.target.signal, "abort").length).toBeLessThanOrEqual(1)
  await line.turn()
  peer.sayBody(new Uint8Array(0))
  await line.pass(idleMs)
  expect(line.last.closed).toMatchObject({ code: 1000 })
  expect(line.quiet).toBe(true)
})
