/** The life of streams over a mux: opening, answering, ending, and what owners are told. */
import { describe, expect, test } from "vitest"
import { InvalidBody, limits, type MuxStream, TunnelError } from "../../src/index.ts"
import { brokenRule } from "../link/queue-user.ts"
import { agentMux, clientMux, Diary, frames, parsed, words } from "./scripted-mux.ts"

describe("opening", () => {
  test("[ST2] the client opens odd streams, the agent even ones, and none twice", () => {
    const client = clientMux()
    client.mux.open("exec", {}, new Diary())
    client.mux.open("exec", {}, new Diary()).reset(new TunnelError("aborted", "no"))
    client.mux.open("exec", {}, new Diary())
    expect(words(client.sent())).toEqual(["open 1", "open 5"])
    const agent = agentMux()
    agent.mux.open("exec", {}, new Diary())
    agent.mux.open("exec", {}, new Diary())
    expect(words(agent.sent())).toEqual(["open 2", "open 4"])
  })

  test("[ST3] bytes, messages and the end go out behind OPEN without waiting for the answer", () => {
    const { mux, sent } = clientMux()
    const stream = mux.open("exec", { argv: ["cat"] }, new Diary())
    stream.write(0, new Uint8Array(10))
    stream.sendMessage({ type: "signal" })
    stream.finish()
    expect(words(sent())).toEqual(["open 1", "message 1", "data 1 10", "fin 1"])
  })

  test("[ST6] what came before the answer is told in order once the stream is accepted", () => {
    const { peer, offers, sent } = agentMux()
    peer.sayFrames([
      frames.open(1, "exec", { argv: ["cat"] }),
      frames.data(1, 5),
      frames.message(1, { a: 1 }),
      frames.data(1, 7, 2),
      frames.fin(1),
    ])
    expect(offers[0]?.body).toEqual({ argv: ["cat"] })
    const diary = new Diary()
    expect(offers[0]?.stream.accept({ pid: 7 }, diary)).toBe(true)
    expect(diary.entries).toEqual(["data 0 5", 'message {"a":1}', "data 2 7", "finished"])
    const [accept] = sent()
    expect(accept?.type === "accept" && parsed(accept.body)).toEqual({ pid: 7 })
  })

  test("[ST6] nothing is told after closed, even of what came before the answer", () => {
    const { peer, offers } = agentMux()
    peer.sayFrames([frames.open(1), frames.message(1, 1), frames.data(1, 5), frames.fin(1)])
    const diary = new Diary()
    diary.react.message = () => {
      throw new InvalidBody("not what I asked for")
    }
    offers[0]?.stream.accept({}, diary)
    expect(diary.entries).toEqual(["message 1", "closed bad-request"])
  })

  test("[ST6] messages before the answer are bounded in bytes: beyond 64 KiB the stream is rejected", () => {
    const { peer, offers, sent, over } = agentMux()
    peer.sayFrames([frames.open(1)])
    const message = frames.message(1, "x".repeat(16_000))
    for (let count = 0; count < 4; count++) peer.sayFrames([message])
    expect(offers[0]?.stream.phase).toBe("offered")
    peer.sayFrames([frames.message(1, "x".repeat(2_000))])
    const [reject] = sent()
    expect(reject?.type === "reject" && parsed(reject.body)).toMatchObject({ code: "overloaded" })
    expect(over.error).toBeUndefined()
  })

  test("[ST6] messages before the answer are bounded in number too: the 257th rejects the stream, however small they are", () => {
    const { peer, offers, sent, over } = agentMux()
    peer.sayFrames([frames.open(1), ...Array.from({ length: limits.queuedMessagesMax }, () => frames.message(1, 1))])
    expect(offers[0]?.stream.phase).toBe("offered")
    peer.sayFrames([frames.message(1, 1)])
    const [reject] = sent()
    expect(reject?.type === "reject" && parsed(reject.body)).toMatchObject({ code: "overloaded" })
    expect(over.error).toBeUndefined()
  })

  test("[ST6] any number of small DATA frames before the answer is taken, up to the credit", () => {
    const { peer, offers, over } = agentMux()
    peer.sayFrames([frames.open(1), ...Array.from({ length: 4_000 }, () => frames.data(1, 1))])
    const diary = new Diary()
    offers[0]?.stream.accept({}, diary)
    expect(diary.entries).toHaveLength(4_000)
    expect(over.error).toBeUndefined()
  })

  test("[ST3] a rejected stream is closed with the peer's reason, delivered no", () => {
    const { mux, peer } = clientMux()
    const diary = new Diary()
    mux.open("exec", {}, diary)
    peer.sayFrames([frames.reject(1, "denied", "not on this machine")])
    expect(diary.entries).toEqual(["closed denied"])
    expect(diary.error).toMatchObject({ message: "not on this machine", delivered: "no" })
    expect(mux.streamCount).toBe(0)
  })

  test("[ST3] accept and reject do nothing to a stream that ended while its owner thought", () => {
    const { peer, offers, sent } = agentMux()
    peer.sayFrames([frames.open(1), frames.open(3), frames.reset(1), frames.reset(3)])
    const diary = new Diary()
    expect(offers[0]?.stream.accept({}, diary)).toBe(false)
    offers[1]?.stream.reject(new TunnelError("denied", "no"))
    expect(sent()).toEqual([])
    expect(diary.entries).toEqual([])
  })

  describe("a stream that ends before its owner has answered", () => {
    type Bench = ReturnType<typeof agentMux>
    const endings: readonly [string, (bench: Bench, stream: MuxStream) => void][] = [
      ["reset by the peer", ({ peer }) => peer.sayFrames([frames.reset(1)])],
      ["gone with its link", ({ mux }) => mux.link.end(new TunnelError("link-lost", "away"))],
      ["that said too much", ({ peer }) => peer.sayFrames(Array.from({ length: 257 }, () => frames.message(1, 1)))],
      ["whose message is not JSON", ({ peer }) => peer.sayFrames([{ ...frames.message(1), body: Uint8Array.of(0xff) } as never])],
      ["that its owner rejects", (_, stream) => stream.reject(new TunnelError("denied", "no"))],
      ["that its owner resets", (_, stream) => stream.reset(new TunnelError("aborted", "no"))],
    ]

    test.each(endings)("%s is abandoned, once", (_, end) => {
      const bench = agentMux()
      bench.peer.sayFrames([frames.open(1), frames.data(1, 5), frames.fin(1)])
      const { stream } = bench.offers[0] ?? {}
      if (stream === undefined) throw new Error("nothing was offered")
      const phases: string[] = []
      stream.abandoned = () => phases.push(stream.phase)
      end(bench, stream)
      stream.reject(new TunnelError("denied", "no"))
      stream.reset(new TunnelError("aborted", "no"))
      bench.mux.link.end(new TunnelError("link-lost", "away"))
      expect(phases).toEqual(["closed"])
    })

    test("once it is accepted, tells its owner of its end and nobody else", () => {
      const { peer, offers } = agentMux()
      peer.sayFrames([frames.open(1)])
      const { stream } = offers[0] ?? {}
      if (stream === undefined) throw new Error("nothing was offered")
      const diary = new Diary()
      stream.abandoned = () => diary.entries.push("abandoned")
      stream.accept({}, diary)
      peer.sayFrames([frames.reset(1)])
      expect(diary.entries).toEqual(["closed aborted"])
    })
  })

  test("[ST3] a body the owner finds invalid while it is offered rejects that stream alone", () => {
    const { peer, sent, over } = agentMux({
      offered: () => {
        throw new InvalidBody("argv: expected a list")
      },
    })
    peer.sayFrames([frames.open(1)])
    const [reject] = sent()
    expect(reject?.type === "reject" && parsed(reject.body)).toEqual({ code: "bad-request", message: "argv: expected a list" })
    expect(over.error).toBeUndefined()
  })

  test("[MX2] an OPEN that is not JSON of the right shape is rejected, and the link goes on", () => {
    const { peer, sent, over } = agentMux()
    peer.sayFrames([
      { ...frames.open(1), body: new TextEncoder().encode("{]") } as never,
      { ...frames.open(3), body: new TextEncoder().encode('{"kind":7}') } as never,
      { ...frames.open(5), body: Uint8Array.of(0xff, 0xfe) } as never,
    ])
    expect(words(sent())).toEqual(["reject 1", "reject 3", "reject 5"])
    expect(over.error).toBeUndefined()
  })

  test("[MX2] an end that serves nothing rejects with unsupported-kind", () => {
    const { mux, peer, sent } = clientMux({ offered: undefined } as never)
    peer.sayFrames([frames.open(2)])
    const [reject] = sent()
    expect(reject?.type === "reject" && parsed(reject.body)).toMatchObject({ code: "unsupported-kind" })
    expect(mux.streamCount).toBe(0)
  })

  test("[LM3] the 257th stream is refused on both sides, and an ended one makes room", () => {
    const client = clientMux()
    const first = client.mux.open("exec", {}, new Diary())
    for (let count = 1; count < limits.streamsMax; count++) client.mux.open("exec", {}, new Diary())
    expect(() => client.mux.open("exec", {}, new Diary())).toThrow(expect.objectContaining({ code: "too-many-streams", delivered: "no" }))
    first.reset(new TunnelError("aborted", "no"))
    client.mux.open("exec", {}, new Diary())

    const agent = agentMux()
    agent.peer.sayFrames(Array.from({ length: limits.streamsMax + 1 }, (_, index) => frames.open(2 * index + 1)))
    expect(agent.offers).toHaveLength(limits.streamsMax)
    const [reject] = agent.sent()
    expect(reject?.type === "reject" && [reject.stream, parsed(reject.body)]).toMatchObject([513, { code: "too-many-streams" }])
    agent.offers[0]?.stream.reject(new TunnelError("denied", "no"))
    agent.peer.sayFrames([frames.open(515)])
    expect(agent.offers).toHaveLength(limits.streamsMax + 1)
  })

  test("[LM4] a request above 256 KiB is refused here and never sent", () => {
    const { mux, sent } = clientMux()
    expect(() => mux.open("exec", "x".repeat(limits.openBytesMax), new Diary())).toThrow(
      expect.objectContaining({ code: "too-large", delivered: "no" }),
    )
    expect(sent()).toEqual([])
    expect(mux.streamCount).toBe(0)
  })

  test("[ST5] a stream that is reset before its OPEN has left is never opened", () => {
    const { mux, peer, sent } = clientMux()
    peer.hangUp()
    const diary = new Diary()
    const stream = mux.open("exec", {}, diary)
    stream.write(0, new Uint8Array(5))
    stream.sendMessage({})
    stream.reset(new TunnelError("aborted", "changed my mind"))
    expect(sent()).toEqual([])
    expect(diary.entries).toEqual(["closed aborted"])
    expect(mux.streamCount).toBe(0)
  })
})

describe("ending", () => {
  const openPair = () => {
    const bench = clientMux()
    const diary = new Diary()
    const stream = bench.mux.open("exec", {}, diary)
    bench.peer.sayFrames([frames.accept(1, { pid: 1 })])
    bench.sent()
    return { ...bench, diary, stream }
  }

  test("[ST1] each half ends by itself; with both the stream is over, once and clean", () => {
    const { mux, peer, stream, diary, sent } = openPair()
    stream.finish({ bye: 1 })
    stream.finish()
    expect(words(sent())).toEqual(["fin 1"])
    peer.sayFrames([frames.data(1, 3), frames.fin(1, { exit: 0 })])
    expect(diary.entries).toEqual(['accepted {"pid":1}', "data 0 3", "finished", "closed clean"])
    expect(diary.trailer).toEqual({ exit: 0 })
    expect(mux.streamCount).toBe(0)
  })

  test("[ST1] the other half goes on after a FIN", () => {
    const { peer, stream, diary, sent } = openPair()
    peer.sayFrames([frames.fin(1)])
    stream.write(0, new Uint8Array(9))
    stream.finish()
    expect(words(sent())).toEqual(["data 1 9", "fin 1"])
    expect(diary.entries.slice(1)).toEqual(["finished", "closed clean"])
  })

  test("[ST4] after the end no more bytes are written, and messages only while the other half lasts", () => {
    const { peer, stream, diary, sent } = openPair()
    stream.finish()
    stream.write(0, new Uint8Array(9))
    expect(words(sent())).toEqual(["fin 1"])
    stream.sendMessage({})
    expect(words(sent())).toEqual(["message 1"])
    expect(stream.writableBytes).toBe(0)
    peer.sayFrames([frames.fin(1)])
    expect(diary.entries.at(-1)).toBe("closed clean")
    stream.sendMessage({})
    expect(sent()).toEqual([])
  })

  test("[ST4] a message after the peer's end is heard", () => {
    const { peer, diary } = openPair()
    peer.sayFrames([frames.fin(1), frames.message(1)])
    expect(diary.entries.slice(1)).toEqual(["finished", "message {}"])
  })

  test("[ST5] a reset drops what is queued and is told to the peer; a second does nothing", () => {
    const { stream, diary, sent, mux } = openPair()
    stream.write(0, new Uint8Array(50))
    stream.reset(new TunnelError("aborted", "x".repeat(9_000)))
    stream.reset(new TunnelError("internal", "again"))
    const [reset, ...rest] = sent()
    expect(reset?.type === "reset" && parsed(reset.body)).toEqual({ code: "aborted", message: "x".repeat(2_048) })
    expect(rest).toEqual([])
    expect(diary.entries.at(-1)).toBe("closed aborted")
    expect(mux.streamCount).toBe(0)
  })

  test("[ST5] an error message of characters that JSON makes six of still fits", () => {
    const { stream, sent, over } = openPair()
    stream.reset(new TunnelError("aborted", "\u0001".repeat(9_000)))
    const [reset] = sent()
    expect(reset?.type === "reset" && reset.body.byteLength).toBeLessThanOrEqual(limits.jsonBytesMax)
    expect(over.error).toBeUndefined()
  })

  test("[ST5] a reset from the peer closes the stream with its code, delivered yes once accepted and unknown before", () => {
    const { peer, diary, mux } = openPair()
    const second = new Diary()
    mux.open("exec", {}, second)
    peer.sayFrames([frames.reset(1, "timeout", "too slow"), frames.reset(3, "frobnicated")])
    expect(diary.error).toMatchObject({ code: "timeout", message: "too slow", delivered: "yes" })
    expect(second.error).toMatchObject({ code: "internal", delivered: "unknown" })
  })

  test("[ST5] frames that crossed a reset are dropped", () => {
    const { peer, stream, over, diary } = openPair()
    stream.reset(new TunnelError("aborted", "stop"))
    const count = diary.entries.length
    peer.sayFrames([
      frames.data(1, 100),
      frames.message(1),
      frames.credit(1, 5),
      frames.fin(1),
      frames.reset(1),
      frames.accept(1),
      frames.reject(1),
    ])
    expect(over.error).toBeUndefined()
    expect(diary.entries).toHaveLength(count)
  })

  test("[ST7] an invalid trailer is an error also when both halves have ended, and is told once", () => {
    const { peer, stream, diary, sent } = openPair()
    diary.react.finished = () => {
      throw new InvalidBody("exit: expected an object")
    }
    stream.finish()
    sent()
    peer.sayFrames([frames.fin(1, { nonsense: true })])
    expect(diary.entries.slice(1)).toEqual(["finished", "closed bad-request"])
  })

  test("[ST7] an invalid trailer resets a stream whose own half is open, and is told once", () => {
    const { peer, diary, sent } = openPair()
    diary.react.finished = () => {
      throw new InvalidBody("exit: expected an object")
    }
    peer.sayFrames([frames.fin(1, { nonsense: true })])
    expect(diary.entries.slice(1)).toEqual(["finished", "closed bad-request"])
    expect(words(sent())).toEqual(["reset 1"])
  })

  test("[ST7] an owner that resets inside finished is told closed once", () => {
    const { peer, diary, stream } = openPair()
    diary.react.finished = () => stream.reset(new TunnelError("aborted", "enough"))
    peer.sayFrames([frames.fin(1)])
    expect(diary.entries.slice(1)).toEqual(["finished", "closed aborted"])
  })

  test("[ST7] a MESSAGE or FIN that is not JSON resets its stream, and the link goes on", () => {
    const { peer, sent, over, diary } = openPair()
    peer.sayFrames([{ ...frames.message(1), body: new TextEncoder().encode("{]") } as never])
    expect(words(sent())).toEqual(["reset 1"])
    expect(diary.entries.at(-1)).toBe("closed bad-request")
    expect(over.error).toBeUndefined()
  })

  test("[LM4] an answer, a message or a trailer above 16 KiB is refused here, and the stream goes on", () => {
    const { stream, sent } = openPair()
    const huge = "x".repeat(limits.jsonBytesMax)
    expect(() => stream.sendMessage(huge)).toThrow(expect.objectContaining({ code: "too-large" }))
    expect(() => stream.finish(huge)).toThrow(expect.objectContaining({ code: "too-large" }))
    stream.finish({ small: true })
    expect(words(sent())).toEqual(["fin 1"])

    const agent = agentMux()
    agent.peer.sayFrames([frames.open(1)])
    expect(() => agent.offers[0]?.stream.accept(huge, new Diary())).toThrow(expect.objectContaining({ code: "too-large" }))
    expect(agent.offers[0]?.stream.accept({}, new Diary())).toBe(true)
  })

  test("[ST5] a stream whose neighbour resets it while frames are taken is passed over", () => {
    const { mux, sent, over, peer } = clientMux()
    const first = new Diary()
    const one = mux.open("exec", {}, first)
    const two = mux.open("exec", {}, new Diary())
    peer.sayFrames([frames.accept(1), frames.accept(3), frames.fin(1)])
    sent()
    first.react.closed = () => two.reset(new TunnelError("aborted", "with its neighbour"))
    one.finish()
    two.finish({ trailer: 1 })
    expect(words(sent())).toEqual(["fin 1", "reset 3"])
    expect(over.error).toBeUndefined()
  })
})

describe("the end of the link", () => {
  test("[MX6] each stream hears whether its request was delivered: no, unknown or yes", () => {
    const { mux, peer, sent } = clientMux()
    const accepted = new Diary()
    const unanswered = new Diary()
    const unsent = new Diary()
    mux.open("exec", {}, accepted)
    mux.open("exec", {}, unanswered)
    sent()
    peer.sayFrames([frames.accept(1)])
    peer.hangUp()
    mux.open("exec", {}, unsent)
    mux.link.end(new TunnelError("agent-offline", "gone"))
    expect([accepted, unanswered, unsent].map(({ error }) => [error?.delivered, error?.retryable])).toEqual([
      ["yes", false],
      ["unknown", false],
      ["no", true],
    ])
    expect(mux.streamCount).toBe(0)
    expect(mux.link.traffic.interactiveStreams).toBe(0)
  })

  test("[MX6] a refused link has delivered nothing of what was sent behind its hello", () => {
    const { clock, mux, peer } = clientMux({}, { type: "refused", code: "too-many-clients", message: "full" } as never)
    void clock
    expect(peer.closed).toBeUndefined()
    expect(() => mux.open("exec", {}, new Diary())).toThrow(expect.objectContaining({ code: "too-many-clients", delivered: "no" }))
  })

  test("[MX6] what an ended link is asked fails with the link's error", async () => {
    const { mux, peer } = clientMux()
    const ping = mux.ping()
    peer.sayControl({ type: "end", code: "agent-stopped", message: "bye" })
    await expect(ping).rejects.toMatchObject({ code: "agent-stopped" })
    await expect(mux.ping()).rejects.toMatchObject({ code: "agent-stopped" })
    expect(() => mux.open("exec", {}, new Diary())).toThrow(expect.objectContaining({ code: "agent-stopped", delivered: "no" }))
  })
})

describe("a hostile peer", () => {
  const violations: readonly [string, string, (bench: ReturnType<typeof agentMux>) => void][] = [
    ["ST1", "ACCEPT of a stream it opened itself", ({ peer }) => peer.sayFrames([frames.open(1), frames.accept(1)])],
    ["ST1", "a second FIN", ({ peer }) => peer.sayFrames([frames.open(1), frames.fin(1), frames.fin(1)])],
    ["ST2", "OPEN with the other side's parity", ({ peer }) => peer.sayFrames([frames.open(2)])],
    ["ST2", "OPEN of a number used before", ({ peer }) => peer.sayFrames([frames.open(3), frames.open(3)])],
    ["ST2", "OPEN of a lower number", ({ peer }) => peer.sayFrames([frames.open(3), frames.open(1)])],
    ["ST2", "DATA of a stream that never was", ({ peer }) => peer.sayFrames([frames.data(1, 1)])],
    ["ST2", "CREDIT of a stream of ours that never was", ({ peer }) => peer.sayFrames([frames.credit(2, 1)])],
    ["ST3", "REJECT of a stream it opened itself", ({ peer }) => peer.sayFrames([frames.open(1), frames.reject(1)])],
    ["ST4", "DATA after FIN", ({ peer }) => peer.sayFrames([frames.open(1), frames.fin(1), frames.data(1, 1)])],
    [
      "ST4",
      "DATA before its ACCEPT",
      ({ mux, peer, sent }) => {
        mux.open("exec", {}, new Diary())
        sent()
        peer.sayFrames([frames.data(2, 1)])
      },
    ],
    [
      "FC2",
      "DATA beyond the credit",
      ({ peer }) => peer.sayFrames([frames.open(1), ...Array.from({ length: 4 }, () => frames.data(1, 65_536))]),
    ],
    [
      "FC2",
      "one-byte DATA beyond the credit they cost",
      ({ peer }) => peer.sayFrames([frames.open(1), ...Array.from({ length: 4_033 }, () => frames.data(1, 1))]),
    ],
    [
      "FC4",
      "CREDIT above the largest window",
      ({ peer }) => peer.sayFrames([frames.open(1), frames.credit(1, limits.streamWindowBytesMax - limits.streamWindowBytes + 1)]),
    ],
    ["FC4", "CREDIT of nothing", ({ peer }) => peer.sayFrames([frames.open(1), frames.credit(1, 0)])],
  ]

  test.each(violations)("[%s] %s ends the link", (rule, _, act) => {
    const bench = agentMux()
    act(bench)
    expect(bench.over.error).toMatchObject({ code: "protocol-error" })
    expect(brokenRule({ ended: bench.over.error })).toBe(rule)
    expect(bench.peer.controls.at(-1)).toMatchObject({ type: "end", code: "protocol-error" })
  })

  test("[ST1] a second ACCEPT ends the link", () => {
    const { mux, peer, sent, over } = clientMux()
    mux.open("exec", {}, new Diary())
    sent()
    peer.sayFrames([frames.accept(1), frames.accept(1)])
    expect(brokenRule({ ended: over.error })).toBe("ST1")
  })

  test("[MX5] a peer that makes us answer and does not read is cut off", () => {
    const { peer, over, sent } = agentMux({ offered: undefined } as never, 32_768)
    let id = 1
    const next = () => {
      id += 2
      return id
    }
    for (let round = 0; over.error === undefined && round < 100; round++) {
      peer.sayFrames(
        Array.from({ length: 100 }, () => frames.open(next())),
        { ack: 0 },
      )
      sent()
    }
    expect(over.error).toMatchObject({ code: "overloaded" })
    // One window of REJECTs and 1,024 in the queue: no more was ever held.
    expect(id).toBeLessThan(2 * (1_024 + 32_768 / 20 + 200))
  })

  test("[MX4] a flood of PING costs one queued answer, whether the peer reads or not", () => {
    const { peer, over, sent } = agentMux({}, 32_768)
    for (let count = 0; count < 5_000; count++) {
      peer.sayFrames([frames.ping(count & 0xff)], { ack: 0 })
      sent()
    }
    const unread = peer.heardBytes
    expect(unread).toBeLessThanOrEqual(32_768)
    peer.sayBody(new Uint8Array(0))
    const after = sent()
    expect(after.length).toBeLessThanOrEqual(2)
    expect(after.at(-1)).toEqual({ type: "pong", token: new Uint8Array(8).fill(4_999 & 0xff) })
    expect(over.error).toBeUndefined()
  })

  test("[MX4] pings in one message get one answer, to the last of them", () => {
    const { peer, sent } = agentMux()
    peer.sayFrames([frames.ping(1), frames.ping(2), frames.ping(3)])
    expect(sent()).toEqual([{ type: "pong", token: new Uint8Array(8).fill(3) }])
  })

  test("[FC1] a small piece of a large message is handed out without the rest of it", () => {
    const { peer, offers } = agentMux()
    peer.sayFrames([frames.open(1)])
    let held = 0
    const diary = new Diary()
    diary.react.data = (_, bytes) => {
      held = bytes.buffer.byteLength
    }
    offers[0]?.stream.accept({}, diary)
    peer.sayFrames([frames.data(1, 1), frames.open(3, "exec", "x".repeat(100_000))])
    expect(held).toBe(1)
  })
})
