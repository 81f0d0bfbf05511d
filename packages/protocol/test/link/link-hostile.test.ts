/** A peer that lies or stammers: each lie ends the link with the rule it breaks, and nothing of it reaches the user. */
import { describe, expect, test } from "vitest"
import { limits } from "../../src/index.ts"
import type { ScriptedPeer } from "../../src/testing/index.ts"
import { type Bench, brokenRule, clientLink, data, hello, openLink, welcome } from "./queue-user.ts"

type Lie = (peer: ScriptedPeer, bench: Bench) => void

const send = ({ user, link, clock }: Bench, ...sizes: number[]) => {
  user.queue = sizes.map((size) => data(size))
  // One frame a message: half a window of the largest size is never coalesced.
  link.wake()
  clock.settle()
}

const lies: readonly [string, string | undefined, Lie][] = [
  ["LH1", "a message shorter than a header", (peer) => peer.sayBytes(new Uint8Array(15))],
  ["LH1", "an empty message", (peer) => peer.sayBytes(new Uint8Array(0))],
  ["LM2", "a message above 1 MiB", (peer) => peer.sayBytes(new Uint8Array(limits.messageBytesMax + 1))],
  [
    "LC1",
    "a control message above 16 KiB",
    (peer) => peer.sayControl({ type: "end", code: "x", message: "x".repeat(limits.controlBytesMax) }),
  ],
  ["LC2", "a second welcome", (peer) => peer.sayControl(welcome())],
  ["LC2", "a hello to the client", (peer) => peer.sayControl(hello())],
  ["LC2", "a refusal after the welcome", (peer) => peer.sayControl({ type: "refused", code: "denied", message: "" })],
  ["LK2", "a gap of one byte", (peer) => peer.sayFrames([data(10)], { offset: 1 })],
  [
    "LK2",
    "a message that is half old and half new",
    (peer) => {
      peer.sayFrames([data(10)])
      peer.sayFrames([data(20)], { offset: 0 })
    },
  ],
  ["LK5", "an acknowledgement of what was never sent", (peer) => peer.sayBody(new Uint8Array(0), { ack: 1 })],
  [
    "LK5",
    "an acknowledgement inside a message",
    (peer, bench) => {
      send(bench, 1_000)
      peer.sayBody(new Uint8Array(0), { ack: 500 })
    },
  ],
  [
    "LK5",
    "an acknowledgement that goes back",
    (peer, bench) => {
      send(bench, 1_000)
      peer.sayBody(new Uint8Array(0), { ack: 1_009 })
      peer.sayBody(new Uint8Array(0), { ack: 0 })
    },
  ],
  ["FR1", "a frame header cut short", (peer) => peer.sayBody(new Uint8Array(8))],
  ["FR2", "a frame of no type", (peer) => peer.sayBody(Uint8Array.of(0, 0, 0, 0, 1, 0, 0, 0, 1, 0))],
]

describe("a hostile peer", () => {
  test.each(lies)("[%s] %s ends the link and tells the peer so", (rule, _, lie) => {
    const bench = openLink()
    lie(bench.peer, bench)
    expect(brokenRule(bench.user)).toBe(rule)
    expect(bench.user.ended).toMatchObject({ code: "protocol-error", delivered: "unknown", retryable: false })
    expect(bench.link.phase).toBe("ended")
    expect(bench.peer.controls.at(-1)).toMatchObject({ type: "end", code: "protocol-error" })
  })

  test("[LC1] a control message that is no JSON, of no type or with a wrong field ends the link", () => {
    for (const text of ["{", '{"type":"shrug"}', '{"type":"window","window":1}', '{"type":"window","window":"many"}', "[]", "null"]) {
      const { user, peer } = openLink()
      const body = new TextEncoder().encode(text)
      peer.sayBody(body, { offset: 0xffff_ffff_ffff, ack: 0 })
      expect(user.ended, text).toMatchObject({ code: "protocol-error" })
    }
  })

  test("[LC3] data before the welcome ends a starting and a resuming link", () => {
    const starting = clientLink()
    starting.start().sayFrames([data(1)])
    expect(brokenRule(starting.user)).toBe("LC3")
    const resuming = openLink()
    resuming.peer.hangUp()
    resuming.resume(2).sayFrames([data(1)])
    expect(brokenRule(resuming.user)).toBe("LC3")
  })

  test("[LC4] a new link that is welcomed as a resumed one ends", () => {
    const { user, start } = clientLink()
    start().sayControl(welcome({ resumed: true }))
    expect(brokenRule(user)).toBe("LC4")
  })

  test("[VR2] a welcome in a version that was not offered ends the link", () => {
    const { user, start } = clientLink()
    start().sayControl(welcome({ protocol: 2 }))
    expect(brokenRule(user)).toBe("VR2")
  })

  test("[LK5] a welcome that claims more than was sent, or less than was acknowledged, ends the link", () => {
    for (const received of [0, 500, 1_010]) {
      const bench = openLink()
      send(bench, 1_000)
      bench.peer.sayBody(new Uint8Array(0), { ack: 1_009 })
      bench.peer.hangUp()
      bench.resume(2).sayControl(welcome({ received, resumed: true }))
      expect(brokenRule(bench.user)).toBe("LK5")
    }
  })

  test("[FR1] a malformed frame spoils its whole message: the good ones before it are not handed out", () => {
    const { user, peer, link } = openLink()
    const good = Uint8Array.of(7, 0, 0, 0, 0, 0, 0, 0, 1)
    peer.sayBody(Uint8Array.of(...good, 4, 0))
    expect(user.received).toEqual([])
    expect(link.received).toBe(0)
    expect(brokenRule(user)).toBe("FR1")
  })

  test("an error that is no lie of the peer's is not taken for one", () => {
    const { user, peer } = openLink()
    user.reaction = () => {
      throw new RangeError("a mistake of ours")
    }
    expect(() => peer.sayFrames([data(1)])).toThrow(RangeError)
    expect(user.ended).toBeUndefined()
  })
})
