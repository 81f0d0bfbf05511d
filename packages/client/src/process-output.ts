/** What the stream of a process tells: a queue of output bounded by the stream's credit, and the promises of what happens once. */
import {
  checkBody,
  type Exit,
  InvalidBody,
  type MuxStream,
  processAcceptSchema,
  processTags,
  processTrailerSchema,
  type StreamEvents,
  TunnelError,
} from "@trunkline/protocol"

/** How a process ended, and how long it ran at the agent. */
export interface ProcessExit {
  readonly exit: Exit
  readonly durationMs: number
}

export type OutputEvent =
  /** `offset` counts the bytes of this source before these. */
  { readonly type: "stdout" | "stderr"; readonly bytes: Uint8Array; readonly offset: number } | ({ readonly type: "exit" } & ProcessExit)

export interface Accepted {
  readonly processId: string
  readonly pid: number
}

interface QueuedChunk {
  readonly event: OutputEvent & { readonly type: "stdout" | "stderr" }
  readonly cost: number
}

/** Where output goes until somebody reads it, when it is read, and when nobody ever will. */
type Reader = "none" | "iterating" | "discarding"

type End = { readonly exit: ProcessExit } | { readonly error: TunnelError }

export class ProcessOutput {
  stream: MuxStream | undefined
  readonly accepted: Promise<Accepted>
  readonly exit: Promise<ProcessExit>
  readonly #accept = Promise.withResolvers<Accepted>()
  readonly #exit = Promise.withResolvers<ProcessExit>()
  readonly #offsets = { stdout: 0, stderr: 0 }
  readonly #closed: (() => void)[] = []
  /** Newest last, what is read next in `#next`, newest first: a queue whose every step is cheap, however small the chunks. */
  #queue: QueuedChunk[] = []
  #next: QueuedChunk[] = []
  /** Cost of what the reader has been given and not yet come back from. */
  #readingCost = 0
  #reader: Reader = "none"
  #ended: End | undefined
  #inputClosed = false
  #wakeReader: (() => void) | undefined
  #wakeWriters: (() => void)[] = []

  constructor() {
    this.accepted = this.#accept.promise
    this.exit = this.#exit.promise
    // Each is looked at by whoever cares; nobody has to.
    this.accepted.catch(() => {})
    this.exit.catch(() => {})
  }

  readonly events: StreamEvents = {
    accepted: (body) => this.#accept.resolve(checkBody(processAcceptSchema, body)),
    data: (tag, bytes, cost) => this.#data(tag, bytes, cost),
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
    this.#end({ error: new TunnelError("aborted", "disconnected; the process goes on", { delivered: "yes" }) })
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
      const chunk = this.#take()
      if (chunk !== undefined) {
        this.#readingCost = chunk.cost
        yield chunk.event
        // Only now: whoever iterates has come back for more.
        this.#pay()
      } else if (this.#ended === undefined) {
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve
        })
      } else if ("exit" in this.#ended) {
        yield { type: "exit", ...this.#ended.exit }
        return
      } else {
        throw this.#ended.error
      }
    }
  }

  #take(): QueuedChunk | undefined {
    if (this.#next.length === 0) {
      this.#next = this.#queue.reverse()
      this.#queue = []
    }
    return this.#next.pop()
  }

  #pay(): void {
    this.stream?.consumed(this.#readingCost)
    this.#readingCost = 0
  }

  /** Nobody reads any more: what comes is dropped, so that the process is not held up. */
  #discard(): void {
    this.#reader = "discarding"
    this.#pay()
    for (const chunks of [this.#next, this.#queue]) for (const { cost } of chunks.splice(0)) this.stream?.consumed(cost)
    this.#wakeReader?.()
  }

  #data(tag: number, bytes: Uint8Array, cost: number): void {
    const type = tag === processTags.stdout ? "stdout" : tag === processTags.stderr ? "stderr" : undefined
    if (type === undefined) throw new InvalidBody(`tag ${tag} is neither stdout nor stderr`)
    if (this.#reader === "discarding") return this.stream?.consumed(cost)
    this.#queue.push({ event: { type, bytes, offset: this.#offsets[type] }, cost })
    this.#offsets[type] += bytes.byteLength
    this.#wakeReader?.()
  }

  #finished(trailer: unknown): void {
    this.#end({ exit: checkBody(processTrailerSchema, trailer) })
    // The process is gone, so nobody reads its input any more.
    this.stream?.finish()
  }

  #streamClosed(error: TunnelError | undefined): void {
    this.#end({ error: error ?? new TunnelError("protocol-error", "the agent ended the stream without an exit", { delivered: "yes" }) })
    for (const task of this.#closed.splice(0)) task()
  }

  #end(end: End): void {
    if (this.#ended !== undefined) return
    this.#ended = end
    if ("exit" in end) this.#exit.resolve(end.exit)
    else {
      this.#accept.reject(end.error)
      this.#exit.reject(end.error)
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
  "error" in end ? end.error : new TunnelError("not-found", "the process has ended and reads no more input", { delivered: "unknown" })
