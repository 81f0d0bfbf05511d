/** Acknowledgement, window, transports: what a link does with an honest peer. */
import { describe, expect, test } from "vitest"
import { Link, limits, streamId, TunnelError } from "../../src/index.ts"
import { ScriptedPeer, VirtualClock } from "../../src/testing/index.ts"
import { clientLink, data, hello, openLink, QueueUser, welcome } from "./queue-user.ts"

const ack = 16

describe("acknowledgement", () => {
  test("[LK3] a little data is acknowledged by a bare message after 5 ms, not before", () => {
    const { clock, peer } = openLink()
    peer.sayFrames([data(100)])
    clock.advance(limits.ackDelayMs - 1)
    expect(peer.heard).toHaveLength(1)
    clock.advance(1)
    expect(peer.heard.at(-1)).toEqual({ type: "frames", offset: 0, ack: 109, bodyBytes: 0, frames: [] })
    clock.advance(1_000)
    expect(peer.heard).toHaveLength(2)
  })

  test("[LK3] 384 KiB unacknowledged are acknowledged at once, one byte less waits", () => {
    const { clock, peer } = openLink()
    peer.sayFrames([...Array.from({ length: 5 }, () => data(65_536)), data(limits.ackBytes - 5 * 65_536 - 7 * 9 + 8)])
    clock.settle()
    expect(peer.heard).toHaveLength(1)
    peer.sayFrames([{ type: "fin", stream: streamId(1), trailer: new Uint8Array(0) }])
    clock.settle()
    expect(peer.heard.at(-1)).toMatchObject({ ack: limits.ackBytes + 8, bodyBytes: 0 })
  })

  test("[LK3] an acknowledgement rides on data and none follows", () => {
    const { clock, peer, user, link } = openLink()
    peer.sayFrames([data(100)])
    user.queue.push(data(5))
    link.wake()
    clock.advance(1_000)
    expect(peer.heard).toHaveLength(2)
    expect(peer.heard[1]).toMatchObject({ ack: 109, bodyBytes: 14 })
  })

  test("[LK3] a bare acknowledgement is itself not acknowledged", () => {
    const { clock, peer } = openLink()
    peer.sayBody(new Uint8Array(0))
    clock.advance(1_000)
    expect(peer.heard).toHaveLength(1)
  })

  test("[LK2] bytes that were received before are dropped", () => {
    const { clock, peer, user, link } = openLink()
    peer.sayFrames([data(10, 1)])
    peer.sayFrames([data(10, 1)], { offset: 0 })
    peer.sayFrames([data(10, 2)])
    clock.settle()
    expect(user.received.map((frame) => frame.type === "data" && frame.bytes[0])).toEqual([1, 2])
    expect(link.received).toBe(38)
    expect(user.ended).toBeUndefined()
  })
})

describe("window", () => {
  /** Bytes the link has sent when nothing is acknowledged and its user has frames of `frame` bytes without end. */
  const sentUnacknowledged = (window: number, frameSize: number, budget?: number) => {
    const { clock, peer, user, link } = openLink({}, welcome({ window }))
    if (budget !== undefined) link.setBudget(budget)
    user.queue = Array.from({ length: Math.ceil((2 * window) / frameSize) }, () => data(frameSize - 9))
    link.wake()
    clock.settle()
    expect(link.inFlightBytes).toBe(peer.heardBytes)
    return peer.heardBytes
  }

  test("[LK4] a window is filled to the byte and not beyond", () => {
    expect(sentUnacknowledged(100_000, 1_000)).toBe(100_000)
    expect(sentUnacknowledged(100_000, 999)).toBe(99_900)
    expect(sentUnacknowledged(99_999, 1_000)).toBe(99_000)
  })

  test("[LK4] the sender's own budget bounds too, and is never below 32 KiB", () => {
    expect(sentUnacknowledged(1_048_576, 64, 65_536)).toBe(65_536)
    expect(sentUnacknowledged(1_048_576, 64, 1)).toBe(limits.linkWindowBytesMin)
  })

  test("[LK4] an acknowledgement makes room for exactly what it covers", () => {
    const { clock, peer, user, link } = openLink({}, welcome({ window: 32_768 }))
    user.queue = Array.from({ length: 100 }, () => data(1_015))
    link.wake()
    clock.settle()
    expect(peer.heardBytes).toBe(32_768)
    const first = peer.heard.find((heard) => heard.type === "frames")
    const covered = first?.type === "frames" ? first.bodyBytes : 0
    peer.sayBody(new Uint8Array(0), { ack: covered })
    clock.settle()
    expect(peer.heardBytes).toBe(32_768 + covered)
  })

  test("[LK4] one frame above the window goes when nothing is in flight, alone", () => {
    const { clock, peer, user, link } = openLink({}, welcome({ window: 32_768 }))
    user.queue = [data(10), data(60_000), data(10)]
    link.wake()
    clock.settle()
    expect(peer.heardBytes).toBe(19)
    peer.sayBody(new Uint8Array(0))
    clock.settle()
    expect(peer.heardBytes).toBe(19 + 60_009)
    peer.sayBody(new Uint8Array(0))
    clock.settle()
    expect(peer.heardBytes).toBe(19 + 60_009 + 19)
  })

  test("[LC5] another window the peer grants counts from then on", () => {
    const { clock, peer, user, link } = openLink({}, welcome({ window: 32_768 }))
    user.queue = Array.from({ length: 200 }, () => data(1_015))
    link.wake()
    clock.settle()
    peer.sayControl({ type: "window", window: 65_536 })
    clock.settle()
    expect(peer.heardBytes).toBe(65_536)
  })

  test("[LC5] a window granted here is told at once, also before the welcome", () => {
    const { clock, link, start } = clientLink()
    const peer = start()
    link.setWindow(65_536)
    peer.sayControl(welcome())
    link.setWindow(1)
    link.setWindow(1)
    clock.settle()
    expect(peer.controls.slice(1)).toEqual([
      { type: "window", window: 65_536 },
      { type: "window", window: limits.linkWindowBytesMin },
    ])
  })

  test("[PC4] bulk leaves 32 KiB of the window free for others, and a quarter of a small one", () => {
    const room = (window: number) => {
      const { clock, user, link } = openLink({}, welcome({ window }))
      link.wake()
      clock.settle()
      return user.rooms.at(-1)
    }
    expect(room(65_536)).toMatchObject({ bulkBytes: 65_536 - 16_384 })
    expect(room(40_001)?.bulkBytes).toBe(40_001 - 10_000)
    expect(room(1_048_576)).toMatchObject({ bytes: 65_545, bulkBytes: 65_545 })
  })

  test("[LK7] nothing new is handed to a transport with more than 256 KiB of its own queue, until it drains", () => {
    const { clock, peer, user, link } = openLink()
    peer.bufferedBytes = 262_145
    user.queue.push(data(10))
    link.wake()
    clock.settle()
    expect(peer.heardBytes).toBe(0)
    peer.bufferedBytes = 262_144
    peer.drained()
    clock.settle()
    expect(peer.heardBytes).toBe(19)
  })

  test("[LK7] an acknowledgement passes a full transport, else two full ones would wait for each other", () => {
    const { clock, peer } = openLink()
    peer.bufferedBytes = 1_000_000
    peer.sayFrames([data(100)])
    clock.advance(limits.ackDelayMs)
    expect(peer.heard.at(-1)).toMatchObject({ ack: 109 })
  })
})

describe("transports", () => {
  test("[LC3] a starting link sends data behind its hello without waiting for the welcome", () => {
    const { clock, user, link, start } = clientLink()
    user.queue.push(data(10))
    const peer = start()
    clock.settle()
    expect(peer.heard.map(({ type }) => type)).toEqual(["control", "frames"])
    expect(link.phase).toBe("starting")
  })

  test("[LC6] a link whose first transport is lost before the welcome ends, delivered unknown", () => {
    const { user, detached, start } = clientLink()
    start().hangUp()
    expect(user.ended).toMatchObject({ code: "link-lost", delivered: "unknown" })
    expect(detached.count).toBe(0)
  })

  test("[LK6] after a cut the link waits, and a resumed one sends again exactly what the peer lacks, as it was but for the ack", () => {
    const bench = openLink()
    const { clock, user, link } = bench
    user.queue = [data(40_000, 1), data(40_000, 2), data(40_000, 3)]
    link.wake()
    clock.settle()
    bench.peer.sayFrames([data(5)], { ack: 0 })
    bench.peer.hangUp()
    expect(bench.detached.count).toBe(1)
    expect(link.phase).toBe("detached")

    user.queue = [data(7, 4)]
    link.wake()
    const peer = bench.resume(2)
    clock.settle()
    expect(peer.heard).toEqual([{ type: "control", control: hello(2, 14) }])
    peer.sayControl(welcome({ received: 40_009, resumed: true }))
    clock.settle()
    const again = peer.heard
      .slice(1)
      .map((heard) => heard.type === "frames" && { offset: heard.offset, ack: heard.ack, bytes: heard.bodyBytes })
    expect(again).toEqual([
      { offset: 40_009, ack: 14, bytes: 40_009 },
      { offset: 80_018, ack: 14, bytes: 40_009 },
      { offset: 120_027, ack: 14, bytes: 16 },
    ])
    expect(peer.frames.map((frame) => frame.type === "data" && frame.bytes[0])).toEqual([2, 3, 4])
    expect(link.inFlightBytes).toBe(80_018 + 16)
  })

  test("[LK6] an agent's end resends behind its welcome what the hello says is missing", () => {
    const clock = new VirtualClock()
    const user = new QueueUser()
    const link = new Link({ clock }, user)
    const first = new ScriptedPeer()
    first.attach(link.welcome(first.transport, { received: hello().received, window: 1_048_576 }, welcome()))
    user.queue = [data(100, 1), data(100, 2)]
    link.wake()
    clock.settle()
    // No close of the old transport: the agent may hear of the new one first.
    const second = new ScriptedPeer()
    second.attach(link.welcome(second.transport, { received: hello(1, 0).received, window: 1_048_576 }, welcome({ resumed: true })))
    clock.settle()
    expect(second.heard.map(({ type }) => type)).toEqual(["control", "frames"])
    expect(second.frames).toHaveLength(2)
    first.hangUp()
    expect(link.phase).toBe("open")
  })

  test("[LC2] an agent's end ignores a further hello on the same transport", () => {
    const clock = new VirtualClock()
    const user = new QueueUser()
    const link = new Link({ clock }, user)
    const peer = new ScriptedPeer()
    peer.attach(link.welcome(peer.transport, { received: hello(2).received, window: 1_048_576 }, welcome({ resumed: true })))
    peer.sayControl(hello(3))
    peer.sayFrames([data(5)])
    expect(user.received).toHaveLength(1)
    expect(peer.controls).toHaveLength(1)
    expect(link.phase).toBe("open")
  })

  test("[LK8] events of a transport that was replaced are ignored", () => {
    const { clock, user, link, peer: old, resume, detached } = openLink()
    const peer = resume(2)
    old.sayFrames([data(5)])
    old.sayBytes(new Uint8Array(3))
    old.hangUp()
    old.drained()
    clock.settle()
    expect(link.phase).toBe("resuming")
    expect(user.received).toEqual([])
    expect(detached.count).toBe(0)
    peer.sayControl(welcome({ resumed: true }))
    expect(link.phase).toBe("open")
  })

  test("[LK6] a resuming link whose transport is lost too waits for another", () => {
    const { link, peer, resume, detached, user } = openLink()
    peer.hangUp()
    resume(2).hangUp()
    expect(link.phase).toBe("detached")
    expect(detached.count).toBe(2)
    resume(3).sayControl(welcome({ resumed: true }))
    expect(link.phase).toBe("open")
    expect(user.ended).toBeUndefined()
  })

  test("[LC6] an agent that makes a new link of an old one ends it: nothing may run twice", () => {
    const { clock, user, link, peer, resume } = openLink()
    user.queue = [data(10)]
    link.wake()
    clock.settle()
    peer.hangUp()
    const next = resume(2)
    next.sayControl(welcome({ resumed: false }))
    clock.settle()
    expect(user.ended).toMatchObject({ code: "agent-restarted", delivered: "unknown" })
    expect(next.frames).toEqual([])
    expect(next.controls.at(-1)).toMatchObject({ type: "end", code: "agent-restarted" })
  })

  test("[LC6] a refusal of a new link says that nothing was delivered, one of a resumed link cannot", () => {
    const fresh = clientLink()
    fresh.start().sayControl({ type: "refused", code: "too-many-clients", message: "full" })
    expect(fresh.user.ended).toMatchObject({ code: "too-many-clients", message: "full", delivered: "no", retryable: true })
    expect(fresh.user.untouched).toBe(true)

    const old = openLink()
    old.peer.hangUp()
    old.resume(2).sayControl({ type: "refused", code: "agent-restarted", message: "who?" })
    expect(old.user.ended).toMatchObject({ code: "agent-restarted", delivered: "unknown" })
    expect(old.user.untouched).toBe(false)
  })

  test("[LC7] an end from the peer ends the link with its code; an unknown code is link-lost", () => {
    const known = openLink()
    known.peer.sayControl({ type: "end", code: "denied", message: "no more" })
    expect(known.user.ended).toMatchObject({ code: "denied", message: "no more", delivered: "unknown" })
    const unknown = openLink()
    unknown.peer.sayControl({ type: "end", code: "frobnicated", message: "" })
    expect(unknown.user.ended).toMatchObject({ code: "link-lost" })
  })

  test("[LC7] ending a link tells the peer once and its user once", () => {
    const { user, link, peer } = openLink()
    link.end(new TunnelError("aborted", "x".repeat(5_000)))
    link.end(new TunnelError("internal", "again"))
    peer.hangUp()
    expect(user.ended?.code).toBe("aborted")
    expect(peer.controls.slice(1)).toEqual([{ type: "end", code: "aborted", message: "x".repeat(1_024) }])
  })

  test("[LC7] a user that ends the link while its frames are taken sends nothing more", () => {
    const { clock, user, link, peer } = openLink()
    user.take = () => {
      link.end(new TunnelError("aborted", "inside"))
      return [data(10)]
    }
    link.wake()
    clock.settle()
    expect(peer.frames).toEqual([])
    expect(peer.heard).toHaveLength(2)
  })

  test("[LK6] a transport that reports its loss inside send loses nothing", () => {
    const { clock, user, link, peer, resume } = openLink()
    peer.interrupt = () => peer.hangUp()
    user.queue = [data(120, 7), data(65_536, 8)]
    link.wake()
    clock.settle()
    expect(link.phase).toBe("detached")
    expect(peer.frames).toHaveLength(1)
    link.wake()
    const next = resume(2)
    next.sayControl(welcome({ resumed: true }))
    clock.settle()
    expect(next.frames.map((frame) => frame.type === "data" && frame.bytes[0])).toEqual([7, 8])
  })

  test("[LK1] an acknowledgement of nothing is as long as a header", () => {
    const { clock, peer } = openLink()
    let bytes = 0
    const { send } = peer.transport
    peer.transport.send = (message) => {
      bytes = message.byteLength
      send(message)
    }
    peer.sayFrames([data(1)])
    clock.advance(limits.ackDelayMs)
    expect(bytes).toBe(ack)
  })

  test("attaching a transport to an ended link is a mistake of the caller", () => {
    const { link, resume } = openLink()
    link.end(new TunnelError("aborted", "done"))
    expect(() => resume(2)).toThrow("ended")
  })
})
