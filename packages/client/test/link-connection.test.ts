/** A link that is up: cuts, absences, ends and idleness, on a virtual clock. */
import { limits, type MuxStream, stableMs, TunnelError } from "@trunkline/protocol"
import { AgentEnd, ScriptedPeer } from "@trunkline/protocol/testing"
import { describe, expect, test } from "vitest"
import { idleMs, type Opened, type ScriptedCall, ScriptedDial, welcome } from "./scripted-dial.ts"

interface Up extends Opened {
  readonly line: ScriptedDial
  readonly peer: ScriptedPeer
  readonly first: ScriptedCall
}

/** A link with one stream, welcomed by a scripted agent. */
async function up(): Promise<Up> {
  const line = new ScriptedDial()
  const call = line.open()
  const peer = new ScriptedPeer()
  const first = line.last
  first.open(peer)
  await call.outcome
  await line.turn()
  welcome(peer, false)
  await line.turn()
  return { line, peer, first, ...call }
}

/** Greetings the peer has heard, by attempt. */
const attempts = (peer: ScriptedPeer): number[] => peer.controls.flatMap((control) => (control.type === "hello" ? [control.attempt] : []))

describe("an agent that does not answer", () => {
  test("fails the first call after 10 seconds, as unknown: it may still do what it was asked", async () => {
    const line = new ScriptedDial()
    const call = line.open()
    line.last.open(new ScriptedPeer())
    await call.outcome
    await line.pass(limits.handshakeMs - 1)
    expect(call.ended).toEqual([])
    await line.pass(1)
    expect(call.ended).toEqual([expect.objectContaining({ code: "timeout", delivered: "unknown", retryable: false })])
    expect(line.quiet).toBe(true)
  })
})

describe("a lost socket", () => {
  test("is dialled again and the link resumed: the stream notices nothing, and nothing runs twice", async () => {
    const line = new ScriptedDial()
    const offered: MuxStream[] = []
    const agent = new AgentEnd(() => ({ link: { clock: line.clock }, offered: (stream) => void offered.push(stream) }))
    const { stream, outcome, ended } = line.open()
    line.last.openTo(agent, line.clock)
    await outcome
    await line.turn()
    const got: number[] = []
    offered[0]?.accept({}, { data: (_, bytes) => got.push(...bytes), closed() {} })
    await line.turn()
    line.last.events.closed(1006, "")
    // Written while there is no socket.
    ;(await stream).write(0, Uint8Array.of(1, 2, 3))
    await line.pass(1_000)
    expect(line.calls).toHaveLength(2)
    line.last.openTo(agent, line.clock)
    await line.pass(100)
    expect(got).toEqual([1, 2, 3])
    expect(offered).toHaveLength(1)
    expect(ended).toEqual([])
  })

  test.each(["the client's", "the agent's", "both"])(
    "costs no time at all after it had lasted when %s was cut: no timer is waited for",
    async (cut) => {
      const line = new ScriptedDial()
      const offered: MuxStream[] = []
      const agent = new AgentEnd(() => ({ link: { clock: line.clock }, offered: (stream) => void offered.push(stream) }))
      const { stream, outcome } = line.open()
      line.last.openTo(agent, line.clock)
      await outcome
      await line.turn()
      const got: number[] = []
      offered[0]?.accept({}, { data: (_, bytes) => got.push(...bytes), closed() {} })
      await line.pass(stableMs)
      const cutAtMs = line.clock.now()
      const first = line.last
      if (cut !== "the client's") first.say("away")
      if (cut !== "the agent's") first.events.closed(1006, "")
      ;(await stream).write(0, Uint8Array.of(1, 2, 3))
      await line.turn()
      expect(line.calls).toHaveLength(cut === "the agent's" ? 1 : 2)
      if (cut === "the agent's") first.reopenTo(agent, line.clock)
      else line.last.openTo(agent, line.clock, cut === "both" ? "away" : "here")
      if (cut !== "the client's") line.last.say("back")
      await line.turn()
      expect(got).toEqual([1, 2, 3])
      expect(line.clock.now()).toBe(cutAtMs)
    },
  )

  test("is dialled at once after it had lasted, and within a second at random after it had not", async () => {
    const { line, peer } = await up()
    await line.pass(stableMs)
    line.last.events.closed(1006, "")
    line.clock.advance(0)
    await line.turn()
    expect(line.calls).toHaveLength(2)
    line.last.open(peer)
    await line.turn()
    line.last.events.closed(1006, "")
    expect(line.calls).toHaveLength(2)
    await line.pass(1_000)
    expect(line.calls).toHaveLength(3)
  })

  test.each([
    ["agent-offline", new TunnelError("agent-offline", "away", { retryable: true })],
    ["a proxy's page", new TunnelError("protocol-error", "HTTP 404 that is not a gateway's answer")],
    ["an error of no type", new Error("no route")],
  ])("is dialled again and again while the answer is %s", async (_, failure) => {
    const { line, ended } = await up()
    line.last.events.closed(1012, "")
    for (let dials = 2; dials < 5; dials++) {
      while (line.calls.length < dials) await line.pass(1_000)
      line.last.fail(failure)
      await line.turn()
    }
    expect(ended).toEqual([])
  })

  test("with 1011 is dialled again a little later, however long it had lasted", async () => {
    const { line, peer, ended } = await up()
    await line.pass(60_000)
    line.last.events.closed(1011, "upstream flapping")
    await line.turn()
    expect(line.calls).toHaveLength(1)
    await line.pass(1_000)
    expect(line.calls).toHaveLength(2)
    line.last.open(peer)
    await line.turn()
    expect(attempts(peer)).toEqual([1, 2])
    expect(ended).toEqual([])
  })

  test.each(["agent-unknown", "agent-stopped", "unauthorised", "denied"] as const)(
    "ends the link when the redial is answered with %s",
    async (code) => {
      const { line, ended } = await up()
      line.last.events.closed(1012, "")
      await line.pass(1_000)
      line.last.fail(new TunnelError(code, "no"))
      await line.turn()
      expect(ended).toMatchObject([{ code, delivered: "unknown" }])
      expect(line.quiet).toBe(true)
    },
  )

  test.each([
    [1000, "agent-stopped"],
    [4001, "unauthorised"],
    [4003, "unauthorised"],
    [4026, "unsupported-version"],
  ])("[CC2] with %i ends the link with %s and is not dialled again", async (closeCode, code) => {
    const { line, ended } = await up()
    line.last.events.closed(closeCode, "")
    expect(ended).toMatchObject([{ code, delivered: "unknown" }])
    await line.pass(60_000)
    expect(line.calls).toHaveLength(1)
    expect(line.quiet).toBe(true)
  })

  test("is not dialled on for a link that was closed meanwhile, and a socket that opens then is closed", async () => {
    const { line, ended } = await up()
    line.last.events.closed(1006, "")
    await line.pass(1_000)
    line.connection.close()
    expect(ended).toMatchObject([{ code: "aborted" }])
    expect(line.last.target.signal.aborted).toBe(true)
    line.last.open(new ScriptedPeer())
    await line.turn()
    expect(line.last.closed).toMatchObject({ code: 1000 })
    expect(line.quiet).toBe(true)
  })

  test("says no more: what still comes from it is ignored", async () => {
    const { line, peer, first, ended } = await up()
    first.events.closed(1006, "")
    await line.pass(1_000)
    line.last.open(peer)
    await line.turn()
    first.events.message("garbage")
    first.events.message(Uint8Array.of(1))
    first.events.closed(4001, "")
    await line.turn()
    expect(ended).toEqual([])
    expect(line.last.closed).toBeUndefined()
  })
})

describe("an agent that is away", () => {
  test("and comes back is greeted on the same socket", async () => {
    const { line, peer, ended } = await up()
    line.last.say("away")
    expect(attempts(peer)).toEqual([1])
    line.last.say("back")
    await line.turn()
    expect(attempts(peer)).toEqual([1, 2])
    welcome(peer, true)
    await line.turn()
    expect(line.calls).toHaveLength(1)
    expect(ended).toEqual([])
  })

  test("[CT10] is waited for on the socket of a redial, without another dial, and greeted when it is back", async () => {
    const { line, peer, ended } = await up()
    line.last.events.closed(1006, "")
    await line.pass(1_000)
    line.last.open(peer, "away")
    await line.pass(limits.resumeGraceMs - 10_000)
    expect(line.calls).toHaveLength(2)
    expect(attempts(peer)).toEqual([1])
    line.last.say("back")
    await line.turn()
    expect(attempts(peer)).toEqual([1, 2])
    welcome(peer, true)
    await line.pass(60_000)
    expect(ended).toEqual([])
  })

  test("[CT10] is not waited for longer than the grace, which counts from the first cut", async () => {
    const { line, peer, ended } = await up()
    line.last.say("away")
    await line.pass(10_000)
    line.last.say("back")
    line.last.say("away")
    line.last.events.closed(1006, "")
    await line.pass(1_000)
    line.last.open(peer, "away")
    await line.pass(limits.resumeGraceMs - 12_000)
    expect(ended).toEqual([])
    await line.pass(1_000)
    expect(ended).toMatchObject([{ code: "link-lost", delivered: "unknown" }])
    expect(line.last.closed).toMatchObject({ code: 1000 })
    expect(line.quiet).toBe(true)
  })

  test("[GW5] is greeted again when it is back without having been away", async () => {
    const { line, peer } = await up()
    line.last.say("back")
    line.last.say("back")
    await line.turn()
    expect(attempts(peer)).toEqual([1, 2, 3])
  })

  test.each([
    ["does not know the link", (peer: ScriptedPeer) => peer.sayControl({ type: "refused", code: "agent-restarted", message: "new here" })],
    ["takes the link for a new one", (peer: ScriptedPeer) => welcome(peer, false)],
  ])(
    "and comes back as another that %s ends the streams with agent-restarted, delivered unknown, and sends nothing twice",
    async (_, answer) => {
      const { line, peer, ended } = await up()
      line.last.say("away")
      line.last.say("back")
      answer(peer)
      await line.turn()
      expect(ended).toMatchObject([{ code: "agent-restarted", delivered: "unknown", retryable: false }])
      expect(peer.frames.filter(({ type }) => type === "open")).toHaveLength(1)
      expect(line.quiet).toBe(true)
    },
  )

  test("for longer than the grace is given up, however often the gateway says that it is back", async () => {
    const { line, ended } = await up()
    line.last.say("away")
    await line.pass(1_000)
    line.last.say("back")
    await line.pass(limits.resumeGraceMs - 2_000)
    expect(ended).toEqual([])
    await line.pass(1_000)
    expect(ended).toMatchObject([{ code: "link-lost", delivered: "unknown" }])
    expect(line.quiet).toBe(true)
  })

  test("has the whole grace again after it has answered", async () => {
    const { line, peer, ended } = await up()
    line.last.say("away")
    await line.pass(limits.resumeGraceMs / 2)
    line.last.say("back")
    welcome(peer, true)
    await line.turn()
    line.last.say("away")
    await line.pass(limits.resumeGraceMs - 1_000)
    expect(ended).toEqual([])
    await line.pass(1_000)
    expect(ended).toMatchObject([{ code: "link-lost" }])
  })

  test("while the gateway cannot be reached either: the grace ends the dial under way", async () => {
    const { line, ended } = await up()
    line.last.events.closed(1006, "")
    for (let waited = 0; waited < limits.resumeGraceMs; waited += 1_000) {
      await line.pass(1_000)
      if (waited < limits.resumeGraceMs - 60_000) line.last.fail(new TunnelError("gateway-unreachable", "no"))
    }
    expect(ended).toMatchObject([{ code: "link-lost" }])
    expect(line.last.target.signal.aborted).toBe(true)
    expect(line.quiet).toBe(true)
  })

  test("for good ends the link with agent-stopped", async () => {
    const { line, ended } = await up()
    line.last.say("draining")
    expect(ended).toEqual([])
    line.last.say("stopped")
    expect(ended).toMatchObject([{ code: "agent-stopped", delivered: "unknown" }])
    expect(line.last.closed).toMatchObject({ code: 1000 })
    expect(line.quiet).toBe(true)
  })
})

describe("a gateway", () => {
  test.each(["garbage", "{}", '{"type":"agent-state","state":"asleep","generation":1}', "x".repeat(20_000)])(
    "[CT2] that says what it may not is closed with 1002 and dialled again",
    async (text) => {
      const { line, first, ended } = await up()
      first.events.message(text)
      expect(first.closed).toMatchObject({ code: 1002 })
      await line.pass(1_000)
      expect(line.calls).toHaveLength(2)
      expect(ended).toEqual([])
    },
  )

  test("[CT8] that swallows what is sent is asked after 4 seconds, and left for another after 5 more", async () => {
    const { line, stream, first } = await up()
    // Whether all of the greeting was answered is asked once, 4 seconds after it.
    await line.pass(5_000)
    first.mute = true
    ;(await stream).write(0, Uint8Array.of(1))
    await line.pass(8_900)
    expect(line.calls).toHaveLength(1)
    await line.pass(1_200)
    expect(line.calls).toHaveLength(2)
  })

  test("[CT8] that answers the question is kept, however long the agent says nothing", async () => {
    const { line, stream } = await up()
    ;(await stream).write(0, Uint8Array.of(1))
    await line.pass(60_000)
    expect(line.calls).toHaveLength(1)
  })

  test("[CT1] is pinged every 30 seconds, and dead after 75 in which nothing came", async () => {
    const { line, first, ended } = await up()
    await line.pass(4_000)
    expect(first.texts).toEqual(["ping"])
    await line.pass(30_000)
    expect(first.texts).toEqual(["ping", "ping"])
    first.mute = true
    await line.pass(74_000)
    expect(first.closed).toBeUndefined()
    await line.pass(1_000)
    expect(first.closed).toBeDefined()
    await line.turn()
    expect(line.calls).toHaveLength(2)
    expect(ended).toEqual([])
  })
})

describe("an idle link", () => {
  /** Ends a stream; the peer of the link has received all of it. */
  const reset = async ({ stream }: Opened, { line, peer }: Up) => {
    ;(await stream).reset(new TunnelError("aborted", "done"))
    await line.turn()
    peer.sayBody(new Uint8Array(0))
  }

  test("[CC3] is ended after its time, by closing its leg with 1000", async () => {
    const link = await up()
    await reset(link, link)
    await link.line.pass(idleMs - 1)
    expect(link.first.closed).toBeUndefined()
    await link.line.pass(1)
    expect(link.first.closed).toMatchObject({ code: 1000 })
    expect(link.peer.controls).toHaveLength(1)
    expect(link.line.quiet).toBe(true)
  })

  test("is kept by a call, and by one after another", async () => {
    const link = await up()
    await reset(link, link)
    await link.line.pass(idleMs - 1)
    const next = link.line.open()
    expect(await next.outcome).toBe("open")
    await link.line.pass(5 * idleMs)
    expect(link.first.closed).toBeUndefined()
    await reset(next, link)
    await link.line.pass(idleMs)
    expect(link.first.closed).toBeDefined()
    expect(link.line.calls).toHaveLength(1)
  })

  test("gives a call at the very moment of its end a new link", async () => {
    const link = await up()
    await reset(link, link)
    link.line.clock.schedule(idleMs, () => void link.line.open())
    await link.line.pass(idleMs)
    expect(link.first.closed).toBeDefined()
    expect(link.line.calls).toHaveLength(2)
  })

  test("is kept until the agent has received what was written last, however long its line is away", async () => {
    const line = new ScriptedDial()
    const offered: MuxStream[] = []
    const agent = new AgentEnd(() => ({ link: { clock: line.clock }, offered: (stream) => void offered.push(stream) }))
    const { stream, outcome, ended } = line.open()
    line.last.openTo(agent, line.clock)
    await outcome
    await line.turn()
    const got: string[] = []
    offered[0]?.accept({}, { data: (_, bytes) => got.push(...Array.from(bytes, String)), finished: () => got.push("end"), closed() {} })
    offered[0]?.finish()
    await line.turn()
    // What is on its way when the line breaks, both halves having ended for the client.
    line.last.reopenTo(new AgentEnd(() => ({ link: { clock: line.clock } })), line.clock)
    const open = await stream
    open.write(0, Uint8Array.of(1))
    open.finish()
    await line.turn()
    expect(ended).toEqual([undefined])
    line.last.events.closed(1006, "")
    await line.pass(5 * idleMs)
    expect(line.last.closed).toBeUndefined()
    line.last.openTo(agent, line.clock)
    await line.turn()
    expect(got).toEqual(["1", "end"])
    await line.pass(idleMs)
    expect(line.last.closed).toMatchObject({ code: 1000 })
    expect(line.quiet).toBe(true)
  })

  test("is kept while a ping is under way", async () => {
    const link = await up()
    await reset(link, link)
    const ping = link.line.connection.ping()
    await link.line.turn()
    await link.line.pass(2 * idleMs)
    expect(link.first.closed).toBeUndefined()
    const sent = link.peer.frames.find((frame) => frame.type === "ping")
    if (sent?.type === "ping") link.peer.sayFrames([{ type: "pong", token: sent.token }])
    expect(await ping).toBeGreaterThanOrEqual(2 * idleMs)
    await link.line.pass(idleMs)
    expect(link.first.closed).toBeDefined()
    expect(link.line.quiet).toBe(true)
  })

  test("that ended by itself leaves no timer behind for the next one", async () => {
    const link = await up()
    link.peer.sayControl({ type: "end", code: "agent-stopped", message: "bye" })
    expect(link.ended).toMatchObject([{ code: "agent-stopped" }])
    expect(link.line.quiet).toBe(true)
  })
})

test("who hears of a link's end may open the next one from there", async () => {
  const line = new ScriptedDial()
  let next: Promise<unknown> | undefined
  const stream = line.connection.open("exec", {}, { data() {}, closed: () => (next = line.open().outcome) })
  line.last.open(new ScriptedPeer())
  await stream
  line.connection.close()
  expect(line.calls).toHaveLength(2)
  line.last.open(new ScriptedPeer())
  expect(await next).toBe("open")
})
