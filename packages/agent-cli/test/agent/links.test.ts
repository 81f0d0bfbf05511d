/** The agent's links: which are made, found again, refused, kept and ended, and what one of them costs the others. */
import { byteOffset, type LinkHello, limits, type Principal, slot, streamId, TunnelError } from "@trunkline/protocol"
import type { ScriptedPeer } from "@trunkline/protocol/testing"
import { describe, expect, test } from "vitest"
import { hello, linkId, owner, Slots } from "./slots.ts"

const openBody = new TextEncoder().encode(JSON.stringify({ kind: "exec", body: { argv: ["true"] } }))
const open = (id = 1) => ({ type: "open", stream: streamId(id), body: openBody }) as const

/** A client with one stream on a link. */
function up(slots: Slots, number = 1, more: Parameters<typeof hello>[0] = {}): ScriptedPeer {
  const peer = slots.attach(number)
  peer.sayControl(hello(more))
  peer.sayFrames([open()])
  slots.clock.settle()
  return peer
}

const answerOf = (peer: ScriptedPeer) => peer.controls[0]

describe("[LC1] before a hello", () => {
  test("data is dropped, whatever it is, and the hello is welcomed all the same", () => {
    const slots = new Slots()
    const peer = slots.attach(1)
    peer.sayFrames([open()], { offset: 4_096, ack: 99 })
    peer.sayControl({ type: "window", window: limits.linkWindowBytesMin })
    peer.sayControl({ type: "end", code: "aborted", message: "" })
    expect(peer.heard).toEqual([])
    peer.said = 0
    peer.sayControl(hello())
    slots.clock.advance(limits.ackDelayMs)
    expect(answerOf(peer)).toMatchObject({ type: "welcome", protocol: 1, received: 0, resumed: false })
    expect(slots.offers).toEqual([])
  })

  test.each([
    ["no JSON", "{"],
    ["an array", "[]"],
    ["an unknown type", '{"type":"greetings"}'],
    ["a link that is none", JSON.stringify(hello({ link: "short" }))],
    ["a secret that is none", JSON.stringify(hello({ secret: "" }))],
    ["attempt 0", JSON.stringify(hello({ attempt: 0 }))],
    ["a window below the least", JSON.stringify(hello({ window: 1 }))],
    ["more than a control message may have", JSON.stringify({ ...hello(), more: "x".repeat(limits.controlBytesMax) })],
  ])("a control message with %s closes that client with 1002 and makes no link", (_, text) => {
    const slots = new Slots()
    const other = up(slots, 1)
    const peer = slots.attach(2)
    const body = new TextEncoder().encode(text)
    peer.sayBody(body, { offset: 2 ** 48 - 1, ack: 0 })
    expect(slots.detaches).toMatchObject([{ slot: 2, code: 1002 }])
    expect(peer.heard).toEqual([])
    expect(other.closed).toBeUndefined()
    expect(slots.links.streamCount).toBe(1)
  })

  test.each([
    { min: 2, max: 3 },
    { min: 0, max: 0 },
  ])("[VR2] versions %j are refused", (protocol) => {
    const slots = new Slots()
    const peer = slots.attach(1)
    peer.sayControl(hello({ protocol }))
    expect(answerOf(peer)).toMatchObject({ type: "refused", code: "unsupported-version" })
    expect(slots.detaches).toMatchObject([{ slot: 1, code: 1000 }])
  })
})

describe("a resume", () => {
  test("from another slot goes on with its streams, and the old leg is closed with 1012", () => {
    const slots = new Slots()
    up(slots)
    const again = slots.attach(2)
    again.sayControl(hello({ attempt: 2 }))
    expect(answerOf(again)).toMatchObject({ type: "welcome", resumed: true })
    expect(slots.detaches).toMatchObject([{ slot: 1, code: 1012 }])
    // The old leg's end comes late and ends nothing.
    slots.links.detached(slot(1), false)
    expect(slots.links.streamCount).toBe(1)
    slots.clock.advance(limits.resumeGraceMs)
    expect(slots.links.streamCount).toBe(1)
  })

  test("[CC3] is of a link that lasts: one whose client closes its leg with 1000 ends, with its streams, and cannot be resumed", () => {
    const slots = new Slots()
    const closed: (TunnelError | undefined)[] = []
    slots.onOffer = ({ stream }) => stream.accept({}, { data() {}, closed: (error) => closed.push(error) })
    const peer = up(slots)
    peer.hangUp(1000)
    expect(closed).toMatchObject([{ code: "aborted", delivered: "yes" }])
    expect(slots.links.streamCount).toBe(0)
    expect(slots.detaches).toEqual([])
    expect(slots.quiet).toBe(true)
    const again = slots.attach(2)
    again.sayControl(hello({ attempt: 2 }))
    expect(answerOf(again)).toMatchObject({ type: "refused", code: "agent-restarted" })
  })

  test("[CC3] ends with the leg that it is on, and not with one that it has left", () => {
    const slots = new Slots()
    const first = up(slots)
    const second = slots.attach(2)
    second.sayControl(hello({ attempt: 2 }))
    first.hangUp(1000)
    expect(slots.links.streamCount).toBe(1)
    second.hangUp(1000)
    expect(slots.links.streamCount).toBe(0)
  })

  test("[LC4] with a wrong secret, from another principal or with an old attempt is denied in the same words", () => {
    const slots = new Slots()
    up(slots)
    const answers: [Principal, LinkHello][] = [
      [owner, hello({ attempt: 2, secret: "X".repeat(43) })],
      [{ id: "somebody", scopes: ["admin"] }, hello({ attempt: 2 })],
      [owner, hello({ attempt: 1 })],
    ]
    const said = answers.map(([principal, greeting], index) => {
      const peer = slots.attach(10 + index, principal)
      peer.sayControl(greeting)
      return answerOf(peer)
    })
    expect(said[0]).toMatchObject({ type: "refused", code: "denied" })
    expect(said[1]).toEqual(said[0])
    expect(said[2]).toEqual(said[0])
    expect(slots.detaches.map((detach) => [detach.slot, detach.code])).toEqual([
      [10, 1000],
      [11, 1000],
      [12, 1000],
    ])
    expect(slots.links.streamCount).toBe(1)
  })

  test("[LC4] of a link that is not known is refused with agent-restarted", () => {
    const slots = new Slots()
    const peer = slots.attach(1)
    peer.sayControl(hello({ attempt: 2 }))
    expect(answerOf(peer)).toMatchObject({ type: "refused", code: "agent-restarted" })
  })

  test("gives the streams that follow the scopes of the new transport", () => {
    const slots = new Slots()
    up(slots)
    const again = slots.attach(2, { id: owner.id, scopes: ["pty"] })
    again.sayControl(hello({ attempt: 2 }))
    again.sayFrames([open(3)], { offset: 9 + openBody.byteLength, ack: 0 })
    expect(slots.offers.map(({ principal }) => principal.scopes)).toEqual([["admin"], ["pty"]])
  })

  test("[LK5] that claims to have received what was never sent ends the link", () => {
    const slots = new Slots()
    up(slots)
    const again = slots.attach(2)
    again.sayControl(hello({ attempt: 2, received: byteOffset(1_000_000) }))
    expect(again.controls.at(-1)).toMatchObject({ type: "end", code: "protocol-error" })
    expect(slots.links.streamCount).toBe(0)
    expect(slots.quiet).toBe(true)
  })
})

describe("a client that is gone", () => {
  test("keeps its link for the grace and no longer", () => {
    const slots = new Slots()
    const peer = up(slots)
    peer.hangUp()
    slots.clock.advance(limits.resumeGraceMs - 1)
    expect(slots.links.streamCount).toBe(1)
    slots.clock.advance(1)
    expect(slots.links.streamCount).toBe(0)
    expect(slots.offers[0]?.stream.phase).toBe("closed")
    expect(slots.quiet).toBe(true)
  })

  test("and has resumed is not ended by the grace of before", () => {
    const slots = new Slots()
    up(slots).hangUp()
    slots.clock.advance(limits.resumeGraceMs - 1)
    slots.attach(2).sayControl(hello({ attempt: 2 }))
    slots.clock.advance(limits.resumeGraceMs)
    expect(slots.links.streamCount).toBe(1)
  })

  test("[LC7] and said so has its streams ended at once, and hangs up itself", () => {
    const slots = new Slots()
    const peer = up(slots)
    peer.sayControl({ type: "end", code: "aborted", message: "done" })
    expect(slots.links.streamCount).toBe(0)
    expect(slots.detaches).toEqual([])
    // Late, and for nobody.
    peer.sayFrames([open(3)])
    peer.sayControl(hello({ attempt: 2 }))
    expect(slots.offers).toHaveLength(1)
    expect(slots.quiet).toBe(true)
  })
})

describe("the connection to the gateway", () => {
  test("lost detaches every link; each is found again on the next one", () => {
    const slots = new Slots()
    up(slots, 1, { link: linkId(1) })
    up(slots, 2, { link: linkId(2) })
    slots.links.disconnected()
    expect(slots.links.streamCount).toBe(2)
    slots.connect()
    for (const number of [1, 2]) {
      const peer = slots.attach(number + 4)
      peer.sayControl(hello({ link: linkId(number), attempt: 2 }))
      expect(answerOf(peer)).toMatchObject({ type: "welcome", resumed: true })
    }
    slots.clock.advance(limits.resumeGraceMs)
    expect(slots.links.streamCount).toBe(2)
  })

  test("lost for longer than the grace ends them all", () => {
    const slots = new Slots()
    up(slots, 1, { link: linkId(1) })
    up(slots, 2, { link: linkId(2) })
    slots.links.disconnected()
    slots.clock.advance(limits.resumeGraceMs)
    expect(slots.links.streamCount).toBe(0)
    expect(slots.quiet).toBe(true)
  })

  test("says nothing of slots that are not there", () => {
    const slots = new Slots()
    slots.links.detached(slot(7), true)
    slots.links.message(slot(7), new Uint8Array(16))
    slots.links.drained()
    expect(slots.detaches).toEqual([])
  })

  test("that attaches a slot a second time has lost who was there before", () => {
    const slots = new Slots()
    up(slots)
    const other = slots.attach(1)
    other.sayControl(hello({ link: linkId(2) }))
    slots.clock.advance(limits.ackDelayMs)
    expect(answerOf(other)).toMatchObject({ type: "welcome", resumed: false })
    slots.clock.advance(limits.resumeGraceMs)
    expect(slots.links.streamCount).toBe(0)
  })
})

describe("a link that ends", () => {
  test("by its client's lie closes that client with 1002 and no other", () => {
    const slots = new Slots()
    const liar = up(slots, 1, { link: linkId(1) })
    const honest = up(slots, 2, { link: linkId(2) })
    liar.sayBytes(new Uint8Array(20))
    liar.sayFrames([{ type: "pong", token: new Uint8Array(8) }], { offset: 9_999 })
    expect(slots.detaches).toMatchObject([{ slot: 1, code: 1002 }])
    honest.sayFrames([open(3)])
    expect(slots.offers).toHaveLength(3)
    expect(slots.links.streamCount).toBe(2)
  })

  test("from inside a callback of its own takes nothing with it", () => {
    const slots = new Slots()
    slots.onOffer = () => slots.links.endAll(new TunnelError("agent-stopped", "bye"))
    const peer = slots.attach(1)
    peer.sayControl(hello())
    peer.sayFrames([open(1), open(3)])
    slots.clock.settle()
    expect(slots.offers).toHaveLength(1)
    expect(slots.links.streamCount).toBe(0)
    expect(peer.controls.at(-1)).toMatchObject({ type: "end", code: "agent-stopped" })
    expect(slots.quiet).toBe(true)
  })

  test("with all others tells each, detached or not", () => {
    const slots = new Slots()
    const here = up(slots, 1, { link: linkId(1) })
    up(slots, 2, { link: linkId(2) }).hangUp()
    slots.links.endAll(new TunnelError("agent-stopped", "bye"))
    expect(here.controls.at(-1)).toMatchObject({ type: "end", code: "agent-stopped" })
    expect(slots.links.streamCount).toBe(0)
    expect(slots.quiet).toBe(true)
  })
})

test('endFinished closes a client whose streams have ended with 1000 "exec completed", once it has acknowledged the end, and no other', () => {
  const slots = new Slots()
  slots.attach(1).sayControl(hello({ link: linkId(1) }))
  const done = up(slots, 2, { link: linkId(2) })
  up(slots, 3, { link: linkId(3) })
  const stopped = new TunnelError("agent-stopped", "soon")
  slots.offers[0]?.stream.reject(new TunnelError("denied", "no"))
  slots.clock.settle()
  slots.links.endFinished(stopped)
  expect(slots.detaches).toEqual([])
  done.sayFrames([])
  slots.links.endFinished(stopped)
  expect(slots.detaches).toEqual([{ slot: 2, code: 1000, reason: "exec completed" }])
})

test("goAway tells every client, and open streams go on", () => {
  const slots = new Slots()
  const peer = up(slots)
  slots.links.goAway(new TunnelError("agent-stopped", "soon"))
  slots.clock.settle()
  expect(peer.frames.map(({ type }) => type)).toContain("goAway")
  expect(slots.links.streamCount).toBe(1)
})

describe("many links", () => {
  const window = (peer: ScriptedPeer): number =>
    peer.controls.reduce((last, control) => (control.type === "welcome" || control.type === "window" ? control.window : last), 0)

  test("share what may be in flight, tell each client of its share, and are refused beyond 1,024", () => {
    const slots = new Slots()
    const peers: ScriptedPeer[] = []
    for (let count = 1; count <= limits.clientsMax; count++) {
      const peer = slots.attach(count)
      peer.sayControl(hello({ link: linkId(count) }))
      peers.push(peer)
      if (![1, 4, 5, 8, 64, 65, 512, 1_024].includes(count)) continue
      slots.clock.advance(limits.ackDelayMs)
      const windows = new Set(peers.map(window))
      expect([count, [...windows]]).toEqual([count, [expect.any(Number)]])
      const [share = 0] = windows
      expect(share).toBeGreaterThanOrEqual(limits.linkWindowBytesMin)
      expect(share).toBeLessThanOrEqual(limits.linkWindowBytesMax)
      // The least window is granted to the last of them too.
      expect(share * count).toBeLessThanOrEqual(Math.max(limits.agentInFlightBytesMax, limits.linkWindowBytesMin * count))
      expect(share * count * 2).toBeGreaterThan(Math.min(limits.agentInFlightBytesMax, limits.linkWindowBytesMax * count))
    }
    const more = slots.attach(5_000)
    more.sayControl(hello({ link: linkId(5_000) }))
    expect(answerOf(more)).toMatchObject({ type: "refused", code: "too-many-clients" })
    for (const peer of peers.slice(4)) peer.sayControl({ type: "end", code: "aborted", message: "" })
    for (const peer of peers.slice(0, 4)) expect(window(peer)).toBe(limits.linkWindowBytesMax)
  })
})
