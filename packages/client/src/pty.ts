/** A terminal on an agent. */
import { type AttachFrom, attachOpenSchema, checkBody, ptyOpenSchema, type SignalName, TunnelError } from "@trunkline/protocol"
import { checkRequest } from "./check-request.ts"
import type { SpawnOptions } from "./exec.ts"
import type { LinkConnection } from "./link-connection.ts"
import { Process } from "./process.ts"
import type { OutputEvent, ProcessExit, TerminalSize } from "./process-output.ts"

export interface PtyOptions extends SpawnOptions {
  readonly cols: number
  readonly rows: number
  /** The user's login shell by default. */
  readonly command?: readonly string[]
  /** A session, as by default: it stays when we are lost, for `pty.connect` to come back to, and is hung up when we leave. */
  readonly keep?: boolean
}

export interface PtyConnectOptions {
  /**
   * Where the output begins: with what the terminal shows, then what follows (`screen`, the default), with what comes next (`live`), or at an
   * offset. From an offset comes what the program wrote, its questions to a terminal included, which yours may answer once more.
   */
  readonly from?: AttachFrom
  /** The window's size. It becomes the terminal's when we type. */
  readonly cols?: number
  readonly rows?: number
  /** See, and change nothing. */
  readonly readOnly?: boolean
  /** Leaves the terminal. */
  readonly signal?: AbortSignal
}

export class Terminal {
  readonly #process: Process
  /** What the terminal shows, as it comes; reading grants room. Errors with TunnelError when the end cannot be known. */
  readonly output: ReadableStream<Uint8Array>
  /** What is typed. A write resolves when more may be written. */
  readonly input: WritableStream<Uint8Array | string>

  constructor(process: Process) {
    this.#process = process
    const events = process.output()
    this.output = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const bytes = await nextBytes(events)
          if (bytes === undefined) controller.close()
          else controller.enqueue(bytes)
        },
        async cancel() {
          await events.return?.()
        },
      },
      { highWaterMark: 0 },
    )
    this.input = new WritableStream<Uint8Array | string>({ write: (chunk) => this.write(chunk) })
  }

  get id(): string {
    return this.#process.id
  }

  get pid(): number {
    return this.#process.pid
  }

  /** What `output` gives before this offset had been written when we came, not counting the repaint that it begins with. */
  get liveOffset(): number {
    return this.#process.liveOffset
  }

  /** The size that the clients of a shared terminal see, and whether our window decides it; undefined while nobody shares it. */
  get size(): TerminalSize | undefined {
    return this.#process.size
  }

  /** Called when that changes. */
  set onSize(listener: ((size: TerminalSize) => void) | undefined) {
    this.#process.onSize = listener
  }

  /** Types, as `Process.write` does; for one who has no use for the stream. */
  write(data: Uint8Array | string): Promise<void> {
    return this.#process.write(typeof data === "string" ? new TextEncoder().encode(data) : data)
  }

  /** Throws `bad-request` unless both are from 1 to 10,000. */
  resize(cols: number, rows: number): void {
    this.#process.resize(cols, rows)
  }

  /** How the shell ended. Does not read output: read or cancel `output`, else a full terminal waits. */
  wait(): Promise<ProcessExit> {
    return this.#process.wait()
  }

  kill(signal: SignalName = "SIGHUP"): void {
    this.#process.kill(signal)
  }

  /** Leaves the process running without us. */
  disconnect(): void {
    this.#process.disconnect()
  }
}

/** What a terminal shows is a repaint as well as output; where some is missing a repaint follows. */
async function nextBytes(events: AsyncIterator<OutputEvent>): Promise<Uint8Array | undefined> {
  while (true) {
    const { done, value } = await events.next()
    if (done === true || value.type === "exit") return undefined
    if (value.type !== "truncated") return value.bytes
  }
}

export async function createTerminal(connection: LinkConnection, options: PtyOptions): Promise<Terminal> {
  const { cols, rows, command, cwd, env = {}, timeoutMs, idempotencyKey, keep = true, signal } = options
  const open = checkRequest(() => checkBody(ptyOpenSchema, { argv: command, cwd, env, cols, rows, timeoutMs, idempotencyKey, keep }))
  return new Terminal(await Process.start(connection, "pty", open, signal))
}

export async function connectTerminal(connection: LinkConnection, processId: string, options: PtyConnectOptions = {}): Promise<Terminal> {
  const { from = "screen", readOnly = false, cols, rows, signal } = options
  if ((cols === undefined) !== (rows === undefined)) throw new TunnelError("bad-request", "a window has both cols and rows")
  const size = cols === undefined ? undefined : { cols, rows }
  const open = checkRequest(() => checkBody(attachOpenSchema, { processId, from, readOnly, size }))
  return new Terminal(await Process.attach(connection, open, signal))
}
