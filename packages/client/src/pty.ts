/** A terminal on an agent. */
import { checkBody, ptyOpenSchema, type SignalName } from "@trunkline/protocol"
import { checkRequest } from "./check-request.ts"
import type { SpawnOptions } from "./exec.ts"
import type { LinkConnection } from "./link-connection.ts"
import { Process } from "./process.ts"
import type { ProcessExit } from "./process-output.ts"

export interface PtyOptions extends SpawnOptions {
  readonly cols: number
  readonly rows: number
  /** The user's login shell by default. */
  readonly command?: readonly string[]
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
          const next = await events.next()
          if (next.done === true || next.value.type === "exit") controller.close()
          else controller.enqueue(next.value.bytes)
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

export async function createTerminal(connection: LinkConnection, options: PtyOptions): Promise<Terminal> {
  const { cols, rows, command, cwd, env = {}, timeoutMs, signal } = options
  const open = checkRequest(() => checkBody(ptyOpenSchema, { argv: command, cwd, env, cols, rows, timeoutMs }))
  return new Terminal(await Process.start(connection, "pty", open, signal))
}
