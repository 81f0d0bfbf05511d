/** A process on an agent, as the stream that started it shows it. */
import {
  checkBody,
  type MuxStream,
  type ProcessMessage,
  processMessageSchema,
  processTags,
  type SignalName,
  TunnelError,
} from "@trunkline/protocol"
import { checkRequest } from "./check-request.ts"
import { abortedError } from "./gateway-api.ts"
import type { LinkConnection } from "./link-connection.ts"
import { type Accepted, type OutputEvent, type ProcessExit, ProcessOutput } from "./process-output.ts"

export class Process {
  /** The agent's id of the process. */
  readonly id: string
  /** The operating system's id at the agent. */
  readonly pid: number
  readonly #stream: MuxStream
  readonly #output: ProcessOutput

  private constructor(stream: MuxStream, output: ProcessOutput, accepted: Accepted) {
    this.id = accepted.processId
    this.pid = accepted.pid
    this.#stream = stream
    this.#output = output
  }

  /** Rejects with TunnelError; `command-not-found`, `not-executable` and `cwd-not-found` are the agent's answers. */
  static async start(connection: LinkConnection, kind: "exec" | "pty", body: unknown, signal?: AbortSignal): Promise<Process> {
    const output = new ProcessOutput()
    const stream = await connection.open(kind, body, output.events, signal)
    output.stream = stream
    if (signal !== undefined) endAtAbort(stream, output, signal)
    return new Process(stream, output, await output.accepted)
  }

  /**
   * Output as it comes and at last the exit. Reading is what grants the process more room: a reader that stops
   * pauses the process, one that leaves the iteration does not. Once per process; throws `bad-request` the second time and after
   * `wait`. The iteration ends with a throw of TunnelError when the outcome cannot be known.
   */
  output(): AsyncIterableIterator<OutputEvent> {
    return this.#output.iterate()
  }

  /** The exit. Output that nobody has asked for is discarded, so that the process is not held up. Rejects with TunnelError. */
  wait(): Promise<ProcessExit> {
    this.#output.discardUnlessRead()
    return this.#output.exit
  }

  /** Sends a signal to the whole process group. A process that has ended is no error. Throws `bad-request` for what is no signal's name. */
  kill(signal: SignalName = "SIGTERM"): void {
    this.#message({ type: "signal", signal })
  }

  /** PTY only. Throws `bad-request` unless both are from 1 to 10,000. */
  resize(cols: number, rows: number): void {
    this.#message({ type: "resize", cols, rows })
  }

  /**
   * Resolves when more may be written: at once unless the process does not read. The bytes must not change afterwards.
   * Rejects when the process has ended (`not-found`), its input was closed (`bad-request`) or the stream is over.
   */
  async write(bytes: Uint8Array): Promise<void> {
    if (!ArrayBuffer.isView(bytes)) throw new TunnelError("bad-request", "input is written as Uint8Array")
    this.#output.checkInput()
    this.#stream.write(processTags.stdin, bytes)
    await this.#output.writable()
  }

  /** End of input, after what was written. */
  closeInput(): void {
    this.#output.closeInput()
  }

  /** Leaves the process running without us; its further output is lost. `wait` and `output` reject with `aborted`. */
  disconnect(): void {
    this.#message({ type: "detach" })
    this.#output.disconnect()
  }

  #message(message: ProcessMessage): void {
    this.#stream.sendMessage(checkRequest(() => checkBody(processMessageSchema, message)))
  }
}

function endAtAbort(stream: MuxStream, output: ProcessOutput, signal: AbortSignal): void {
  const abort = () => stream.reset(abortedError(signal, stream.phase === "opening" ? "unknown" : "yes"))
  if (signal.aborted) return abort()
  signal.addEventListener("abort", abort, { once: true })
  output.onClosed(() => signal.removeEventListener("abort", abort))
}
