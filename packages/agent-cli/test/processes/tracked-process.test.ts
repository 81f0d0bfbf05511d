/** A process and its clients: who gets which bytes, who is waited for, whose window counts, and who leaves it running. */
import { type MuxStream, TunnelError } from "@trunkline/protocol"
import { VirtualClock } from "@trunkline/protocol/testing"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { Size } from "../../src/processes/attachment.ts"
import { Journal } from "../../src/processes/journal.ts"
import { TrackedProcess, type ViewOptions } from "../../src/processes/tracked-process.ts"
import { clientOf, FakeModel, FakeProcess, roundTrips, screenText, Viewer } from "./tracked-bench.ts"

interface BenchOptions {
  readonly kind?: "exec" | "pty"
  readonly survival?: "attached" | "kept" | "detached"
  readonly capacityBytes?: number
  readonly argv?: readonly string[]
}

type Asked = Partial<Omit<ViewOptions, "offset">> & { readonly from?: number | "screen" | "live" }

/** A tracked process on a virtual clock, and any number of clients, each on a link of its own. */
class Bench {
  readonly clock = new VirtualClock()
  readonly model = new FakeModel()
  readonly process: FakeProcess
  readonly tracked: TrackedProcess
  readonly kind: "exec" | "pty"
  ends = 0

  constructor({ kind = "exec", survival = "attached", capacityBytes = 300_000, argv = ["cat"] }: BenchOptions = {}) {
    this.kind = kind
    this.tracked = new TrackedProcess({
      id: "p1",
      kind,
      argv,
      principalId: "me",
      survival,
      clock: this.clock,
      epochMs: () => 1_000 + this.clock.now(),
      journal: new Journal(() => capacityBytes),
      ...(kind === "pty" ? { screen: { size: { cols: 80, rows: 24 }, model: this.model } } : {}),
      ended: () => {
        this.ends += 1
      },
    })
    this.process = new FakeProcess(this.tracked.events)
    this.tracked.started(this.process)
  }

  #open(bind: (stream: MuxStream) => void, early: (viewer: Viewer) => void): Viewer {
    const offered = (stream: MuxStream): void => {
      // What comes with the request or soon after it is there when it is answered.
      this.clock.schedule(20, () => {
        try {
          bind(stream)
        } catch (error) {
          stream.reject(error instanceof TunnelError ? error : new TunnelError("internal", String(error)))
        }
      })
    }
    const viewer = new Viewer(clientOf(this.clock, offered), this.kind, {}, () => this.process)
    early(viewer)
    roundTrips(this.clock)
    return viewer
  }

  start(size: Size = { cols: 80, rows: 24 }, early: (viewer: Viewer) => void = () => {}): Viewer {
    return this.#open((stream) => this.tracked.attachStarter(stream, this.kind === "pty" ? size : undefined), early)
  }

  attach({ from = "live", readOnly = false, follow = true, size }: Asked = {}, early: (viewer: Viewer) => void = () => {}): Viewer {
    const view = { readOnly, follow, ...(size === undefined ? {} : { size }) }
    return this.#open((stream) => this.tracked.attach(stream, from, view), early)
  }

  /** Writes in chunks until the process has to wait, at most so much. Returns what it wrote. */
  flood(bytesMax: number): number {
    const before = this.process.to
    while (!this.process.paused && this.process.to - before < bytesMax) {
      this.process.output(20_000)
      roundTrips(this.clock)
    }
    return this.process.to - before
  }

  pass(): void {
    roundTrips(this.clock)
  }
}

const aborted = (): TunnelError => new TunnelError("aborted", "enough")
const lost = (): TunnelError => new TunnelError("link-lost", "gone")
const typed = (viewer: Viewer, text = "x"): void => viewer.stream.write(0, new TextEncoder().encode(text))

describe("[KP5] the client that started a process", () => {
  test("is told its id and gets every byte, then the exit", () => {
    const bench = new Bench()
    bench.process.output(10)
    const starter = bench.start()
    bench.process.output(10, "stderr")
    bench.process.exit({ type: "code", code: 3 })
    bench.pass()
    expect(starter).toMatchObject({
      accepted: { processId: "p1", pid: 4_711 },
      offset: 20,
      trailer: { exit: { type: "code", code: 3 }, durationMs: 12 },
    })
    expect(bench.ends).toBe(1)
  })

  test("is waited for when it does not read, and loses nothing", () => {
    const bench = new Bench()
    const starter = bench.start()
    starter.reading = false
    expect(bench.flood(10_000_000)).toBeLessThan(800_000)
    expect(bench.process.paused).toBe(true)
    starter.read()
    bench.pass()
    expect(bench.process.paused).toBe(false)
    expect(bench.flood(3_000_000)).toBe(3_000_000)
    expect(starter).toMatchObject({ offset: bench.process.to, gaps: [] })
  })

  test("is waited for also where others only look", () => {
    const bench = new Bench()
    const starter = bench.start()
    const other = bench.attach({ readOnly: true })
    const peek = bench.attach({ from: 0, follow: false })
    starter.reading = false
    bench.flood(10_000_000)
    expect(bench.process.paused).toBe(true)
    expect(other.offset).toBe(bench.process.to)
    expect(peek.finished).toBe(true)
  })

  test("is not waited for while somebody else works with the process, and is told what it lost", () => {
    const bench = new Bench()
    const starter = bench.start()
    const other = bench.attach()
    starter.reading = false
    expect(bench.flood(3_000_000)).toBe(3_000_000)
    expect(other).toMatchObject({ offset: 3_000_000, gaps: [] })
    other.stream.reset(aborted())
    bench.pass()
    expect(bench.process.paused).toBe(true)
    starter.read()
    bench.clock.advance(1_000)
    expect(bench.process.paused).toBe(false)
    expect(starter.offset).toBe(3_000_000)
    expect(starter.gaps).toHaveLength(1)
  })

  test("and that reads never has a process wait for one that does not, be that one the same client's older stream", () => {
    const bench = new Bench({ capacityBytes: 1_000_000 })
    const older = bench.start()
    older.reading = false
    bench.flood(10_000_000)
    expect(bench.process.paused).toBe(true)
    const newer = bench.start()
    expect(newer).toMatchObject({ offset: bench.process.to })
    expect(bench.flood(3_000_000)).toBe(3_000_000)
    // The newer is waited for as the older was.
    newer.reading = false
    expect(bench.flood(10_000_000)).toBeLessThan(2_000_000)
    newer.read()
    bench.pass()
    expect(newer).toMatchObject({ offset: bench.process.to, gaps: [] })
  })

  test("still gets the rest after the process has been forgotten", () => {
    const bench = new Bench()
    const starter = bench.start()
    const other = bench.attach({ readOnly: true })
    starter.reading = false
    other.reading = false
    bench.flood(10_000_000)
    // On its way when the process was told to wait: more than the stream takes.
    for (let count = 0; count < 5; count++) bench.process.output(20_000)
    bench.process.exit()
    bench.tracked.forget()
    starter.read()
    bench.clock.advance(1_000)
    expect(starter).toMatchObject({ offset: bench.process.to, gaps: [], trailer: { exit: { type: "code", code: 0 } } })
    other.read()
    bench.clock.advance(1_000)
    expect(other.trailer).toBeDefined()
  })

  test("leaves nothing behind when the forgotten process has given it everything", () => {
    const bench = new Bench()
    bench.start()
    bench.process.output(1_000)
    bench.process.exit()
    bench.pass()
    bench.tracked.forget()
    expect(bench.tracked.heldBytes).toBe(0)
  })
})

describe("[KA2] a client that attaches", () => {
  test("from an offset gets what is kept from there on", () => {
    const bench = new Bench()
    bench.process.output(1_000)
    const viewer = bench.attach({ from: 400 })
    bench.process.output(100)
    bench.pass()
    expect(viewer.accepted).toEqual({ processId: "p1", pid: 4_711, kind: "exec", offset: 400, liveOffset: 1_000, repaintBytes: 0 })
    expect(viewer).toMatchObject({ offset: 1_100, received: { stdout: 700 } })
  })

  test("from an offset in the future is refused with both numbers", () => {
    const bench = new Bench()
    bench.process.output(1_000)
    const viewer = bench.attach({ from: 1_001 })
    expect(viewer.closed?.error).toMatchObject({ code: "bad-request", delivered: "no" })
    expect(viewer.closed?.error?.message).toMatch(/1001.*1000/)
    expect(bench.attach({ from: 1_000 }).accepted).toMatchObject({ offset: 1_000 })
  })

  test.each([0, "screen"] as const)("from %j gets what is kept of a command, and is told what is not", (from) => {
    const bench = new Bench()
    for (let count = 0; count < 50; count++) bench.process.output(20_000)
    const viewer = bench.attach({ from })
    expect(viewer.offset).toBe(1_000_000)
    const to = bench.tracked.journal.from
    expect(to).toBeGreaterThan(0)
    expect(viewer.gaps).toEqual(from === 0 ? [{ from: 0, to }] : [])
    expect(viewer.received.stdout).toBe(1_000_000 - to)
  })

  test("live gets what comes next", () => {
    const bench = new Bench()
    bench.process.output(1_000)
    const viewer = bench.attach({ from: "live" })
    bench.process.output(10)
    bench.pass()
    expect(viewer).toMatchObject({ accepted: { offset: 1_000, liveOffset: 1_000 }, offset: 1_010, received: { stdout: 10 } })
  })

  test("to a terminal's screen gets it first, whole, and then what follows it", () => {
    const bench = new Bench({ kind: "pty" })
    bench.process.output(100_000)
    const viewer = bench.attach({ from: "screen" })
    bench.process.output(10)
    bench.pass()
    expect(viewer.accepted).toMatchObject({ kind: "pty", offset: 100_000, repaintBytes: screenText(100_000).length })
    expect(viewer).toMatchObject({ screens: [screenText(100_000)], received: { stdout: 10 }, offset: 100_010 })
  })

  test("to a terminal that is flooding has it wait until the screen is made", () => {
    const bench = new Bench({ kind: "pty" })
    const works: (() => void)[] = []
    bench.model.work = (done) => works.push(done)
    const viewer = bench.attach({ from: "screen", readOnly: true })
    bench.flood(1_000_000)
    expect(bench.process.paused).toBe(true)
    expect(bench.process.to).toBeLessThan(200_000)
    for (let round = 0; round < 30 && works.length > 0; round++) works.shift()?.()
    bench.pass()
    expect(viewer.screens).toEqual([screenText(0)])
    const other = bench.attach({ from: "screen" })
    expect(other.accepted).toBeUndefined()
    expect(bench.process.paused).toBe(true)
    for (let round = 0; round < 30 && works.length > 0; round++) works.shift()?.()
    bench.pass()
    expect(other.screens).toEqual([screenText(bench.process.to)])
    expect(bench.process.paused).toBe(false)
  })

  test("and leaves before the screen is made has not stopped the terminal", () => {
    const bench = new Bench({ kind: "pty" })
    const works: (() => void)[] = []
    bench.model.work = (done) => works.push(done)
    bench.process.output(1_000)
    const viewer = bench.attach({ from: "screen" })
    expect(bench.process.paused).toBe(true)
    viewer.stream.reset(aborted())
    bench.pass()
    for (let round = 0; round < 30 && works.length > 0; round++) works.shift()?.()
    expect(bench.process.paused).toBe(false)
    expect(bench.tracked.describe().attached).toBe(0)
  })

  test("and does not follow gets what there was, no exit while there is none, and cannot end the input", () => {
    const bench = new Bench()
    bench.process.output(500)
    const viewer = bench.attach({ from: 0, follow: false })
    viewer.stream.finish()
    bench.process.output(500)
    bench.pass()
    expect(viewer).toMatchObject({ offset: 500, finished: true, trailer: undefined, closed: { error: undefined } })
    expect(bench.process.inputEnded).toBe(false)
    bench.process.exit()
    expect(bench.attach({ from: 0, follow: false })).toMatchObject({ offset: 1_000, trailer: { exit: { type: "code" } } })
  })

  test("to what has ended gets it again, and the exit", () => {
    const bench = new Bench({ kind: "pty" })
    bench.process.output(1_000)
    bench.process.exit({ type: "signal", signal: "SIGTERM" })
    const end = { trailer: { exit: { type: "signal", signal: "SIGTERM" } } }
    expect(bench.attach({ from: 10 })).toMatchObject({ received: { stdout: 990 }, ...end })
    expect(bench.attach({ from: "screen" })).toMatchObject({ screens: [screenText(1_000)], ...end })
    expect(bench.attach({ from: "live" })).toMatchObject({ offset: 1_000, ...end })
    expect(bench.model.disposed).toBe(true)
  })

  test("to the screen of a process that ends meanwhile gets the last screen, or none when it is forgotten", () => {
    for (const forget of [false, true]) {
      const bench = new Bench({ kind: "pty" })
      const works: (() => void)[] = []
      bench.model.work = (done) => works.push(done)
      bench.process.output(1_000)
      const viewer = bench.attach({ from: "screen" })
      bench.process.exit()
      if (forget) bench.tracked.forget()
      for (let round = 0; round < 30 && works.length > 0; round++) works.shift()?.()
      bench.pass()
      expect(viewer).toMatchObject({ screens: forget ? [] : [screenText(1_000)], trailer: { exit: { type: "code", code: 0 } } })
    }
  })

  test("as the 65th is refused", () => {
    const bench = new Bench()
    for (let count = 0; count < 64; count++) bench.attach()
    expect(bench.attach().closed).toMatchObject({ error: { code: "overloaded" } })
    expect(bench.start().closed).toMatchObject({ error: { code: "overloaded" } })
    expect(bench.tracked.describe().attached).toBe(64)
  })
})

describe("[KA4] a client that only reads", () => {
  test.each([
    ["writes", (viewer: Viewer) => typed(viewer)],
    ["signals", (viewer: Viewer) => viewer.stream.sendMessage({ type: "signal", signal: "SIGKILL" })],
  ])("and %s loses its attachment, and nobody else anything", (_, act) => {
    const bench = new Bench()
    const starter = bench.start()
    const viewer = bench.attach({ readOnly: true })
    const early = bench.attach({ readOnly: true }, act)
    act(viewer)
    bench.pass()
    expect(viewer.closed).toMatchObject({ error: { code: "denied" } })
    expect(early.closed).toMatchObject({ error: { code: "denied" } })
    expect(bench.process).toMatchObject({ written: [], signals: [], hungUp: false })
    expect(starter.closed).toBeUndefined()
    expect(bench.tracked.describe().attached).toBe(1)
  })

  test("cannot end the input or resize", () => {
    const bench = new Bench({ kind: "pty" })
    bench.start()
    const viewer = bench.attach({ readOnly: true, size: { cols: 10, rows: 10 } })
    viewer.stream.sendMessage({ type: "resize", cols: 20, rows: 20 })
    viewer.stream.finish()
    bench.pass()
    expect(bench.process).toMatchObject({ sizes: [], inputEnded: false })
    expect(viewer).toMatchObject({ sizes: ["80x24"], closed: undefined })
  })
})

describe("[KP7] a terminal's size", () => {
  test("is its only client's, who is told nothing", () => {
    const bench = new Bench({ kind: "pty" })
    const starter = bench.start()
    starter.stream.sendMessage({ type: "resize", cols: 100, rows: 30 })
    bench.pass()
    expect(bench.process.sizes).toEqual(["100x30"])
    expect(starter.sizes).toEqual([])
    expect(bench.tracked.describe().size).toEqual({ cols: 100, rows: 30 })
  })

  test("is that of who typed last, and the others are told", () => {
    const bench = new Bench({ kind: "pty" })
    const starter = bench.start()
    const other = bench.attach({ size: { cols: 60, rows: 20 } })
    const reader = bench.attach({ readOnly: true })
    expect([bench.process.sizes, starter.sizes, other.sizes, reader.sizes]).toEqual([[], [], ["80x24"], ["80x24"]])
    typed(other)
    bench.pass()
    expect([bench.process.sizes, starter.sizes, other.sizes, reader.sizes]).toEqual([
      ["60x20"],
      ["60x20"],
      ["80x24", "60x20 mine"],
      ["80x24", "60x20"],
    ])
    // A window that does not count is remembered.
    starter.stream.sendMessage({ type: "resize", cols: 90, rows: 25 })
    bench.pass()
    expect(bench.process.sizes).toEqual(["60x20"])
    typed(starter)
    bench.pass()
    expect(bench.process.sizes).toEqual(["60x20", "90x25"])
    expect([starter.sizes.at(-1), other.sizes.at(-1), reader.sizes.at(-1)]).toEqual(["90x25 mine", "90x25", "90x25"])
  })

  test("goes over to the newest of the others when its driver leaves, who learns that it is its own", () => {
    const bench = new Bench({ kind: "pty" })
    const starter = bench.start()
    const other = bench.attach({ size: { cols: 60, rows: 20 } })
    typed(other)
    bench.pass()
    other.stream.reset(aborted())
    bench.pass()
    expect(bench.process.sizes).toEqual(["60x20", "80x24"])
    expect(starter.sizes).toEqual(["60x20", "80x24 mine"])
  })

  test("is the newcomer's where nobody drives", () => {
    const bench = new Bench({ kind: "pty", survival: "detached" })
    bench.start().stream.reset(aborted())
    bench.attach({ readOnly: true })
    const viewer = bench.attach({ size: { cols: 60, rows: 20 } })
    expect(bench.process.sizes).toEqual(["60x20"])
    expect(viewer.sizes).toEqual(["60x20 mine"])
  })

  test("never becomes that of one whose stream was over before it began", () => {
    const bench = new Bench({ kind: "pty", survival: "detached" })
    bench.attach({ size: { cols: 60, rows: 20 } }, (viewer) => {
      viewer.stream.sendMessage({ type: "detach" })
      viewer.stream.finish()
    })
    const second = bench.attach({ size: { cols: 61, rows: 21 } })
    expect(bench.process.sizes).toEqual(["61x21"])
    expect(second.sizes).toEqual(["61x21 mine"])
    expect(bench.tracked.describe().attached).toBe(1)
  })

  test("of one that asked again for its run is its own, and is told", () => {
    const bench = new Bench({ kind: "pty" })
    bench.start()
    const again = bench.start({ cols: 50, rows: 10 })
    expect(again.sizes).toEqual(["80x24"])
    typed(again)
    bench.pass()
    expect(bench.process.sizes).toEqual(["50x10"])
  })

  test("changes on the screen where it changed in the output", () => {
    const bench = new Bench({ kind: "pty" })
    const starter = bench.start()
    bench.process.output(10)
    starter.stream.sendMessage({ type: "resize", cols: 100, rows: 30 })
    bench.pass()
    bench.process.output(5)
    bench.pass()
    expect(bench.model.log).toEqual(["+10", "100x30", "+5"])
  })
})

describe("[KP8] a process goes on or is hung up", () => {
  test.each([
    ["attached", "leaves", aborted, true],
    ["attached", "is lost", lost, true],
    ["kept", "leaves", aborted, true],
    ["kept", "stops with the agent", () => new TunnelError("agent-stopped", "stop"), true],
    ["kept", "is lost", lost, false],
    ["detached", "leaves", aborted, false],
    ["detached", "is lost", lost, false],
  ] as const)("%s, when its client %s", (survival, _, error, hungUp) => {
    const bench = new Bench({ kind: survival === "kept" ? "pty" : "exec", survival })
    const starter = bench.start()
    starter.stream.reset(error())
    bench.pass()
    expect(bench.process.hungUp).toBe(hungUp)
    expect(bench.tracked.hungUp).toBe(hungUp)
  })

  test.each(["attached", "kept"] as const)("%s, when its client is gone before the answer", (survival) => {
    const bench = new Bench({ survival })
    bench.start(undefined, (viewer) => {
      bench.clock.advance(10)
      viewer.stream.reset(lost())
    })
    expect(bench.process.hungUp).toBe(true)
  })

  test("kept, when it was lost and is gone again before the answer to its second request", () => {
    const bench = new Bench({ kind: "pty", survival: "kept" })
    bench.start().stream.reset(lost())
    bench.pass()
    bench.start(undefined, (viewer) => {
      bench.clock.advance(10)
      viewer.stream.reset(aborted())
    })
    expect(bench.process.hungUp).toBe(false)
  })

  test("attached, when somebody else works with it, for good", () => {
    const bench = new Bench()
    const starter = bench.start()
    const other = bench.attach()
    starter.stream.reset(aborted())
    bench.pass()
    expect(bench.tracked.describe().detached).toBe(true)
    other.stream.reset(aborted())
    bench.pass()
    expect(bench.process.hungUp).toBe(false)
  })

  test("attached, when others only look", () => {
    const bench = new Bench()
    const starter = bench.start()
    bench.attach({ readOnly: true })
    starter.stream.reset(lost())
    bench.pass()
    expect(bench.process.hungUp).toBe(true)
  })

  test("attached, when the last of a client's streams for the same run goes", () => {
    const bench = new Bench()
    const older = bench.start()
    const newer = bench.start()
    older.stream.reset(lost())
    bench.pass()
    expect(bench.process.hungUp).toBe(false)
    newer.stream.reset(aborted())
    bench.pass()
    expect(bench.process.hungUp).toBe(true)
  })

  test("whoever attached later never ends it, by leaving or by nonsense", () => {
    const bench = new Bench()
    bench.start()
    const [one, other] = [bench.attach(), bench.attach()]
    one.stream.reset(aborted())
    other.stream.sendMessage({ type: "dance" })
    bench.pass()
    expect(other.closed).toMatchObject({ error: { code: "bad-request" } })
    expect(bench.process).toMatchObject({ hungUp: false, inputEnded: false })
  })

  test("is not held up by a client that left without having read", () => {
    const bench = new Bench({ survival: "kept" })
    const starter = bench.start()
    starter.reading = false
    bench.flood(10_000_000)
    expect(bench.process.paused).toBe(true)
    starter.stream.reset(new TunnelError("link-lost", "away for too long"))
    bench.pass()
    expect(bench.process.paused).toBe(false)
    expect(bench.flood(1_000_000)).toBe(1_000_000)
  })

  test("is held up by nobody where it is to go on by itself", () => {
    const bench = new Bench({ survival: "detached" })
    bench.start().reading = false
    expect(bench.flood(10_000_000)).toBe(10_000_000)
    expect(bench.process.paused).toBe(false)
  })
})

describe("[KP3] detach and the end of the input", () => {
  test("the client's end is the end of a command's input, its own or another's", () => {
    const [bench, shared] = [new Bench(), new Bench()]
    bench.start().stream.finish()
    bench.pass()
    expect(bench.process.inputEnded).toBe(true)
    shared.start()
    shared.attach().stream.finish()
    shared.pass()
    expect(shared.process.inputEnded).toBe(true)
  })

  test("a client that detaches and ends is let go at once, and the input stays open", () => {
    const bench = new Bench()
    const starter = bench.start()
    typed(starter, "last words")
    starter.stream.sendMessage({ type: "detach" })
    starter.stream.finish()
    bench.pass()
    expect(starter.closed).toMatchObject({ error: { code: "aborted" } })
    expect(bench.process).toMatchObject({ written: ["last words"], inputEnded: false, hungUp: false })
    expect(bench.tracked.describe()).toMatchObject({ detached: true, attached: 0 })
  })

  test("a client that detaches after it has ended the input is let go too", () => {
    const bench = new Bench()
    const starter = bench.start()
    starter.stream.finish()
    bench.pass()
    starter.stream.sendMessage({ type: "detach" })
    bench.pass()
    expect(starter.closed).toMatchObject({ error: { code: "aborted" } })
    expect(bench.process).toMatchObject({ inputEnded: true, hungUp: false })
  })

  test("one that attached and detaches does not decide for the starter", () => {
    const bench = new Bench()
    const starter = bench.start()
    bench.attach().stream.sendMessage({ type: "detach" })
    bench.pass()
    expect(bench.tracked.describe().detached).toBe(false)
    starter.stream.sendMessage({ type: "detach" })
    bench.pass()
    starter.stream.reset(lost())
    bench.pass()
    expect(bench.process.hungUp).toBe(false)
  })

  test("late input, signals and hang-ups of a process that has ended are nothing, and credit goes back", () => {
    const bench = new Bench()
    const starter = bench.start()
    bench.process.exit()
    for (let count = 0; count < 20; count++) starter.stream.write(0, new Uint8Array(65_536))
    starter.stream.sendMessage({ type: "signal", signal: "SIGINT" })
    starter.stream.finish()
    bench.clock.advance(1_000)
    bench.tracked.hangUp()
    expect(starter.closed).toEqual({ error: undefined })
    expect(bench.process).toMatchObject({ written: [], signals: [], hungUp: false })
  })
})

describe("[KL2] a description", () => {
  test("says what a process is, and how it ended", () => {
    const bench = new Bench({ kind: "pty", argv: ["vim", "file"] })
    bench.start()
    bench.process.output(5)
    const facts = { id: "p1", kind: "pty", argv: ["vim", "file"], pid: 4_711, detached: false, startedAt: 1_000, attached: 1 }
    expect(bench.tracked.describe()).toEqual({ ...facts, state: "running", output: { from: 0, to: 5 }, size: { cols: 80, rows: 24 } })
    bench.process.exit({ type: "signal", signal: "SIGKILL" })
    expect(bench.tracked.describe()).toMatchObject({
      state: "ended",
      endedAt: 1_100,
      exit: { type: "signal", signal: "SIGKILL" },
      durationMs: 12,
    })
  })

  test.each([
    ["a long argument", ["x".repeat(100_000)]],
    ["many arguments", Array.from({ length: 10_000 }, () => "arg")],
    ["many empty arguments", Array.from({ length: 80_000 }, () => "")],
  ])("of %s is short, and says so", (_, argv) => {
    const shown = new Bench({ argv }).tracked.describe().argv
    expect(JSON.stringify(shown).length).toBeLessThan(2_048)
    expect(shown.at(-1)).toMatch(/…$/)
  })
})

describe("[KP6] whatever anybody does", () => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ type: fc.constant("output" as const), length: fc.integer({ min: 1, max: 50_000 }), stderr: fc.boolean() }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        type: fc.constant("attach" as const),
        from: fc.oneof(fc.constantFrom("screen" as const, "live" as const), fc.nat()),
        readOnly: fc.boolean(),
        follow: fc.boolean(),
      }),
    },
    { weight: 3, arbitrary: fc.record({ type: fc.constant("stall" as const), who: fc.nat() }) },
    { weight: 3, arbitrary: fc.record({ type: fc.constant("read" as const), who: fc.nat(), chunks: fc.integer({ min: 1, max: 8 }) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant("leave" as const), who: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant("pass" as const), ms: fc.integer({ min: 0, max: 50 }) }) },
  )

  /** Runs the steps, then has everybody read on. Each viewer checks its own bytes and gaps. */
  function run(kind: "exec" | "pty", steps: readonly (typeof step extends fc.Arbitrary<infer S> ? S : never)[], others: boolean) {
    const bench = new Bench({ kind, survival: "detached" })
    const starter = bench.start()
    const viewers: { readonly viewer: Viewer; readonly follow: boolean; readonly until: number }[] = []
    const one = (who: number): Viewer => [starter, ...viewers.map(({ viewer }) => viewer)][who % (viewers.length + 1)] ?? starter
    for (const each of steps) {
      switch (each.type) {
        case "output":
          if (!bench.process.paused) bench.process.output(each.length, each.stderr && kind === "exec" ? "stderr" : "stdout")
          break
        case "attach": {
          const from = typeof each.from === "number" ? each.from % (bench.process.to + 1) : each.from
          const readOnly = each.readOnly || !others
          viewers.push({ viewer: bench.attach({ from, readOnly, follow: each.follow }), follow: each.follow, until: bench.process.to })
          break
        }
        case "stall":
          one(each.who).reading = false
          break
        case "read":
          one(each.who).read(each.chunks)
          break
        case "leave":
          if (viewers.length > 0) viewers.splice(each.who % viewers.length, 1)[0]?.viewer.stream.reset(aborted())
          break
        default:
          bench.clock.advance(each.ms)
      }
    }
    bench.process.exit()
    for (const viewer of [starter, ...viewers.map(({ viewer }) => viewer)]) viewer.read()
    bench.clock.advance(5_000)
    return { bench, starter, viewers }
  }

  test.each(["exec", "pty"] as const)(
    "each client of %s gets the output in order, less the gaps it was told, and then the exit",
    (kind) => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
          const { bench, starter, viewers } = run(kind, steps, true)
          for (const { viewer, follow, until } of [{ viewer: starter, follow: true, until: 0 }, ...viewers]) {
            expect(viewer.closed?.error).toBeUndefined()
            expect(viewer.finished).toBe(true)
            expect(viewer.offset).toBeGreaterThanOrEqual(follow ? bench.process.to : until)
            if (follow) expect(viewer.trailer).toBeDefined()
          }
          expect(bench.tracked.running).toBe(false)
        }),
        { numRuns: 40 },
      )
    },
  )

  test.each(["exec", "pty"] as const)("its starter gets all of what %s writes as long as others only look", (kind) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { bench, starter } = run(kind, steps, false)
        expect(starter).toMatchObject({ gaps: [], offset: bench.process.to })
      }),
      { numRuns: 40 },
    )
  })
})
