/**
 * Which runs were asked for with an idempotency key, and how they ended: what makes a command run at most once however often it is sent. It
 * is a file where there is a place for one, so that it outlives the agent, and is written before the command is started.
 */
import { createHash } from "node:crypto"
import { closeSync, constants, fdatasync, fdatasyncSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { promisify } from "node:util"
import { exitSchema, type ProcessTrailer, processIdSchema, TunnelError } from "@trunkline/protocol"
import * as v from "valibot"
import type { ProcessRequest } from "./process-request.ts"

export interface Run {
  readonly processId: string
  /** Of the principal and the key: a key may say more than a file should. */
  readonly keyHash: string
  readonly commandHash: string
  /** Epoch milliseconds. */
  readonly startedAt: number
  readonly end?: RunEnd
}

/** What is still known of a run when its output is not. */
export interface RunEnd extends ProcessTrailer {
  readonly pid: number
  /** Bytes it wrote. */
  readonly outputBytes: number
}

const runSchema = v.object({
  processId: processIdSchema,
  keyHash: v.string(),
  commandHash: v.string(),
  startedAt: v.number(),
  end: v.optional(v.object({ exit: exitSchema, durationMs: v.number(), pid: v.number(), outputBytes: v.number() })),
  /** The run never began: the key is free again. */
  withdrawn: v.optional(v.boolean(), false),
})

/** Milliseconds a key is remembered: longer than anybody retries a request. */
const rememberedMs = 86_400_000
/** Runs that are remembered; a few MiB. One more forgets the oldest that has ended. */
const runsMax = 10_000
/** Lines after which the file is written anew: some MiB. Each run makes two. */
const linesMax = 4 * runsMax

const { O_WRONLY, O_CREAT, O_TRUNC, O_APPEND } = constants

type Line = Run & { readonly withdrawn?: boolean }

export interface RunLedgerOptions {
  /** In memory alone when absent. */
  readonly path?: string
  readonly epochMs: () => number
}

export class RunLedger {
  readonly #options: RunLedgerOptions
  /** Oldest first. */
  readonly #byKey = new Map<string, Run>()
  readonly #keyOf = new Map<string, string>()
  /** Epoch milliseconds. */
  readonly #openedAt: number
  #fd: number | undefined
  /** Lines of the file. */
  #lines = 0
  #syncs = 0

  /** Reads the file, and writes it anew without what is too old. Throws what the file system throws. */
  constructor(options: RunLedgerOptions) {
    this.#options = options
    this.#openedAt = options.epochMs()
    const { path } = options
    if (path === undefined) return
    this.#read(path)
    this.#rewrite(path)
  }

  find(principalId: string, key: string): Run | undefined {
    return this.#byKey.get(keyHash(principalId, key))
  }

  /**
   * Notes that this run is about to begin, at once for `find`; resolves when it is safe on disk. Rejects with `overloaded`, or
   * `spawn-failed` when it cannot be written; then the key is free.
   */
  async begin(principalId: string, key: string, request: ProcessRequest, processId: string): Promise<void> {
    this.#makeRoom()
    const run = { processId, keyHash: keyHash(principalId, key), commandHash: commandHash(request), startedAt: this.#options.epochMs() }
    this.#set(run)
    try {
      this.#append(run)
      await this.#sync()
    } catch (cause) {
      this.#drop(run)
      throw new TunnelError("spawn-failed", `the run could not be noted down, which its idempotency key needs: ${String(cause)}`, { cause })
    }
  }

  /** The run certainly never began. Throws what the file system throws; the key is free for as long as this agent runs all the same. */
  withdraw(principalId: string, key: string): void {
    const run = this.find(principalId, key)
    if (run === undefined) return
    this.#drop(run)
    this.#append({ ...run, withdrawn: true })
  }

  /** Nothing for a run without a key. Throws what the file system throws; the end is known for as long as this agent runs all the same. */
  end(processId: string, end: RunEnd): void {
    const hash = this.#keyOf.get(processId)
    const run = hash === undefined ? undefined : this.#byKey.get(hash)
    if (run === undefined) return
    const ended = { ...run, end }
    this.#set(ended)
    this.#append(ended)
  }

  /** Throws `bad-request` when the key was used for something else. */
  check(run: Run, request: ProcessRequest): void {
    if (run.commandHash === commandHash(request)) return
    throw new TunnelError("bad-request", "this idempotency key was used for another command: a key names one run", { delivered: "no" })
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  /** Forgets what is old, and the oldest of too many. A run of ours that has not ended is never forgotten: its key must not start a second. */
  #makeRoom(): void {
    const now = this.#options.epochMs()
    for (const run of this.#byKey.values()) {
      const old = now - run.startedAt > rememberedMs
      if (!old && this.#byKey.size < runsMax) return
      if (run.end !== undefined || (old && run.startedAt < this.#openedAt)) this.#drop(run)
    }
    if (this.#byKey.size >= runsMax)
      throw new TunnelError("overloaded", `${runsMax} runs with idempotency keys have not ended; wait for some of them`)
  }

  #set(run: Run): void {
    this.#byKey.set(run.keyHash, run)
    this.#keyOf.set(run.processId, run.keyHash)
  }

  #drop(run: Run): void {
    this.#byKey.delete(run.keyHash)
    this.#keyOf.delete(run.processId)
  }

  #append(run: Line): void {
    const { path } = this.#options
    if (path === undefined || this.#fd === undefined) return
    // Not while a sync uses the descriptor. What is to be written is in memory, but for a run that is withdrawn: that one is not in the new file.
    if (this.#lines >= linesMax && this.#syncs === 0) return this.#rewrite(path)
    this.#lines += 1
    // A line of its own also behind one that was cut short.
    writeFileSync(this.#fd, `\n${JSON.stringify(run)}\n`)
  }

  async #sync(): Promise<void> {
    if (this.#fd === undefined) return
    this.#syncs += 1
    try {
      await promisify(fdatasync)(this.#fd)
    } finally {
      this.#syncs -= 1
    }
  }

  /** Begins a file with what is known now. The old one stays until the new one is safe. */
  #rewrite(path: string): void {
    const fd = openSync(`${path}.new`, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o600)
    try {
      writeFileSync(fd, [...this.#byKey.values()].map((run) => `${JSON.stringify(run)}\n`).join(""))
      fdatasyncSync(fd)
      renameSync(`${path}.new`, path)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    this.close()
    this.#fd = fd
    this.#lines = this.#byKey.size
    // The name, too, has to be there after a crash of the machine.
    const folder = openSync(dirname(path), "r")
    fsyncSync(folder)
    closeSync(folder)
  }

  /** A line that is cut short, by a crash or a full disk, is none. */
  #read(path: string): void {
    let text: string
    try {
      text = readFileSync(path, "utf8")
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return
      throw error
    }
    const oldest = this.#options.epochMs() - rememberedMs
    for (const line of text.split("\n")) {
      const run = parse(line)
      if (run === undefined || run.startedAt < oldest) continue
      const { withdrawn, end, ...rest } = run
      if (withdrawn) this.#drop(rest)
      else this.#set(end === undefined ? rest : { ...rest, end })
    }
  }
}

function parse(text: string): v.InferOutput<typeof runSchema> | undefined {
  try {
    const result = v.safeParse(runSchema, JSON.parse(text))
    return result.success ? result.output : undefined
  } catch {
    return undefined
  }
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("base64url")

const keyHash = (principalId: string, key: string): string => sha256(JSON.stringify([principalId, key]))

/** What the key stands for: a window's size and the way the client wants to leave are not part of it. */
function commandHash({ kind, open }: ProcessRequest): string {
  const { argv, cwd, env, timeoutMs } = open
  const variables = Object.entries(env).sort(([left], [right]) => (left < right ? -1 : 1))
  return sha256(JSON.stringify([kind, argv, cwd, variables, timeoutMs, kind === "exec" ? open.stdin : true]))
}
