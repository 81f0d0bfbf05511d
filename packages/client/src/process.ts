/** A process on an agent, as the stream that started it shows it. */
import {
  checkBody,
  type Exit,
  InvalidBody,
  type MuxStream,
  type ProcessMessage,
  processAcceptSchema,
  processTags,
  processTrailerSchema,
  type SignalName,
  type StreamEvents,
  TunnelError,
} from "@trunkline/protocol"
import { abortedError } from "./gateway-api.ts"
import type { LinkConnection } from "./link-connection.ts"

/** How a process ended, and how long it ran at the agent. */
export interface ProcessExit {
  readonly exit: Exit
  readonly durationMs: number
}

export type OutputEvent =
  /** `offset` counts the bytes of this source before these. */
  { readonly type: "stdout" | "stderr"; readonly bytes: Uint8Array; readonly offset: number } | ({ readonly type: "exit" } & ProcessExit)

interface QueuedChunk {
  readonly event: OutputEvent & { readonly type: "stdout" | "stderr" }
  readonly cost: number
}

/** Where output goes until somebody reads it, when it is read, and when nobody ever will. */
type Reader = "none" | "iterating" | "discarding"

export class Process {
  /** The agent's id of the process. */
  readonly id: string
  /** The operating system's id at the agent. */
  readonly pid: number
  readonly #stream: MuxStream
  readonly #output: ProcessOutput

  private constructor(stream: MuxStream, output: ProcessOutput, accepted: { processId: string; pid: number }) {
    this.id = accepted.processId
    this.pid = accepted.pid
    this.#stream = stream
    this.#output = output
  }

  /** Rejects with TunnelError; `command-not-found`, `not-executable` and `cwd-not-found` are the agent's answers. */
  static async start(connection: LinkConnection, kind: "exec" | "pty", body: unknown, signal?: AbortSignal): Promise<Process> {
    if (signal?.aborted === true) throw abortedError(signal)
    const output = new ProcessOutput()
    const stream = await connection.open(kind, body, output.events, signal)
    output.stream = stream
    const abort = () => {
      if (signal !== undefined) stream.reset(abortedError(signal, "unknown"))
    }
    signal?.addEventListener("abort", abort, { once: true })
    output.onClosed(() => signal?.removeEventListener("abort", abort))
    return new Process(stream, output, await output.accepted)
  }

  /**
   * Output as it comes and at last the exit. Reading is what grants the process more room: a reader that stops
   * pauses the process. One iteration per process. Ends with a throw of TunnelError when the outcome cannot be known.
   */
  output(): AsyncIterableIterator<OutputEvent> {
    return this.#output.iterate()
  }

  /** The exit. Output that nobody iterates is discarded, so that the process is not held up. Rejects with TunnelError. */
  wait(): Promise<ProcessExit> {
    this.#output.discardUnlessRead()
    return this.#output.exit
  }

  /** Sends a signal to the whole process group. A process that has ended is no error. */
  kill(signal: SignalName = "SIGTERM"): void {
    this.#message({ type: "signal", signal })
  }

  /** PTY only. */
  resize(cols: number, rows: number): void {
    this.#message({ type: "resize", cols, rows })
  }

  /** Resolves when more may be written: at once unless the process does not read. Rejects when the stream is over. */
  write(bytes: Uint8Array): Promise<void> {
    this.#stream.write(processTags.stdin, bytes)
    return this.#output.writable()
  }

  /** End of input. */
  closeInput(): void {
    this.#stream.finish()
  }

  /** Leaves the process running without us; its further output is lost. `wait` and `output` reject with `aborted`. */
  disconnect(): void {
    this.#message({ type: "detach" })
    this.#output.disconnect()
  }

  #message(message: ProcessMessage): void {
    this.#stream.sendMessage(message)
  }
}

/** The receiving half: a queue bounded by the stream's credit, and the promises of what happens once. */
class ProcessOutput {
  stream: MuxStream | undefined
  readonly accepted: Promise<{ processId: string; pid: number }>
  readonly exit: Promise<ProcessExit>
  readonly #accept: PromiseWithResolvers<{ processId: string; pid: number }>
  readonly #exit: PromiseWithResolvers<ProcessExit>
  readonly #offsets = { stdout: 0, stderr: 0 }
  readonly #closed: (() => void)[] = []
  #queue: QueuedChunk[] = []
  #reader: Reader = "none"
  #ended: { readonly exit: ProcessExit } | { readonly error: TunnelError } | undefined
  #wakeReader: (() => void) | undefined
  #wakeWriters: (() => void)[] = []

  constructor() {
    this.#accept = Promise.withResolvers()
    this.#exit = Promise.withResolvers()
    this.accepted = this.#accept.promise
    this.exit = this.#exit.promise
    // Each is looked at by whoever cares; nobody has to.
    this.accepted.catch(() => {})
    this.exit.catch(() => {})
  }

  /** What the stream tells. */
  readonly events: StreamEvents = {
    accepted: (body) => this.#accept.resolve(checkBody(processAcceptSchema, body)),
    data: (tag, bytes, cost) => this.#data(tag, bytes, cost),
    finished: (trailer) => this.#finished(trailer),
    writable: () => this.#wake(),
    closed: (error) => this.#streamClosed(error),
  }

  onClosed(task: () => void): void {
    if (this.#ended !== undefined) task()
    else this.#closed.push(task)
  }

  #data(tag: number, bytes: Uint8Array, cost: number): void {
    const type = tag === processTags.stdout ? "stdout" : tag === processTags.stderr ? "stderr" : undefined
    if (type === undefined) throw new InvalidBody(`tag ${tag} is neither stdout nor stderr`)
    if (this.#reader === "discarding") {
      this.stream?.consumed(cost)
      return
    }
    this.#queue.push({ event: { type, bytes, offset: this.#offsets[type] }, cost })
    this.#offsets[type] += bytes.byteLength
    this.#wakeReader?.()
  }

  #finished(trailer: unknown): void {
    const exit = checkBody(processTrailerSchema, trailer)
    this.#end({ exit })
    // The process is gone, so nobody reads its input any more.
    this.stream?.finish()
  }

  #wake(): void {
    const waiting = this.#wakeWriters
    this.#wakeWriters = []
    for (const wake of waiting) wake()
  }

  #streamClosed(error: TunnelError | undefined): void {
    this.#end({ error: error ?? new TunnelError("protocol-error", "the agent ended the stream without an exit", { delivered: "yes" }) })
    for (const task of this.#closed.splice(0)) task()
    this.#wake()
  }

  async writable(): Promise<void> {
    while (this.#ended === undefined && this.stream !== undefined && this.stream.writableBytes === 0) {
      await new Promise<void>((resolve) => this.#wakeWriters.push(resolve))
    }
    if (this.#ended !== undefined && "error" in this.#ended) throw this.#ended.error
  }

  discardUnlessRead(): void {
    if (this.#reader !== "none") return
    this.#reader = "discarding"
    for (const { cost } of this.#queue.splice(0)) this.stream?.consumed(cost)
  }

  disconnect(): void {
    this.#end({ error: new TunnelError("aborted", "disconnected; the process goes on", { delivered: "yes" }) })
    this.#reader = "discarding"
    for (const { cost } of this.#queue.splice(0)) this.stream?.consumed(cost)
    this.stream?.finish()
  }

  async *iterate(): AsyncGenerator<OutputEvent, void, undefined> {
    if (this.#reader !== "none") throw new TunnelError("bad-request", "the output of a process can be read once")
    this.#reader = "iterating"
    try {
      while (true) {
        const chunk = this.#queue.shift()
        if (chunk !== undefined) {
          yield chunk.event
          // Only now: whoever iterates has come back for more.
          this.stream?.consumed(chunk.cost)
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
    } finally {
      this.#reader = "discarding"
      for (const { cost } of this.#queue.splice(0)) this.stream?.consumed(cost)
    }
  }

  #end(end: { readonly exit: ProcessExit } | { readonly error: TunnelError }): void {
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
}
