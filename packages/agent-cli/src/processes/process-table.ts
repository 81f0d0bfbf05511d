/**
 * All processes of one agent: those that run, and for a while those that ended, with their output. What has been forgotten
 * still has a line here that says when and how it ended, for whoever comes too late.
 */
import { randomBytes } from "node:crypto"
import { type Clock, type Exit, type Logger, type ProcessTrailer, TunnelError } from "@trunkline/protocol"
import type { Size } from "./attachment.ts"
import { Journal } from "./journal.ts"
import type { ScreenModel } from "./live-screen.ts"
import type { AgentProcess, ProcessEvents } from "./process.ts"
import type { ProcessRequest } from "./process-request.ts"
import type { Run, RunLedger } from "./run-ledger.ts"
import { TrackedProcess } from "./tracked-process.ts"

export interface ProcessTableOptions extends Retention {
  readonly clock: Clock
  readonly epochMs: () => number
  readonly logger: Logger
  /** Starts the operating system's process. Rejects with TunnelError; then no event is ever called. */
  readonly spawn: (request: ProcessRequest, events: ProcessEvents) => Promise<AgentProcess>
  readonly screen: (size: Size) => ScreenModel
  /** Without one nobody can promise that a command runs at most once, and a request with an idempotency key is refused. */
  readonly ledger: RunLedger | undefined
}

/** What is kept, for how long. Looked at anew each time. */
export interface Retention {
  /** Bytes of output of each process, 262,144 at least. */
  readonly journalBytes?: number
  /** Milliseconds after a process's end. */
  readonly keepEndedMs?: number
}

/** What becomes of a request: a new process, the one that its key has started before, or what is still known of that one's run. */
export type Started = { readonly type: "new" | "found"; readonly process: TrackedProcess } | { readonly type: "past"; readonly run: Run }

export const defaultRetention: Required<Retention> = {
  /** What a person scrolls back through, and the scrollback of the terminals people know. */
  journalBytes: 1_048_576,
  /** Long enough to come back after a coffee, or for a CI job to be retried. */
  keepEndedMs: 300_000,
}

/** Bytes: twice what a screen may lag behind, and more than a process writes between the order to wait and its effect. */
const journalBytesMin = 262_144
/** Bytes of output kept of all processes that run, as far as the least of each allows. */
const runningBytesMax = 268_435_456
/** Bytes of memory for the output of those that ended, where the journals of a few do not take more; the oldest are forgotten first. */
const endedBytesMax = 67_108_864
/** So many full journals are kept however large they are: whoever asked for large ones wants them after the end, too. */
const endedJournalsMin = 4
/** Processes of one agent at once. Each holds two or three descriptors and a few KiB here, and far more in the kernel. */
const runningMax = 1_024
/** Processes that have ended and are kept: a few MiB beside their output. */
const endedMax = 4_096
/** Ended processes of which only the end is remembered. */
const gravesMax = 10_000

interface Grave {
  readonly endedAt: number
  readonly exit: Exit
}

export class ProcessTable {
  readonly #options: ProcessTableOptions
  readonly #running = new Map<string, TrackedProcess>()
  /** Oldest end first, with the time of the clock then. */
  readonly #ended = new Map<string, { readonly process: TrackedProcess; readonly atMs: number }>()
  readonly #graves = new Map<string, Grave>()
  /** Those with a key, by id. */
  readonly #starting = new Map<string, Promise<TrackedProcess>>()
  #startingCount = 0
  #cancelExpiry: (() => void) | undefined

  constructor(options: ProcessTableOptions) {
    this.#options = options
  }

  /** Those that were told to end and have not yet. */
  hungUp(): TrackedProcess[] {
    return [...this.#running.values()].filter(({ hungUp }) => hungUp)
  }

  get runningCount(): number {
    return this.#running.size + this.#startingCount
  }

  get endedCount(): number {
    return this.#ended.size
  }

  /** Those that run and those that are kept, oldest first. */
  list(): TrackedProcess[] {
    return [...this.#keptEnded(), ...this.#running.values()].sort((left, right) => left.startedAt - right.startedAt)
  }

  /** Throws `not-found`, which says when and how it ended where that is remembered. */
  get(id: string): TrackedProcess {
    const process = this.#find(id)
    if (process !== undefined) return process
    const grave = this.#graves.get(id)
    if (grave === undefined) throw new TunnelError("not-found", `no process ${id} is known; \`trunkline ps\` lists those that are`)
    throw new TunnelError("not-found", `process ${id} ended at ${timeText(grave.endedAt)} ${endText(grave.exit)}; it is not kept any more`)
  }

  /** The process of the run that this key names, if it is kept. */
  byKey(principalId: string, key: string): TrackedProcess | undefined {
    const id = this.#options.ledger?.find(principalId, key)?.processId
    return id === undefined ? undefined : this.#find(id)
  }

  /**
   * Starts a process, unless one was started with this idempotency key before. Rejects with TunnelError: why it could not be started, or
   * that the key has another command.
   */
  async start(request: ProcessRequest, principalId: string): Promise<Started> {
    const { idempotencyKey: key } = request.open
    if (key === undefined) return { type: "new", process: await this.#start(request, principalId, newId()) }
    const { ledger } = this.#options
    if (ledger === undefined)
      throw new TunnelError(
        "spawn-failed",
        "this agent cannot promise to run a command at most once: it has no keeper, and its log says why",
      )
    const known = ledger.find(principalId, key)
    if (known !== undefined) {
      ledger.check(known, request)
      const process = (await this.#starting.get(known.processId)) ?? this.#find(known.processId)
      return process === undefined ? { type: "past", run: known } : { type: "found", process }
    }
    const id = newId()
    const starting = this.#startKeyed(request, principalId, ledger, key, id)
    this.#starting.set(id, starting)
    try {
      return { type: "new", process: await starting }
    } finally {
      this.#starting.delete(id)
    }
  }

  /** Forgets all that ended. */
  close(): void {
    this.#cancelExpiry?.()
    for (const process of this.#keptEnded()) process.forget()
    this.#ended.clear()
  }

  #find(id: string): TrackedProcess | undefined {
    return this.#running.get(id) ?? this.#ended.get(id)?.process
  }

  #keptEnded(): TrackedProcess[] {
    return [...this.#ended.values()].map(({ process }) => process)
  }

  async #startKeyed(request: ProcessRequest, principalId: string, ledger: RunLedger, key: string, id: string): Promise<TrackedProcess> {
    // Written before anything runs: a key that may have run must never run again.
    await ledger.begin(principalId, key, request, id)
    try {
      return await this.#start(request, principalId, id)
    } catch (error) {
      // It certainly did not run.
      this.#note(() => ledger.withdraw(principalId, key))
      throw error
    }
  }

  async #start(request: ProcessRequest, principalId: string, id: string): Promise<TrackedProcess> {
    if (this.runningCount >= runningMax)
      throw new TunnelError("overloaded", `${runningMax} processes run on this agent, which is its limit: end some first`)
    this.#startingCount += 1
    try {
      const process = this.#track(request, principalId, id)
      try {
        process.started(await this.#options.spawn(request, process.events))
      } catch (error) {
        process.forget()
        throw error
      }
      this.#running.set(id, process)
      // Each has less of the memory for output now, where there are very many.
      for (const each of this.#running.values()) each.journal.trim()
      this.#options.logger.info("process.started", { process: id, kind: request.kind, pid: process.pid })
      return process
    } finally {
      this.#startingCount -= 1
    }
  }

  #track({ kind, open }: ProcessRequest, principalId: string, id: string): TrackedProcess {
    const { clock, epochMs, screen } = this.#options
    const size = kind === "pty" ? { cols: open.cols, rows: open.rows } : undefined
    const process: TrackedProcess = new TrackedProcess({
      id,
      kind,
      argv: open.argv ?? [],
      principalId,
      survival: kind === "pty" ? (open.keep ? "kept" : "attached") : open.detach ? "detached" : "attached",
      clock,
      epochMs,
      journal: new Journal(this.#journalBytes),
      ...(size === undefined ? {} : { screen: { size, model: screen(size) } }),
      ended: (trailer) => this.#endedNow(process, trailer),
    })
    return process
  }

  /** Each process has its journal in full until there are very many. */
  readonly #journalBytes = (): number => {
    const share = runningBytesMax / Math.max(this.runningCount, 1)
    return Math.max(journalBytesMin, Math.min(this.#options.journalBytes ?? defaultRetention.journalBytes, share))
  }

  #endedNow(process: TrackedProcess, { exit, durationMs }: ProcessTrailer): void {
    this.#running.delete(process.id)
    const { clock, ledger, logger } = this.#options
    this.#ended.set(process.id, { process, atMs: clock.now() })
    this.#note(() => ledger?.end(process.id, { exit, durationMs, pid: process.pid, outputBytes: process.journal.to }))
    logger.info("process.ended", { process: process.id, exit, durationMs, bytesOut: process.journal.to })
    this.#expire()
  }

  /** A full disk must not end the agent. After its restart a run that could not be noted has an unknown end. */
  #note(write: () => void): void {
    try {
      write()
    } catch (error) {
      this.#options.logger.error("run-ledger.write-failed", { error: String(error) })
    }
  }

  /** Buries those whose time is over, and the oldest of too many. */
  #expire(): void {
    const { clock, journalBytes = defaultRetention.journalBytes, keepEndedMs = defaultRetention.keepEndedMs } = this.#options
    const nowMs = clock.now()
    const keptBytesMax = Math.max(endedBytesMax, endedJournalsMin * journalBytes)
    let keptBytes = 0
    // At every end, of thousands: without a list of them.
    for (const { process } of this.#ended.values()) keptBytes += process.heldBytes
    for (const [id, { process, atMs }] of this.#ended) {
      if (nowMs - atMs < keepEndedMs && this.#ended.size <= endedMax && keptBytes <= keptBytesMax) break
      this.#ended.delete(id)
      keptBytes -= process.heldBytes
      const { endedAt, exit } = process
      process.forget()
      if (endedAt !== undefined && exit !== undefined) this.#bury(id, { endedAt, exit })
    }
    this.#cancelExpiry?.()
    const [oldest] = this.#ended.values()
    if (oldest !== undefined) this.#cancelExpiry = clock.schedule(Math.max(1, oldest.atMs + keepEndedMs - nowMs), () => this.#expire())
  }

  #bury(id: string, grave: Grave): void {
    this.#graves.set(id, grave)
    const [oldest] = this.#graves.keys()
    if (this.#graves.size > gravesMax && oldest !== undefined) this.#graves.delete(oldest)
  }
}

/** 48 bits: nobody meets one by chance, and whoever may ask may list them anyway. */
const newId = (): string => randomBytes(6).toString("hex")

const timeText = (epochMs: number): string => new Date(epochMs).toISOString()

export function endText(exit: Exit): string {
  switch (exit.type) {
    case "code":
      return `with exit code ${exit.code}`
    case "signal":
      return `by ${exit.signal}`
    case "timeout":
      return "because its time was up"
    case "unknown":
      return `in a way that is not known: ${exit.reason}`
  }
}
