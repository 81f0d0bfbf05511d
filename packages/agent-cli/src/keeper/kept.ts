/** What a keeper keeps: the agent's ends of all links, and the processes that run for them. */
import { setTimeout as delay } from "node:timers/promises"
import { systemClock } from "@trunkline/client/runtime"
import { type Clock, type Logger, TunnelError } from "@trunkline/protocol"
import { dispatch } from "../agent/dispatch.ts"
import { Links } from "../agent/links.ts"
import { startExec } from "../processes/exec-process.ts"
import { processTimes } from "../processes/process.ts"
import { defaultRetention, ProcessTable, type Retention } from "../processes/process-table.ts"
import { startPty } from "../processes/pty-process.ts"
import { RunLedger } from "../processes/run-ledger.ts"
import { Screen } from "../screen/screen.ts"
import { HttpServices } from "../services/http.ts"
import { Listeners } from "../services/listeners.ts"
import { OwnerPolicy } from "../targets/owner-policy.ts"

/** Milliseconds between looks at what has no event of its own. */
const lookMs = 20

/** What one look at all sockets has brought goes out together: the head of an answer, its body and its end come in one chunk, and are three turns. */
const linkClock: Clock = { ...systemClock, defer: (task) => void setImmediate(task) }

export class Kept {
  readonly links: Links
  readonly #logger: Logger
  readonly #processes: ProcessTable
  readonly #listeners: Listeners
  #retention: Required<Retention> = defaultRetention
  #policy = new OwnerPolicy()
  #draining = false

  /** `ledgerPath`: where runs with idempotency keys are noted, so that the note outlives this process. */
  constructor(logger: Logger, ledgerPath?: string) {
    this.#logger = logger
    const epochMs = () => Date.now()
    const kept = this
    this.#processes = new ProcessTable({
      clock: systemClock,
      epochMs,
      logger,
      spawn: ({ kind, open }, events) => (kind === "exec" ? startExec(open, events) : startPty(open, events)),
      screen: (size) => new Screen(size),
      get journalBytes() {
        return kept.#retention.journalBytes
      },
      get keepEndedMs() {
        return kept.#retention.keepEndedMs
      },
      ledger: ledgerPath === undefined ? undefined : new RunLedger({ epochMs, path: ledgerPath }),
    })
    this.#listeners = new Listeners(logger)
    const context = {
      logger,
      processes: this.#processes,
      listeners: this.#listeners,
      http: new HttpServices(),
      policy: () => this.#policy,
      draining: () => this.#draining,
    }
    this.links = new Links({
      clock: linkClock,
      logger,
      offered: (stream, body, principal) => dispatch(stream, body, principal, context),
    })
  }

  /** Processes that have not ended. */
  get processCount(): number {
    return this.#processes.runningCount
  }

  /** No link is there and nothing runs. */
  get isEmpty(): boolean {
    return this.links.linkCount === 0 && this.processCount === 0
  }

  /** Nor has anything ended lately that its client may come back for, unless the agent was stopped on purpose. */
  get isForgettable(): boolean {
    return this.isEmpty && (this.#draining || this.#processes.endedCount === 0)
  }

  /** How much of processes to keep from now on, and for how long. */
  retain(retention: Required<Retention> = defaultRetention): void {
    this.#retention = retention
  }

  /** What may be reached from now on. */
  allow(policy: OwnerPolicy): void {
    this.#policy = policy
  }

  /** A serve has come: what an earlier one's stop refused is welcome again. */
  open(): void {
    this.#draining = false
  }

  /** Refuses new streams; resolves when no stream is open, or when `signal` is aborted. */
  async drain(signal: AbortSignal): Promise<void> {
    this.#draining = true
    const streams = this.links.streamCount
    if (streams > 0) this.#logger.info("agent.draining", { streams })
    const stopped = new TunnelError("agent-stopped", "the agent was stopped", { delivered: "unknown" })
    this.links.goAway(stopped)
    // They would last for as long as their clients like.
    this.#listeners.end(stopped)
    const drained = () => {
      this.links.endFinished(stopped)
      return this.links.streamCount === 0
    }
    await until(drained, signal)
  }

  /** Ends all links, which hangs up what runs for them. */
  end(error: TunnelError): void {
    this.#draining = true
    this.links.endAll(error)
  }

  /** Resolves when those that were hung up have ended, or have used up their graces and are killed, or when `signal` is aborted. */
  async gone(signal: AbortSignal): Promise<void> {
    const timeUp = AbortSignal.timeout(2 * processTimes.graceMs + 1_000)
    await until(() => this.#processes.hungUp().length === 0, AbortSignal.any([signal, timeUp]))
    if (!signal.aborted) this.kill()
  }

  /** Kills what was hung up: a detached process is neither waited for nor ended. */
  kill(): void {
    for (const process of this.#processes.hungUp()) process.signal("SIGKILL")
  }
}

async function until(done: () => boolean, signal: AbortSignal): Promise<void> {
  while (!done() && !signal.aborted) await delay(lookMs, undefined, { signal }).catch(() => {})
}
