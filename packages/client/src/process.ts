/** A process on an agent, as the stream that started it shows it. */
import {
  type AttachOpen,
  attachAcceptSchema,
  checkBody,
  type MuxStream,
  type ProcessMessage,
  processAcceptSchema,
  processMessageSchema,
  processTags,
  type SignalName,
  TunnelError,
} from "@trunkline/protocol"
import { checkRequest } from "./check-request.ts"
import { abortedError } from "./gateway-api.ts"
import type { LinkConnection } from "./link-connection.ts"
import { type Accepted, type OutputEvent, type ProcessExit, ProcessOutput, type TerminalSize } from "./process-output.ts"

export class Process {
  /** The agent's id of the process: `agent.processes` finds it by this, from anywhere. */
  readonly id: string
  /** The operating system's id at the agent. */
  readonly pid: number
  /** Output before this offset had been written when we came; 0 for a process of our own. */
  readonly liveOffset: number
  readonly #stream: MuxStream
  readonly #output: ProcessOutput

  private constructor(stream: MuxStream, output: ProcessOutput, accepted: Accepted) {
    this.id = accepted.processId
    this.pid = accepted.pid
    this.liveOffset = accepted.liveOffset
    this.#stream = stream
    this.#output = output
  }

  /** Rejects with TunnelError; `command-not-found`, `not-executable` and `cwd-not-found` are the agent's answers. */
  static start(connection: LinkConnection, kind: "exec" | "pty", body: unknown, signal?: AbortSignal): Promise<Process> {
    const accept = (answer: unknown) => ({ ...checkBody(processAcceptSchema, answer), offset: 0, repaintBytes: 0, liveOffset: 0 })
    return Process.#open(connection, kind, body, new ProcessOutput({ accept, follow: true }), signal)
  }

  /** Rejects with TunnelError: `not-found` for a process that is not known, or not any more. */
  static attach(connection: LinkConnection, open: AttachOpen, signal?: AbortSignal): Promise<Process> {
    const accept = (answer: unknown) => checkBody(attachAcceptSchema, answer)
    return Process.#open(connection, "attach", open, new ProcessOutput({ accept, follow: open.follow }), signal)
  }

  static async #open(
    connection: LinkConnection,
    kind: string,
    body: unknown,
    output: ProcessOutput,
    signal: AbortSignal | undefined,
  ): Promise<Process> {
    const stream = await connection.open(kind, body, output.events, signal)
    output.stream = stream
    if (signal !== undefined) endAtAbort(stream, output, signal)
    return new Process(stream, output, await output.accepted)
  }

  /** The size of a terminal that several clients share, once the agent has told it. */
  get size(): TerminalSize | undefined {
    return this.#output.size
  }

  /** Called when the size, or whose window decides it, changes. */
  set onSize(listener: ((size: TerminalSize) => void) | undefined) {
    this.#output.onSize = listener
  }

  /**
   * Output as it comes and at last the exit. Reading is what grants more room: a reader that stops pauses a process that it started
   * and shares with nobody, and is otherwise given what the agent has kept; one that leaves the iteration pauses nothing. Once per process; throws `bad-request` the second time and after
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

  /** Leaves the process running without us; `agent.processes.attach` comes back to it. `wait` and `output` reject with `aborted`. */
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
