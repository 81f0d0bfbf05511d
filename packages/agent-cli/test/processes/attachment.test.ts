/** One attachment and its journal: what it sends as its client takes it, what it says when something is lost, and where it ends. */
import { type MuxStream, type ProcessTrailer, TunnelError } from "@trunkline/protocol"
import { VirtualClock } from "@trunkline/protocol/testing"
import { beforeEach, describe, expect, test } from "vitest"
import { Attachment, type AttachmentOptions } from "../../src/processes/attachment.ts"
import { Journal } from "../../src/processes/journal.ts"
import { clientOf, FakeProcess, roundTrips, screenText, Viewer } from "./tracked-bench.ts"

const trailer: ProcessTrailer = { exit: { type: "code", code: 3 }, durationMs: 5 }

let clock: VirtualClock
let journal: Journal
let capacityBytes: number
let process: FakeProcess
let attachments: Attachment[]

beforeEach(() => {
  clock = new VirtualClock()
  capacityBytes = 100_000
  journal = new Journal(() => capacityBytes)
  attachments = []
  process = new FakeProcess({
    output: (source, chunk) => {
      journal.append(source, chunk)
      for (const attachment of attachments) attachment.pump()
    },
    exited: () => {},
  })
})

/** A client whose stream is bound to the journal from this offset on. */
function attached(offset: number, more: Partial<AttachmentOptions> = {}): { readonly viewer: Viewer; readonly attachment: Attachment } {
  let attachment: Attachment | undefined
  const offered = (stream: MuxStream): void => {
    const bound = new Attachment({ stream, journal, offset, readOnly: true, ...more })
    attachment = bound
    attachments.push(bound)
    const answer = { processId: "p", pid: 1, kind: "exec", offset, liveOffset: journal.to, repaintBytes: 0 }
    stream.accept(answer, { data: () => {}, writable: () => bound.pump(), closed: () => {} })
    bound.pump()
  }
  const viewer = new Viewer(clientOf(clock, offered), "attach", {}, () => process)
  roundTrips(clock)
  if (attachment === undefined) throw new Error("the stream was not offered")
  return { viewer, attachment }
}

/** What the stream, its credit and its queue take of a client that does not read, and a chunk more. */
const queuedBytesMax = 600_000

describe("an attachment", () => {
  test("sends what is kept, then what comes, each source apart", () => {
    process.output(1_000)
    const { viewer } = attached(100)
    process.output(50, "stderr")
    process.output(50)
    roundTrips(clock)
    expect(viewer).toMatchObject({ offset: 1_100, received: { stdout: 950, stderr: 50 }, gaps: [] })
  })

  test("ends with the exit, behind the last byte, however slowly that is read", () => {
    capacityBytes = 2_000_000
    const { viewer, attachment } = attached(0)
    viewer.reading = false
    for (let count = 0; count < 30; count++) process.output(40_000)
    attachment.ended(trailer)
    roundTrips(clock)
    expect(viewer.finished).toBe(false)
    viewer.read()
    clock.advance(1_000)
    expect(viewer).toMatchObject({ offset: 1_200_000, trailer, gaps: [] })
  })

  test("of a client that does not read takes no more than its queue and is behind", () => {
    const { viewer, attachment } = attached(0)
    viewer.reading = false
    expect(attachment.behind).toBe(false)
    for (let count = 0; count < 20; count++) {
      process.output(40_000)
      roundTrips(clock)
    }
    expect([attachment.unread, attachment.behind]).toEqual([true, true])
    expect(attachment.stream.queuedBytes).toBeLessThan(262_144 + 65_536)
    expect(viewer.offset).toBeLessThan(queuedBytesMax)
  })

  test("of a client without room for a byte is behind before there is one", () => {
    const { viewer, attachment } = attached(0)
    viewer.reading = false
    while (attachment.stream.writableBytes > 0) {
      process.output(attachment.stream.writableBytes)
      clock.settle()
    }
    expect([attachment.unread, attachment.behind]).toEqual([false, true])
    viewer.stream.reset(new TunnelError("aborted", "enough"))
    roundTrips(clock)
    expect(attachment.behind).toBe(false)
  })

  test("says what was lost, and goes on behind it with the oldest that is kept", () => {
    const { viewer } = attached(0)
    viewer.reading = false
    for (let count = 0; count < 100; count++) process.output(40_000)
    viewer.read()
    clock.advance(1_000)
    expect(viewer.offset).toBe(4_000_000)
    expect(viewer.gaps).toHaveLength(1)
    const { from, to } = viewer.gaps[0] ?? { from: 0, to: 0 }
    expect(from).toBeLessThan(queuedBytesMax)
    expect(to).toBe(journal.from)
    expect(to).toBeGreaterThan(4_000_000 - capacityBytes - 65_536)
    expect(viewer.received.stdout).toBe(4_000_000 - (to - from))
  })

  test("that begins with what is forgotten says so first", () => {
    for (let count = 0; count < 10; count++) process.output(40_000)
    const { viewer } = attached(7)
    expect(viewer.gaps).toEqual([{ from: 7, to: journal.from }])
    expect(journal.from).toBeGreaterThan(7)
    expect(viewer.offset).toBe(400_000)
  })

  test("of a terminal shows the screen in place of what was lost, once it is made, and meanwhile sends nothing", () => {
    for (let count = 0; count < 10; count++) process.output(40_000)
    let ready: ((bytes: Uint8Array) => void) | undefined
    const { viewer, attachment } = attached(7, {
      repaint: (each) => {
        ready = each
      },
    })
    process.output(100)
    attachment.ended(trailer)
    roundTrips(clock)
    expect(viewer).toMatchObject({ gaps: [], screens: [], offset: 7, finished: false })
    ready?.(new TextEncoder().encode(screenText(400_100)))
    roundTrips(clock)
    expect(viewer).toMatchObject({ gaps: [{ from: 7, to: 400_100 }], screens: [screenText(400_100)], offset: 400_100, trailer })
  })

  test("goes on behind the screen with what comes", () => {
    for (let count = 0; count < 10; count++) process.output(40_000)
    const { viewer } = attached(7, { repaint: (ready) => ready(new TextEncoder().encode(screenText(journal.to))) })
    process.output(100)
    roundTrips(clock)
    expect(viewer).toMatchObject({ screens: [screenText(400_000)], received: { stdout: 100 }, offset: 400_100 })
  })

  test("up to an offset ends there, without an exit while there is none", () => {
    process.output(1_000)
    const { viewer } = attached(100, { until: 1_000 })
    process.output(1_000)
    roundTrips(clock)
    expect(viewer).toMatchObject({ offset: 1_000, finished: true, trailer: undefined })
  })

  test("up to an offset ends there with the exit when there is one, and at it also when all before was lost", () => {
    process.output(1_000)
    const { viewer, attachment } = attached(100, { until: 900 })
    attachment.ended(trailer)
    const other = attached(0, { until: 0 })
    journal.clear()
    const late = attached(100, { until: 900 })
    expect(viewer).toMatchObject({ offset: 900, finished: true })
    expect(other.viewer).toMatchObject({ offset: 0, finished: true })
    expect(late.viewer).toMatchObject({ gaps: [{ from: 100, to: 900 }], offset: 900, finished: true })
  })

  test("tells a size once, and when there was no room the newest as soon as there is", () => {
    const { viewer, attachment } = attached(0)
    for (let count = 0; count < 3; count++) attachment.tellSize({ cols: 80, rows: 24 }, false)
    attachment.tellSize({ cols: 80, rows: 24 }, true)
    roundTrips(clock)
    expect(viewer.sizes).toEqual(["80x24", "80x24 mine"])
    for (let cols = 1; cols <= 300; cols++) attachment.tellSize({ cols, rows: 24 }, false)
    roundTrips(clock)
    expect(viewer.sizes.at(-1)).toBe("256x24")
    process.output(1)
    roundTrips(clock)
    expect(viewer.sizes.at(-1)).toBe("300x24")
    expect(viewer.sizes).toHaveLength(2 + 257)
  })

  test("whose client cannot be told of a loss is given up, not left waiting for ever", () => {
    for (let count = 0; count < 10; count++) process.output(40_000)
    let ready: ((bytes: Uint8Array) => void) | undefined
    const { viewer, attachment } = attached(7, {
      repaint: (each) => {
        ready = each
      },
    })
    for (let cols = 1; cols <= 256; cols++) attachment.tellSize({ cols, rows: 24 }, false)
    ready?.(new Uint8Array(1))
    roundTrips(clock)
    expect(viewer.closed).toMatchObject({ error: { code: "overloaded" } })
  })
})
