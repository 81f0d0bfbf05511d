/** One command, run to its end, with its output collected. */
import { checkBody, type ExecOpen, type Exit, execOpenSchema, TunnelError } from "@trunkline/protocol"
import { checkRequest } from "./check-request.ts"
import { feed, type Input } from "./input.ts"
import type { LinkConnection } from "./link-connection.ts"
import { Process } from "./process.ts"
import type { OutputEvent } from "./process-output.ts"

/** An argv, or a line for the agent's shell. */
export type Command = string | readonly string[]

export interface SpawnOptions {
  /** Working directory at the agent; the user's home by default. */
  readonly cwd?: string
  /** Added to the agent's environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Milliseconds after which the agent ends the process: TERM, then KILL. */
  readonly timeoutMs?: number
  /** Ends the process: HUP, TERM, then KILL. The call rejects with `aborted`. */
  readonly signal?: AbortSignal
  /**
   * Your name for this run, up to 256 characters: however often it is asked for within a day, the command runs once, and every
   * asking gets that run's output, as far as it is kept, and its exit.
   */
  readonly idempotencyKey?: string
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

/** Throws `bad-request` for what the agent would not take. */
export function execOpen(command: Command, options: SpawnOptions, stdin: boolean): ExecOpen {
  const argv = typeof command === "string" ? ["/bin/sh", "-c", command] : command
  if (command.length === 0) throw new TunnelError("bad-request", "the command is empty")
  const { cwd, env = {}, timeoutMs, idempotencyKey } = options
  return checkRequest(() => checkBody(execOpenSchema, { argv, env, stdin, detach: false, cwd, timeoutMs, idempotencyKey }))
}

export async function exec(connection: LinkConnection, command: Command, options: ExecOptions = {}): Promise<ExecResult> {
  const { stdin, check = false, outputBytesMax = defaultOutputBytesMax } = options
  const open = execOpen(command, options, stdin !== undefined)
  const inputFailed = new AbortController()
  const signal = options.signal === undefined ? inputFailed.signal : AbortSignal.any([options.signal, inputFailed.signal])
  try {
    const process = await Process.start(connection, "exec", open, signal)
    const output = process.output()
    if (stdin !== undefined) feed(process, stdin).catch((error: unknown) => inputFailed.abort(error))
    const { exit, result } = await collect(output, outputBytesMax)
    if (check && result.exitCode !== 0) {
      throw new TunnelError("command-failed", `the command ${describeExit(exit)}`, { delivered: "yes", cause: result })
    }
    return result
  } catch (error) {
    const { aborted, reason } = inputFailed.signal
    // An input that fails half-way must not look like one that ended: the command is ended instead.
    if (aborted) throw new TunnelError("aborted", `the input failed: ${reason}; the command was ended`, { delivered: "yes", cause: reason })
    throw error
  }
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

/** Reads to the end, and keeps what the bound allows. */
async function collect(output: AsyncIterable<OutputEvent>, bytesMax: number): Promise<{ exit: Exit; result: ExecResult }> {
  const kept = { stdout: new Collected(), stderr: new Collected() }
  let free = bytesMax
  let truncated = false
  for await (const event of output) {
    if (event.type === "exit") {
      const { exit, durationMs } = event
      return { exit, result: { ...outcomeOf(exit), stdout: kept.stdout.text(), stderr: kept.stderr.text(), truncated, durationMs } }
    }
    if (event.type === "truncated" || event.type === "repaint") {
      truncated = true
      continue
    }
    const bytes = event.bytes.subarray(0, free)
    truncated ||= bytes.byteLength < event.bytes.byteLength
    free -= bytes.byteLength
    kept[event.type].add(bytes)
  }
  throw new TunnelError("internal", "the output ended without an exit", { delivered: "yes" })
}

function outcomeOf(exit: Exit): Pick<ExecResult, "exitCode" | "signal" | "outcome"> {
  switch (exit.type) {
    case "code":
      return { exitCode: exit.code, signal: null, outcome: "exited" }
    case "signal":
      return { exitCode: null, signal: exit.signal, outcome: "signalled" }
    case "timeout":
      return { exitCode: null, signal: null, outcome: "timeout" }
    case "unknown":
      return { exitCode: null, signal: null, outcome: "unknown" }
  }
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
    // A byte order mark is a character like any other.
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.#block.subarray(0, this.#length))
  }
}
