/** Credit, queues, order and pacing of what a mux sends. */
import { describe, expect, test } from "vitest"
import { dataCost, limits, type MuxStream, TunnelError } from "../../src/index.ts"
import { agentMux, clientMux, Diary, frames, parsed, words } from "./scripted-mux.ts"

const sizes = (list: readonly string[]) => list.map((word) => Number(word.split(" ")[2]))
const sum = (list: readonly number[]) => list.reduce((total, value) => total + value, 0)

/** A client with accepted streams of the kinds given. */
function streams(kinds: readonly string[], window = 1_048_576) {
  const bench = clientMux({}, { type: "welcome", protocol: 1, received: 0, window, resumed: false } as never)
  const diaries = kinds.map(() => new Diary())
  const list = kinds.map((kind, index) => bench.mux.open(kind, {}, diaries[index] ?? new Diary()))
  bench.sent()
  bench.peer.sayFrames(list.map((stream) => frames.accept(stream.id)))
  bench.sent()
  const stream = (index: number): MuxStream => {
    const found = list[index]
    if (found === undefined) throw new Error("no such stream")
    return found
  }
  const diary = (index: number): Diary => diaries[index] ?? new Diary()
  /** Acknowledges everything and lets the mux go on. */
  const acknowledged = () => {
    bench.peer.sayBody(new Uint8Array(0))
    return words(bench.sent())
  }
  return { ...bench, stream, diary, acknowledged }
}

describe("credit", () => {
  test("[FC2] a stream sends 256 KiB, overhead of 64 bytes a frame included, and no byte more", () => {
    const { stream, sent } = streams(["exec"])
    stream(0).write(0, new Uint8Array(300_000))
    const payloads = sizes(words(sent()))
    expect(sum(payloads.map(dataCost))).toBe(limits.streamWindowBytes)
    expect(stream(0).queuedBytes).toBe(300_000 - sum(payloads))
  })

  test("[FC2] credit lets exactly as much more go", () => {
    const { stream, sent, peer } = streams(["exec"])
    stream(0).write(0, new Uint8Array(400_000))
    sent()
    peer.sayFrames([frames.credit(1, 64)])
    expect(words(sent())).toEqual([])
    peer.sayFrames([frames.credit(1, 1_000)])
    expect(words(sent())).toEqual(["data 1 1000"])
  })

  test("[FC3] receiving grants nothing; consuming half a window grants what was consumed at once", () => {
    const { clock, peer, sent, stream, diary } = streams(["exec"])
    const frame = frames.data(1, 16_384 - 64)
    for (let count = 0; count < 16; count++) peer.sayFrames([frame])
    clock.advance(limits.ackDelayMs)
    expect(words(sent())).toEqual([])
    for (const cost of diary(0).costs.slice(0, 7)) stream(0).consumed(cost)
    expect(words(sent())).toEqual([])
    stream(0).consumed(16_384)
    // The second quarter came so soon that the window has doubled (FC5).
    expect(words(sent())).toEqual([`credit 1 ${131_072 + limits.streamWindowBytes}`])
  })

  test("[FC3] a quarter of a window is granted with what is sent for another reason", () => {
    const { peer, sent, stream } = streams(["exec", "exec"])
    for (let count = 0; count < 4; count++) peer.sayFrames([frames.data(1, 16_384 - 64)])
    stream(0).consumed(65_536)
    expect(words(sent())).toEqual([])
    stream(1).sendMessage({ type: "signal", signal: "SIGINT" })
    expect(words(sent())).toEqual([expect.stringMatching(/^message 3/), "credit 1 65536"])
  })

  test("[FC3] a quarter of a window is granted after 5 ms otherwise, of every stream that has consumed it", () => {
    const { clock, peer, sent, stream } = streams(["exec", "exec", "exec"])
    for (const id of [1, 3, 5]) for (let count = 0; count < 4; count++) peer.sayFrames([frames.data(id, 16_384 - 64)])
    for (const index of [0, 1]) stream(index).consumed(65_536)
    stream(2).consumed(65_535)
    clock.advance(limits.ackDelayMs - 1)
    expect(words(sent())).toEqual([])
    clock.advance(1)
    expect(words(sent())).toEqual(["credit 1 65536", "credit 3 65536"])
  })

  test("[FC3] a quarter of a window is granted at once while an interactive stream is open", () => {
    const { peer, sent, stream } = streams(["exec", "pty"])
    for (let count = 0; count < 4; count++) peer.sayFrames([frames.data(1, 16_384 - 64)])
    stream(0).consumed(65_536)
    expect(words(sent())).toEqual(["credit 1 65536"])
  })

  test("[FC5] a reader that empties windows faster than two round trips is given a larger one, up to 1 MiB", () => {
    const { peer, sent, stream, diary, over } = streams(["exec"])
    let granted = 0
    let received = 0
    for (let round = 0; round < 200; round++) {
      peer.sayFrames([frames.data(1, 65_472)])
      received += 65_536
      for (const cost of diary(0).costs.splice(0)) stream(0).consumed(cost)
      for (const frame of sent()) if (frame.type === "credit") granted += frame.bytes
    }
    expect(over.error).toBeUndefined()
    const window = limits.streamWindowBytes + granted - received
    expect(window).toBeGreaterThan(limits.streamWindowBytesMax / 2)
    expect(window).toBeLessThanOrEqual(limits.streamWindowBytesMax)
  })

  test("[FC5] a slow reader keeps the first window", () => {
    const { clock, peer, sent, stream, diary } = streams(["exec"])
    let granted = 0
    for (let round = 0; round < 50; round++) {
      clock.advance(100)
      peer.sayFrames([frames.data(1, 65_472)])
      for (const cost of diary(0).costs.splice(0)) stream(0).consumed(cost)
      for (const frame of sent()) if (frame.type === "credit") granted += frame.bytes
    }
    expect(granted).toBe(50 * 65_536)
  })

  test("[FC3] nothing is granted to a peer that has finished", () => {
    const { peer, sent, stream } = streams(["exec"])
    peer.sayFrames([frames.data(1, 65_536), frames.fin(1)])
    stream(0).consumed(65_600)
    expect(sent()).toEqual([])
  })

  test("[PC1] a FIN waits behind its stream's bytes, also when these wait for credit", () => {
    const { stream, sent, peer } = streams(["exec"])
    stream(0).write(0, new Uint8Array(262_144))
    stream(0).finish()
    expect(words(sent())).not.toContain("fin 1")
    peer.sayFrames([frames.credit(1, 65_536)])
    expect(words(sent())).toEqual(["data 1 256", "fin 1"])
  })

  test("[FC6] a MESSAGE and a FIN pass without credit", () => {
    const { stream, sent } = streams(["exec"])
    stream(0).write(0, new Uint8Array(262_144))
    sent()
    stream(0).sendMessage({ type: "signal" })
    expect(words(sent())).toEqual(["message 1"])
  })
})

describe("queue", () => {
  test("[FC7] a stream takes 256 KiB, then says when half of it is gone", () => {
    const { stream, sent, diary, peer } = streams(["exec"])
    peer.hangUp()
    expect(stream(0).writableBytes).toBe(262_144)
    stream(0).write(0, new Uint8Array(262_144))
    expect(stream(0).writableBytes).toBe(0)
    expect(diary(0).entries).not.toContain("writable")
    sent()
    expect(diary(0).entries).not.toContain("writable")
  })

  test("[FC7] writable is told once per time the stream was full, and never after the end", () => {
    const { stream, sent, diary, peer } = streams(["exec"])
    stream(0).write(0, new Uint8Array(262_144))
    expect(stream(0).writableBytes).toBe(0)
    sent()
    expect(diary(0).entries.filter((entry) => entry === "writable")).toHaveLength(1)
    stream(0).finish()
    expect(stream(0).writableBytes).toBe(0)
    peer.sayFrames([frames.credit(1, 65_536), frames.fin(1)])
    peer.sayBody(new Uint8Array(0))
    sent()
    expect(diary(0).entries.slice(-2)).toEqual(["finished", "closed clean"])
    expect(diary(0).entries.filter((entry) => entry === "writable")).toHaveLength(1)
  })

  test("[FC7] who asked for room before accepting hears of it after", () => {
    const { peer, offers } = agentMux()
    peer.sayFrames([frames.open(1)])
    const stream = offers[0]?.stream
    expect(stream?.writableBytes).toBe(0)
    const diary = new Diary()
    stream?.accept({}, diary)
    expect(diary.entries).toEqual(["writable"])
  })

  test("bytes that were written may change, and be written again while those before are being sent", () => {
    const { stream: streamAt, diary, peer, sent } = streams(["exec"])
    const stream = streamAt(0)
    const chunk = new Uint8Array(65_536)
    let written = 0
    let seen = 0
    const fill = () => {
      for (; stream.writableBytes > 0; written++) stream.write(0, chunk.fill(written))
    }
    diary(0).react.writable = fill
    fill()
    for (let count = 0; count < 20; count++) {
      const payloads = sent().flatMap((frame) => (frame.type === "data" ? [frame.bytes] : []))
      const all = payloads.flatMap((bytes) => [...bytes])
      expect(all.every((byte, index) => byte === Math.floor((seen + index) / chunk.byteLength))).toBe(true)
      seen += all.length
      peer.sayFrames([frames.credit(1, sum(payloads.map(({ byteLength }) => dataCost(byteLength))))])
    }
    expect(seen).toBeGreaterThan(10 * chunk.byteLength)
  })

  test("[FR6] small writes with one tag leave as one frame, another tag starts another", () => {
    const { stream, sent } = streams(["exec"])
    for (let count = 0; count < 10; count++) stream(0).write(1, Uint8Array.of(count))
    stream(0).write(2, Uint8Array.of(99))
    stream(0).write(1, Uint8Array.of(7))
    const list = sent()
    expect(list.map((frame) => frame.type === "data" && [frame.tag, ...frame.bytes])).toEqual([
      [1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
      [2, 99],
      [1, 7],
    ])
  })

  test("[FC8] the 257th MESSAGE that cannot leave is refused, and the link is not touched", () => {
    const { stream, peer, mux, over } = streams(["exec", "exec", "exec", "exec", "exec"])
    peer.hangUp()
    for (let index = 0; index < 5; index++) {
      for (let count = 0; count < limits.queuedMessagesMax; count++) stream(index).sendMessage({ count })
      expect(() => stream(index).sendMessage({})).toThrow(expect.objectContaining({ code: "overloaded" }))
    }
    mux.open("exec", {}, new Diary())
    stream(0).reset(new TunnelError("aborted", "enough"))
    expect(over.error).toBeUndefined()
  })
})

describe("priority", () => {
  test("[PC1] control goes before interactive bytes, these before bulk", () => {
    const { stream, sent } = streams(["exec", "pty"])
    stream(0).write(0, new Uint8Array(100))
    stream(1).write(0, new Uint8Array(3))
    stream(0).sendMessage({})
    expect(words(sent())).toEqual(["message 1", "data 3 3", "data 1 100"])
  })

  test("[PC2] an interactive stream with more than 16 KiB queued waits with the bulk", () => {
    const { stream, sent } = streams(["exec", "pty", "pty"])
    stream(0).write(0, new Uint8Array(10))
    stream(1).write(0, new Uint8Array(16_385))
    stream(2).write(0, new Uint8Array(16_384))
    expect(words(sent()).slice(0, 2)).toEqual(["data 5 16384", "data 1 10"])
  })

  test("[PC3] streams of one class take turns frame by frame", () => {
    const { stream, sent } = streams(["exec", "exec", "exec"])
    for (const index of [0, 1, 2]) stream(index).write(0, new Uint8Array(196_608))
    const order = words(sent()).map((word) => word.split(" ")[1])
    expect(order.slice(0, 6)).toEqual(["1", "3", "5", "1", "3", "5"])
  })

  test("[PC3] no stream of 50 sends a second frame before every other has sent one", () => {
    const { stream, sent } = streams(Array.from({ length: 50 }, () => "exec"))
    for (let index = 0; index < 50; index++) stream(index).write(0, new Uint8Array(100_000))
    const seen = words(sent()).map((word) => word.split(" ")[1])
    const firstRepeat = seen.findIndex((id, index) => seen.indexOf(id) < index)
    expect(firstRepeat === -1 ? seen.length : firstRepeat).toBe(Math.min(seen.length, 50))
  })

  test("[PC3] what a stream has to say in several small frames goes out in one message, and frames of the largest size one by one", () => {
    const { stream, sent, peer } = streams(["exec", "pty"])
    const before = peer.heard.length
    stream(0).write(1, new Uint8Array(100))
    stream(0).write(0, new Uint8Array(10))
    stream(0).finish({})
    expect(words(sent())).toEqual(["data 1 100", "data 1 10", "fin 1"])
    expect(peer.heard.length - before).toBe(1)
    const paced = streams(["exec", "pty"])
    const opened = paced.peer.heard.length
    paced.stream(0).write(0, new Uint8Array(32_768))
    expect(words(paced.sent())).toEqual(["data 1 16384", "data 1 16384"])
    expect(paced.peer.heard.length - opened).toBe(2)
  })

  test("[PC4] a full window of bulk leaves room for a keystroke", () => {
    const { stream, sent } = streams(["exec", "pty"], 65_536)
    stream(0).write(0, new Uint8Array(200_000))
    sent()
    stream(1).write(0, Uint8Array.of(1))
    expect(words(sent())).toEqual(["data 3 1"])
  })

  test("[PC5] bulk beside an open terminal keeps to 64 KiB in flight in pieces of 16 KiB; alone it fills the window", () => {
    const beside = streams(["exec", "pty"])
    beside.stream(0).write(0, new Uint8Array(262_144))
    const paced = sizes(words(beside.sent()))
    expect(Math.max(...paced)).toBe(16_384)
    expect(beside.mux.link.inFlightBytes).toBeLessThanOrEqual(65_536)
    const alone = streams(["exec"])
    alone.stream(0).write(0, new Uint8Array(262_144))
    expect(Math.max(...sizes(words(alone.sent())))).toBe(65_536)
  })

  test("[PC6] an OPEN above the free window waits until it fits or nothing is in flight, and nothing overtakes it", () => {
    const { mux, stream, sent, acknowledged } = streams(["exec"], 65_536)
    stream(0).write(0, new Uint8Array(10_000))
    sent()
    mux.open("exec", "x".repeat(200_000), new Diary())
    stream(0).write(0, new Uint8Array(5))
    expect(words(sent())).toEqual([])
    expect(acknowledged()).toEqual(["open 3"])
    expect(acknowledged()).toEqual(["data 1 5"])
  })

  test("[PC7] a sliver of the window waits for more room instead of making a message of its own", () => {
    const { stream, sent, acknowledged } = streams(["exec"], 65_536)
    stream(0).write(0, new Uint8Array(49_000))
    sent()
    stream(0).write(0, new Uint8Array(20_000))
    expect(words(sent())).toEqual([])
    expect(acknowledged()).toEqual(["data 1 20000"])
  })
})

describe("ping and go-away", () => {
  test("[MX4] a PING is echoed, and the round trip is told in milliseconds", async () => {
    const { clock, mux, peer, sent } = clientMux()
    const rtt = mux.ping()
    const [ping] = sent()
    clock.advance(70)
    if (ping?.type !== "ping") throw new Error("no PING was sent")
    peer.sayFrames([{ type: "pong", token: new Uint8Array(8).fill(9) }])
    peer.sayFrames([{ type: "pong", token: ping.token }])
    expect(await rtt).toBe(70)
  })

  test("[MX4] a second PING while one is under way is refused here", async () => {
    const { mux } = clientMux()
    mux.ping().catch(() => undefined)
    await expect(mux.ping()).rejects.toMatchObject({ code: "overloaded" })
  })

  test("[MX3] after GOAWAY nothing new is opened and what is open goes on", () => {
    const { mux, peer, stream, sent } = streams(["exec"])
    peer.sayFrames([{ type: "goAway", body: new TextEncoder().encode('{"code":"agent-stopped","message":"draining"}') }])
    expect(() => mux.open("exec", {}, new Diary())).toThrow(
      expect.objectContaining({ code: "agent-stopped", message: "draining", delivered: "no" }),
    )
    stream(0).write(0, new Uint8Array(3))
    expect(words(sent())).toEqual(["data 1 3"])
  })

  test("[MX3] GOAWAY carries code and message", () => {
    const { mux, sent } = agentMux()
    mux.goAway(new TunnelError("agent-stopped", "bye"))
    const [frame] = sent()
    expect(frame?.type === "goAway" && parsed(frame.body)).toEqual({ code: "agent-stopped", message: "bye" })
  })

  test("[MX3] a GOAWAY that is no JSON ends the link", () => {
    const { peer, over } = clientMux()
    peer.sayFrames([{ type: "goAway", body: new TextEncoder().encode("{]") }])
    expect(over.error).toMatchObject({ code: "protocol-error" })
  })
})
