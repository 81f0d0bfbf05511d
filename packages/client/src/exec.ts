/** One command, run to its end, with its output collected. */
import { type ExecOpen, type Exit, TunnelError } from "@trunkline/protocol"
import type { LinkConnection } from "./link-connection.ts"
import { Process } from "./process.ts"

/** An argv, or a line for the agent's shell. */
export type Command = string | readonly string[]

export type Input = string | Uint8Array | AsyncIterable<Uint8Array> | ReadableStream<Uint8Array>

export interface SpawnOptions {
  /** Working directory at the agent; the user's home by default. */
  readonly cwd?: string
  /** Added to the agent's environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Milliseconds after which the agent ends the process: TERM, then KILL. */
  readonly timeoutMs?: number
  /** Ends the process: HUP, TERM, then KILL. The call rejects with `aborted`. */
  readonly signal?: AbortSignal
}

export interface ExecOptions extends SpawnOptions {
  /** Nothing by default: the command reads end of file at once. */
  readonly stdin?: Input
  /** Throw `command-failed`, with the result as `cause`, unless the command exits with 0. */
  readonly check?: boolean
  /** Bytes of stdout and stderr together that are kept; 16 MiB by default. More is read and dropped, and `truncated` says so. */
  readonly outputBytesMax?: number
}

export interface ExecResult {
  /** Null unless the command exited by itself. */
  readonly exitCode: number | null
  /** The signal that ended it, or null. */
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  readonly truncated: boolean
  readonly durationMs: number
  readonly outcome: "exited" | "signalled" | "timeout" | "unknown"
}

/** Bytes: what a script keeps in memory without thinking about it. */
const defaultOutputBytesMax = 16_777_216

export function execOpen(command: Command, options: SpawnOptions, stdin: boolean): ExecOpen {
  const argv = typeof command === "string" ? ["/bin/sh", "-c", command] : command
  const [file, ...rest] = argv
  if (file === undefined || file === "") throw new TunnelError("bad-request", "the command is empty")
  return {
    argv: [file, ...rest],
    env: { ...options.env },
    stdin,
    detach: false,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
  }
}

export async function exec(connection: LinkConnection, command: Command, options: ExecOptions = {}): Promise<ExecResult> {
  const open = execOpen(command, options, options.stdin !== undefined)
  const process = await Process.start(connection, "exec", open, options.signal)
  if (options.stdin !== undefined) feed(process, options.stdin)
  const kept = { stdout: new Collected(), stderr: new Collected() }
  let free = options.outputBytesMax ?? defaultOutputBytesMax
  let truncated = false
  for await (const event of process.output()) {
    if (event.type === "exit") {
      const result = execResult(event.exit, {
        stdout: kept.stdout.text(),
        stderr: kept.stderr.text(),
        truncated,
        durationMs: event.durationMs,
      })
      if (options.check === true && result.exitCode !== 0) {
        throw new TunnelError("command-failed", `the command ${describeExit(event.exit)}`, { delivered: "yes", cause: result })
      }
      return result
    }
    const bytes = event.bytes.subarray(0, free)
    truncated ||= bytes.byteLength < event.bytes.byteLength
    free -= bytes.byteLength
    kept[event.type].add(bytes)
  }
  throw new TunnelError("internal", "the output ended without an exit", { delivered: "yes" })
}

export function describeExit(exit: Exit): string {
  switch (exit.type) {
    case "code":
      return `exited with ${exit.code}`
    case "signal":
      return `was ended by ${exit.signal}`
    case "timeout":
      return `was ended after ${exit.timeoutMs} ms`
    case "unknown":
      return `ended in a way that is not known: ${exit.reason}`
  }
}

function execResult(exit: Exit, rest: Pick<ExecResult, "stdout" | "stderr" | "truncated" | "durationMs">): ExecResult {
  switch (exit.type) {
    case "code":
      return { exitCode: exit.code, signal: null, outcome: "exited", ...rest }
    case "signal":
      return { exitCode: null, signal: exit.signal, outcome: "signalled", ...rest }
    case "timeout":
      return { exitCode: null, signal: null, outcome: "timeout", ...rest }
    case "unknown":
      return { exitCode: null, signal: null, outcome: "unknown", ...rest }
  }
}

/** Writes the input and ends it. A command that ends before it has read all of it is no error. */
function feed(process: Process, input: Input): void {
  const write = async () => {
    if (typeof input === "string") await process.write(new TextEncoder().encode(input))
    else if (input instanceof Uint8Array) await process.write(input)
    else for await (const chunk of input) await process.write(chunk)
    process.closeInput()
  }
  // An input that fails half-way must not look like one that ended: the process is ended instead.
  write().catch(() => process.kill("SIGKILL"))
}

/** Bytes in growing blocks: many small chunks cost neither an object each nor the buffers they came in. */
class Collected {
  #block = new Uint8Array(1_024)
  #length = 0

  add(bytes: Uint8Array): void {
    if (this.#length + bytes.byteLength > this.#block.byteLength) {
      const grown = new Uint8Array(Math.max(this.#block.byteLength * 2, this.#length + bytes.byteLength))
      grown.set(this.#block.subarray(0, this.#length))
      this.#block = grown
    }
    this.#block.set(bytes, this.#length)
    this.#length += bytes.byteLength
  }

  text(): string {
    return new TextDecoder().decode(this.#block.subarray(0, this.#length))
  }
}
