/**
 * The keeper: holds what must outlive a `serve`, and serves one at a time, the newest. It ends when there is nothing left
 * to keep and nobody for whom.
 */
import { randomUUID } from "node:crypto"
import type { Duplex } from "node:stream"
import type { TunnelError } from "@trunkline/protocol"
import { OwnerPolicy } from "../targets/owner-policy.ts"
import { UsageError } from "../usage-error.ts"
import { keeperProtocol } from "./keeper-wire.ts"
import { Kept } from "./kept.ts"
import { LogRelay } from "./log-relay.ts"
import { type ServeHello, ServeSession } from "./serve-session.ts"

export interface KeeperOptions {
  readonly version: string
  /** A serve's environment, from which processes get theirs. */
  readonly adoptEnvironment: (environment: Readonly<Record<string, string>>) => void
  /** Where runs with idempotency keys are noted; in memory alone when absent. */
  readonly ledgerPath?: string
  /** Nothing is left to keep, and nobody is there. May be called again. */
  readonly idle: () => void
}

/** Milliseconds for the hello; it is the first thing a serve does. */
const helloMs = 5_000
/** Milliseconds an older serve gets to close its connection to the gateway, which takes it two seconds at most. */
const leaveMs = 4_000
/** Milliseconds between looks at whether something is left to keep, while no serve is there. */
const idleLookMs = 1_000

export class Keeper {
  readonly #options: KeeperOptions
  readonly #instance = randomUUID()
  readonly #log = new LogRelay()
  readonly #kept: Kept
  #newest: ServeSession | undefined
  /** Older serves that were told to leave. */
  #leaving: Promise<unknown> = Promise.resolve()
  #look: NodeJS.Timeout | undefined

  constructor(options: KeeperOptions) {
    this.#options = options
    this.#kept = new Kept(this.#log.logger, options.ledgerPath)
    this.#lookLater()
  }

  get logger(): LogRelay["logger"] {
    return this.#log.logger
  }

  get hasServe(): boolean {
    return this.#newest !== undefined
  }

  /** A connection to the keeper's socket, or a stream in its place. */
  accept(stream: Duplex): void {
    const late = setTimeout(() => session.destroy(), helloMs)
    const session: ServeSession = new ServeSession(stream, this.#kept, {
      hello: (hello) => {
        clearTimeout(late)
        this.#greeted(session, hello).catch((error: unknown) => this.logger.error("keeper.failed", { error: String(error) }))
      },
      retire: () => {
        if (this.#kept.isEmpty) session.close()
      },
      closed: () => {
        clearTimeout(late)
        this.#left(session)
      },
    })
  }

  /** Ends all links and the processes that run for them. */
  async stop(error: TunnelError): Promise<void> {
    this.#kept.end(error)
    await this.#kept.gone(new AbortController().signal)
  }

  async #greeted(session: ServeSession, { protocol, environment, retention, policy }: ServeHello): Promise<void> {
    const { version } = this.#options
    const rules = readPolicy(policy)
    if (protocol.min > keeperProtocol || protocol.max < keeperProtocol || rules === undefined) {
      session.say({ type: "unsupported", protocol: keeperProtocol, version })
      return session.close()
    }
    const older = this.#newest
    this.#newest = session
    clearInterval(this.#look)
    // Two connections to the gateway at once would take the name from each other.
    if (older !== undefined) this.#leaving = Promise.all([this.#leaving, this.#replaced(older)])
    await this.#leaving
    if (this.#newest !== session || session.closed.aborted) return
    this.#options.adoptEnvironment(environment)
    this.#kept.retain(retention)
    this.#kept.allow(rules)
    session.welcome({
      type: "welcome",
      protocol: keeperProtocol,
      version,
      instance: this.#instance,
      pid: process.pid,
      links: this.#kept.links.linkCount,
      processes: this.#kept.processCount,
    })
    this.#log.writeTo((line) => session.log(line))
  }

  async #replaced(older: ServeSession): Promise<void> {
    this.#log.writeTo(undefined)
    const { promise, resolve } = Promise.withResolvers<void>()
    const late = setTimeout(() => older.destroy(), leaveMs)
    older.closed.addEventListener("abort", () => resolve(), { once: true })
    if (older.closed.aborted) resolve()
    older.replace()
    await promise
    clearTimeout(late)
  }

  #left(session: ServeSession): void {
    if (this.#newest !== session) return
    this.#newest = undefined
    this.#log.writeTo(undefined)
    this.#lookLater()
    if (this.#kept.isForgettable) this.#options.idle()
  }

  #lookLater(): void {
    clearInterval(this.#look)
    this.#look = setInterval(() => {
      if (this.#kept.isForgettable) this.#options.idle()
    }, idleLookMs)
    // A keeper inside a serve must not hold it up.
    this.#look.unref()
  }
}

/** Undefined for rules of a newer version: an owner's word that is not understood must not be taken for none. */
function readPolicy(settings: ServeHello["policy"]): OwnerPolicy | undefined {
  try {
    return new OwnerPolicy(settings)
  } catch (error) {
    if (error instanceof UsageError) return undefined
    throw error
  }
}
