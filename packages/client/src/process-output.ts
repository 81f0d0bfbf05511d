/** What the stream of a process tells: a queue of output bounded by the stream's credit, and the promises of what happens once. */
import {
  assertNever,
  checkBody,
  type Exit,
  InvalidBody,
  type MuxStream,
  type ProcessNotice,
  processNoticeSchema,
  processTags,
  processTrailerSchema,
  type StreamEvents,
  TunnelError,
} from "@trunkline/protocol"
import { CreditedQueue } from "./credited-queue.ts"

/** How a process ended, and how long it ran at the agent. */
export interface ProcessExit {
  readonly exit: Exit
  readonly durationMs: number
}

export type OutputEvent =
  /** `offset` counts the bytes of output before these, stdout and stderr together. */
  | { readonly type: "stdout" | "stderr"; readonly bytes: Uint8Array; readonly offset: number }
  /** What a terminal shows at `offset`: written to any terminal of the same size it makes that one look alike. */
  | { readonly type: "repaint"; readonly bytes: Uint8Array; readonly offset: number }
  /** The output from `from` to before `to` is not kept any more: whoever was away, or too slow, does not get it. */
  | { readonly type: "truncated"; readonly from: number; readonly to: number }
  | ({ readonly type: "exit" } & ProcessExit)

/** What the agent says of a process when it gives us the stream: who it is, and where its output begins. */
export interface Accepted {
  readonly processId: string
  readonly pid: number
  readonly offset: number
  readonly liveOffset: number
  readonly repaintBytes: number
}

/** The terminal's size, and whether this client's window decides it. */
export type TerminalSize = Omit<ProcessNotice & { readonly type: "size" }, "type">

interface OutputOptions {
  /** Reads the agent's answer. Throws InvalidBody. */
  readonly accept: (body: unknown) => Accepted
  /** Whether the stream lasts until the process ends. */
  readonly follow: boolean
}

type QueuedEvent = Exclude<OutputEvent, { readonly type: "exit" }>

/** Where output goes until somebody reads it, when it is read, and when nobody ever will. */
type Reader = "none" | "iterating" | "discarding"

/** `left`: what was asked for has come, and the process goes on. */
type End =
  | { readonly type: "exited"; readonly exit: ProcessExit }
  | { readonly type: "left" }
  | { readonly type: "failed"; readonly error: TunnelError }

type Gap = ProcessNotice & { readonly type: "truncated" }

export class ProcessOutput {
  stream: MuxStream | undefined
  readonly accepted: Promise<Accepted>
  readonly exit: Promise<ProcessExit>
  /** Told by the agent where several clients share a terminal; undefined before. */
  size: TerminalSize | undefined
  onSize: ((size: TerminalSize) => void) | undefined
  readonly #options: OutputOptions
  readonly #accept = Promise.withResolvers<Accepted>()
  readonly #exit = Promise.withResolvers<ProcessExit>()
  #offset = 0
  #repaintBytes = 0
  /** Gaps that lie ahead: the agent's word of one overtakes the output before it. */
  #gaps: Gap[] = []
  readonly #closed: (() => void)[] = []
  readonly #queue = new CreditedQueue<QueuedEvent>()
  /** Cost of what the reader has been given and not yet come back from. */
  #readingCost = 0
  #reader: Reader = "none"
  #ended: End | undefined
  #inputClosed = false
  #wakeReader: (() => void) | undefined
  #wakeWriters: (() => void)[] = []

  constructor(options: OutputOptions) {
    this.#options = options
    this.accepted = this.#accept.promise
    this.exit = this.#exit.promise
    // Each is looked at by whoever cares; nobody has to.
    this.accepted.catch(() => {})
    this.exit.catch(() => {})
  }

  readonly events: StreamEvents = {
    accepted: (body) => {
      const accepted = this.#options.accept(body)
      this.#offset = accepted.offset
      this.#repaintBytes = accepted.repaintBytes
      this.#accept.resolve(accepted)
    },
    data: (tag, bytes, cost) => this.#data(tag, bytes, cost),
    message: (body) => this.#notice(checkBody(processNoticeSchema, body)),
    finished: (trailer) => this.#finished(trailer),
    writable: () => this.#wake(),
    closed: (error) => this.#streamClosed(error),
  }

  /** Runs the task when the stream is over, at once if it is. */
  onClosed(task: () => void): void {
    if (this.stream?.phase === "closed") task()
    else this.#closed.push(task)
  }

  /** Throws TunnelError for input that nobody would read. */
  checkInput(): void {
    if (this.#ended !== undefined) throw inputError(this.#ended)
    if (this.#inputClosed) throw new TunnelError("bad-request", "the input of the process was closed before")
  }

  /** Resolves when the stream takes more, or needs no more; rejects when it is over. */
  async writable(): Promise<void> {
    while (this.#ended === undefined && !this.#inputClosed && this.stream?.writableBytes === 0) {
      await new Promise<void>((resolve) => this.#wakeWriters.push(resolve))
    }
    if (this.#ended !== undefined) throw inputError(this.#ended)
  }

  closeInput(): void {
    this.#inputClosed = true
    this.stream?.finish()
    this.#wake()
  }

  discardUnlessRead(): void {
    if (this.#reader === "none") this.#discard()
  }

  disconnect(): void {
    this.#end({ type: "failed", error: new TunnelError("aborted", "disconnected; the process goes on", { delivered: "yes" }) })
    this.#discard()
    this.closeInput()
  }

  iterate(): AsyncIterableIterator<OutputEvent> {
    if (this.#reader !== "none") throw new TunnelError("bad-request", "the output of a process can be read once, and not after wait()")
    this.#reader = "iterating"
    const events = this.#read()
    return {
      next: () => events.next(),
      return: () => {
        // First: a generator that waits, or that was never started, would not let go by itself.
        this.#discard()
        return events.return(undefined)
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  async *#read(): AsyncGenerator<OutputEvent, undefined, undefined> {
    while (this.#reader === "iterating") {
      const credited = this.#queue.take()
      if (credited !== undefined) {
        this.#readingCost = credited.cost
        yield credited.item
        // Only now: whoever iterates has come back for more.
        this.#pay()
      } else if (this.#ended === undefined) {
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve
        })
      } else {
        const ended: End = this.#ended
        switch (ended.type) {
          case "exited":
            yield { type: "exit", ...ended.exit }
            return
          case "left":
            return
          case "failed":
            throw ended.error
          default:
            return assertNever(ended)
        }
      }
    }
  }

  #pay(): void {
    this.stream?.consumed(this.#readingCost)
    this.#readingCost = 0
  }

  /** Nobody reads any more: what comes is dropped, so that the process is not held up. */
  #discard(): void {
    this.#reader = "discarding"
    this.#readingCost += this.#queue.drop()
    this.#pay()
    this.#wakeReader?.()
  }

  /** One piece may hold the end of a repaint and what follows it, and end where a gap begins. */
  #data(tag: number, bytes: Uint8Array, cost: number): void {
    const type = tag === processTags.stdout ? "stdout" : tag === processTags.stderr ? "stderr" : undefined
    if (type === undefined) throw new InvalidBody(`tag ${tag} is neither stdout nor stderr`)
    for (let rest = bytes; rest.byteLength > 0; ) {
      const room = this.#repaintBytes > 0 ? this.#repaintBytes : (this.#gaps[0]?.from ?? Number.POSITIVE_INFINITY) - this.#offset
      const part = rest.subarray(0, room)
      rest = rest.subarray(part.byteLength)
      const paid = rest.byteLength === 0 ? cost : 0
      const offset = this.#offset
      if (this.#repaintBytes > 0) {
        this.#repaintBytes -= part.byteLength
        this.#push({ type: "repaint", bytes: part, offset }, paid)
      } else {
        this.#offset += part.byteLength
        this.#push({ type, bytes: part, offset }, paid)
      }
      this.#passGaps()
    }
  }

  #push(item: QueuedEvent, cost: number): void {
    if (this.#reader === "discarding") return this.stream?.consumed(cost)
    this.#queue.push({ item, cost })
    this.#wakeReader?.()
  }

  #notice(notice: ProcessNotice): void {
    switch (notice.type) {
      case "truncated":
        if (notice.from < this.#offset || notice.to < notice.from)
          throw new InvalidBody(`a gap from ${notice.from} to ${notice.to} at offset ${this.#offset}`)
        this.#gaps.push(notice)
        return this.#passGaps()
      case "size": {
        const { cols, rows, driver } = notice
        this.size = { cols, rows, driver }
        this.onSize?.(this.size)
        return
      }
      default:
        return assertNever(notice)
    }
  }

  #passGaps(): void {
    for (let gap = this.#gaps[0]; gap?.from === this.#offset && this.#repaintBytes === 0; gap = this.#gaps[0]) {
      this.#gaps.shift()
      this.#push({ type: "truncated", from: gap.from, to: gap.to }, 0)
      this.#offset = gap.to
      this.#repaintBytes = gap.repaintBytes
    }
  }

  #finished(trailer: unknown): void {
    if (trailer === undefined && !this.#options.follow) this.#end({ type: "left" })
    else this.#end({ type: "exited", exit: checkBody(processTrailerSchema, trailer) })
    // Nobody reads its input any more, or it was never ours to write.
    this.stream?.finish()
  }

  #streamClosed(error: TunnelError | undefined): void {
    const lost = new TunnelError("protocol-error", "the agent ended the stream without an exit", { delivered: "yes" })
    this.#end({ type: "failed", error: error ?? lost })
    for (const task of this.#closed.splice(0)) task()
  }

  #end(end: End): void {
    if (this.#ended !== undefined) return
    this.#ended = end
    switch (end.type) {
      case "exited":
        this.#exit.resolve(end.exit)
        break
      case "left":
        this.#exit.reject(new TunnelError("bad-request", "this view of the process did not follow it to its end", { delivered: "yes" }))
        break
      case "failed":
        this.#accept.reject(end.error)
        this.#exit.reject(end.error)
        break
      default:
        assertNever(end)
    }
    this.#wakeReader?.()
    this.#wake()
  }

  #wake(): void {
    const waiting = this.#wakeWriters
    this.#wakeWriters = []
    for (const wake of waiting) wake()
  }
}

const inputError = (end: End): TunnelError =>
  end.type === "failed"
    ? end.error
    : new TunnelError("not-found", "the process has ended and reads no more input", { delivered: "unknown" })
