/**
 * Tracked processes in virtual time: an operating system's process that does what a test says, a terminal model that takes its time, and
 * clients that read their streams as SPEC KP and KA say and check every byte.
 */
import {
  type AttachAccept,
  checkBody,
  type Exit,
  type MuxStream,
  type ProcessNotice,
  type ProcessTrailer,
  processNoticeSchema,
  processTags,
  processTrailerSchema,
  type SignalName,
  type TunnelError,
} from "@trunkline/protocol"
import { AgentEnd, ClientEnd, SeededRandom, SimulatedLine, type VirtualClock } from "@trunkline/protocol/testing"
import type { OutputSource } from "../../src/processes/journal.ts"
import type { ScreenModel } from "../../src/processes/live-screen.ts"
import type { AgentProcess, ProcessEvents } from "../../src/processes/process.ts"

/** The byte that every process of these tests writes at this offset. */
const byteAt = (offset: number): number => (offset ^ (offset >> 7)) & 0xff

/** They begin anew after so many. */
const periodBytes = 32_768
const twoPeriods = Uint8Array.from({ length: 2 * periodBytes }, (_, offset) => byteAt(offset))

export function outputAt(offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at += periodBytes) {
    const start = (offset + at) % periodBytes
    bytes.set(twoPeriods.subarray(start, start + Math.min(periodBytes, length - at)), at)
  }
  return bytes
}

/** Lets a frame go there and its answer come back. */
export const roundTrips = (clock: VirtualClock): void => clock.advance(100)

/** One client on a line of its own; `offered` gets its streams at the agent. */
export function clientOf(clock: VirtualClock, offered: (stream: MuxStream) => void): ClientEnd {
  const line = new SimulatedLine({ clock, random: new SeededRandom(1), delayMs: 1, jitterMs: 0, bytesPerMs: 1_000_000 })
  const agent = new AgentEnd(() => ({ link: { clock }, offered }))
  const client = new ClientEnd({ link: { clock } })
  line.listen("right", agent.attach(line.right))
  line.listen("left", client.attach(line.left))
  return client
}

export class FakeProcess implements AgentProcess {
  readonly pid = 4_711
  readonly signals: SignalName[] = []
  readonly sizes: string[] = []
  readonly written: string[] = []
  paused = false
  inputEnded = false
  hungUp = false
  to = 0
  /** Whose each run of output is, from an offset on. */
  readonly runs: { readonly offset: number; readonly source: OutputSource }[] = []
  readonly #events: ProcessEvents

  constructor(events: ProcessEvents) {
    this.#events = events
  }

  /** Writes this many bytes, whether or not it should wait. */
  output(length: number, source: OutputSource = "stdout"): void {
    const bytes = outputAt(this.to, length)
    this.runs.push({ offset: this.to, source })
    this.to += length
    this.#events.output(source, bytes)
  }

  exit(exit: Exit = { type: "code", code: 0 }): void {
    this.#events.exited(exit, 12.3)
  }

  write(bytes: Uint8Array, written: () => void): void {
    this.written.push(new TextDecoder().decode(bytes))
    written()
  }

  endInput(): void {
    this.inputEnded = true
  }

  pauseOutput(): void {
    this.paused = true
  }

  resumeOutput(): void {
    this.paused = false
  }

  signal(name: SignalName): void {
    this.signals.push(name)
  }

  resize(cols: number, rows: number): void {
    this.sizes.push(`${cols}x${rows}`)
  }

  hangUp(): void {
    this.hungUp = true
  }
}

/** A terminal whose screen says how many bytes it was fed, and in which sizes. */
export class FakeModel implements ScreenModel {
  /** Runs in place of the model's work: call `done` when it is done. */
  work: (done: () => void) => void = (done) => done()
  readonly log: string[] = []
  fedBytes = 0
  disposed = false

  write(bytes: Uint8Array, done: () => void): void {
    if (this.disposed) throw new Error("a disposed model is fed")
    const from = this.fedBytes
    for (const [index, byte] of bytes.entries()) if (byte !== byteAt(from + index)) throw new Error(`wrong byte ${from + index}`)
    this.log.push(`+${bytes.byteLength}`)
    this.work(() => {
      this.fedBytes = from + bytes.byteLength
      done()
    })
  }

  resize(cols: number, rows: number): void {
    this.log.push(`${cols}x${rows}`)
  }

  repaint(): Uint8Array {
    if (this.disposed) throw new Error("a disposed model is asked")
    this.log.push("repaint")
    return new TextEncoder().encode(screenText(this.fedBytes))
  }

  dispose(): void {
    this.disposed = true
  }
}

export const screenText = (offset: number): string => `[screen at ${offset}]`

/** The client's side of a stream that shows a process. Knows where in the output each byte belongs, and throws when one is wrong. */
export class Viewer {
  readonly stream: MuxStream
  accepted: AttachAccept | undefined
  /** Offset of the next byte. */
  offset = 0
  readonly gaps: { readonly from: number; readonly to: number }[] = []
  readonly screens: string[] = []
  readonly sizes: string[] = []
  readonly received: Record<OutputSource, number> = { stdout: 0, stderr: 0 }
  trailer: ProcessTrailer | undefined
  finished = false
  closed: { readonly error: TunnelError | undefined } | undefined
  /** Whether what comes is consumed at once. */
  reading = true
  readonly #process: () => FakeProcess
  readonly #unconsumed: number[] = []
  #notices: Extract<ProcessNotice, { type: "truncated" }>[] = []
  #screenBytesLeft = 0
  #screen = ""
  #after: number | undefined

  constructor(client: ClientEnd, kind: string, body: object, process: () => FakeProcess) {
    this.#process = process
    this.stream = client.mux.open(kind, body, {
      accepted: (answer) => this.#accepted(answer as AttachAccept),
      data: (tag, bytes, cost) => {
        if (this.reading) this.stream.consumed(cost)
        else this.#unconsumed.push(cost)
        this.#take(tag === processTags.stdout ? "stdout" : "stderr", bytes)
      },
      message: (body) => {
        const notice = checkBody(processNoticeSchema, body)
        if (notice.type === "truncated") this.#notices.push(notice)
        else this.sizes.push(`${notice.cols}x${notice.rows}${notice.driver ? " mine" : ""}`)
        this.#meetGap()
      },
      finished: (trailer) => {
        this.finished = true
        if (trailer !== undefined) this.trailer = checkBody(processTrailerSchema, trailer)
        if (this.#screenBytesLeft > 0 || this.#notices.length > 0) throw new Error("the stream ended inside of a screen or before a gap")
      },
      closed: (error) => {
        this.closed = { error }
      },
    })
  }

  /** Consumes some of what has come, or all, and what comes from now on. */
  read(chunks = Number.POSITIVE_INFINITY): void {
    if (chunks === Number.POSITIVE_INFINITY) this.reading = true
    for (const cost of this.#unconsumed.splice(0, chunks)) this.stream.consumed(cost)
  }

  #accepted(answer: AttachAccept): void {
    this.accepted = answer
    this.offset = answer.offset ?? 0
    this.#screenBytesLeft = answer.repaintBytes ?? 0
    this.#after = this.offset
    this.#meetGap()
  }

  #take(source: OutputSource, bytes: Uint8Array): void {
    for (let rest = bytes; rest.byteLength > 0; ) {
      const shown = this.#screenBytesLeft > 0
      const gapAt = this.#notices[0]?.from ?? Number.POSITIVE_INFINITY
      const part = rest.subarray(0, shown ? this.#screenBytesLeft : gapAt - this.offset)
      if (shown) this.#takeScreen(part)
      else this.#takeOutput(source, part)
      rest = rest.subarray(part.byteLength)
      this.#meetGap()
    }
  }

  #takeScreen(part: Uint8Array): void {
    this.#screen += new TextDecoder().decode(part)
    this.#screenBytesLeft -= part.byteLength
    if (this.#screenBytesLeft > 0) return
    this.screens.push(this.#screen)
    if (this.#screen !== screenText(this.#after ?? 0)) throw new Error(`${this.#screen} is shown at ${this.#after}`)
    this.#screen = ""
  }

  #takeOutput(source: OutputSource, part: Uint8Array): void {
    for (const byte of part) {
      const run = this.#process().runs.findLast(({ offset }) => offset <= this.offset)
      if (byte !== byteAt(this.offset) || run?.source !== source) throw new Error(`wrong byte of ${source} at ${this.offset}`)
      this.offset += 1
    }
    this.received[source] += part.byteLength
  }

  #meetGap(): void {
    const [notice] = this.#notices
    if (notice === undefined || this.accepted === undefined || this.#screenBytesLeft > 0 || notice.from > this.offset) return
    if (notice.from < this.offset || notice.to < notice.from) throw new Error(`a gap from ${notice.from} to ${notice.to} at ${this.offset}`)
    this.#notices.shift()
    this.gaps.push({ from: notice.from, to: notice.to })
    this.offset = notice.to
    this.#screenBytesLeft = notice.repaintBytes
    this.#after = notice.to
    this.#meetGap()
  }
}
