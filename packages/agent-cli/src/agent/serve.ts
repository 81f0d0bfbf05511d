/**
 * The agent's gateway side: keeps one connection to the gateway, dials again when it is lost, and stops cleanly when told.
 * What is behind the connection, links and processes, is the keeper's.
 */
import { arch, hostname, platform, release } from "node:os"
import { systemClock } from "@trunkline/client/runtime"
import {
  type AgentHello,
  closeCodes,
  type EndpointName,
  isFinalCloseCode,
  type Logger,
  protocolVersion,
  reconnect,
  TunnelError,
} from "@trunkline/protocol"
import type { KeeperClient } from "../keeper/keeper-client.ts"
import { openOwnKeeper } from "../keeper/open-keeper.ts"
import { AgentConnection, type ConnectionEnd, finalError } from "./connection.ts"

export interface ServeOptions {
  readonly name: EndpointName
  readonly gateway: URL
  /** The gateway secret or this agent's own key. */
  readonly secret: string
  readonly labels: Readonly<Record<string, string>>
  readonly logger: Logger
  readonly version: string
  /** Gets a keeper, also when one was lost; never rejects. Default: one inside this process. */
  readonly openKeeper?: () => Promise<KeeperClient>
  /** Milliseconds that open streams get to finish when the agent is told to stop; 10 s by default. */
  readonly drainMs?: number
  /** Called each time the gateway has welcomed us. */
  readonly onOnline?: () => void
  /** Ends a drain at once. */
  readonly force?: AbortSignal
  /** Leaves everything with the keeper, for the serve that comes next. */
  readonly leave?: AbortSignal
}

export type ServeOutcome =
  | { readonly type: "stopped" }
  /** What runs goes on, and so do its clients once the next serve is there. `replaced`: it is there already. */
  | { readonly type: "left"; readonly why: "asked" | "replaced" }
  /** The gateway will not have us; trying again would not help. */
  | { readonly type: "refused"; readonly error: TunnelError }

/** Milliseconds: a person who stops an agent in the foreground waits no longer, and most commands are done by then. */
const defaultDrainMs = 10_000
/** Milliseconds for a keeper to end what it keeps: twice the grace of 5 s that a process gets, and what it takes to say so. */
const endMs = 15_000
/** Milliseconds until what links say at their end has been passed on: it is in memory already. */
const lastWordsMs = 1_000
/** Milliseconds a keeper must have lived for the next to be started at once. */
const keeperStableMs = 10_000
/** Milliseconds until the next, if it has not. */
const keeperRetryMs = 1_000

/** Serves until it is told to stop or to leave, or the gateway refuses for good. Never rejects. */
export async function serve(options: ServeOptions, stop: AbortSignal): Promise<ServeOutcome> {
  if (!/^[\x21-\x7e]+$/.test(options.secret)) {
    return { type: "refused", error: new TunnelError("unauthorised", "the secret is empty or holds a character that no secret has") }
  }
  const told = options.leave === undefined ? stop : AbortSignal.any([stop, options.leave])
  let everUp = false
  while (!told.aborted) {
    const openedAtMs = systemClock.now()
    const keeper = await unless(told, openKeeper(options))
    if (keeper === undefined) break
    const result = await serveWith(keeper, options, { stop, told, everUp })
    everUp = result.everUp
    if (result.outcome !== undefined) {
      keeper.close()
      return result.outcome
    }
    options.logger.error("keeper.lost", {
      reason: keeper.loss?.type === "gone" ? keeper.loss.reason : "",
      consequence: "what it kept is gone",
    })
    if (systemClock.now() - openedAtMs < keeperStableMs) await pause(keeperRetryMs, told)
  }
  if (stop.aborted) return stoppedOutcome(options)
  return { type: "left", why: "asked" }
}

const openKeeper = ({ openKeeper, logger, version }: ServeOptions): Promise<KeeperClient> =>
  openKeeper === undefined ? openOwnKeeper(logger, version) : openKeeper()

interface Told {
  readonly stop: AbortSignal
  /** To stop or to leave. */
  readonly told: AbortSignal
  readonly everUp: boolean
}

/** One keeper's time: until the agent ends, or, without an outcome, until the keeper is lost. */
async function serveWith(keeper: KeeperClient, options: ServeOptions, { stop, told, everUp }: Told) {
  const { logger } = options
  const over = AbortSignal.any([told, keeper.lost])
  let attempt = 0
  while (!over.aborted) {
    const connection = new AgentConnection({
      url: connectUrl(options),
      secret: options.secret,
      hello: helloOf(options, keeper.instance),
      clock: systemClock,
      slots: keeper,
    })
    const { end, connectedMs } = await untilEnd(connection, options, keeper, { stop, over })
    everUp ||= connectedMs > 0
    if (over.aborted) break
    // Where there was a gateway before, what answers in its place will be gone again.
    const refused = end.refused !== undefined && !(everUp && end.refused.code === "protocol-error")
    if (refused || isFinalCloseCode(end.code)) {
      const error = finalError(end)
      await endAll(keeper, error, options)
      return { everUp, outcome: { type: "refused", error } as const }
    }
    const verdict = reconnect({ attempt, code: end.code, connectedMs, random: Math.random() })
    if (verdict.action === "stop") break
    attempt = verdict.attempt
    logger.warn(connectedMs > 0 ? "gateway.lost" : "gateway.unreachable", {
      code: end.code,
      reason: end.reason,
      connectedMs: Math.round(connectedMs),
      redialMs: Math.round(verdict.delayMs),
    })
    await pause(verdict.delayMs, over)
  }
  return { everUp, outcome: await outcomeOf(keeper, options, stop, told) }
}

/** Undefined when it is only the keeper that is gone. */
async function outcomeOf(
  keeper: KeeperClient,
  options: ServeOptions,
  stop: AbortSignal,
  told: AbortSignal,
): Promise<ServeOutcome | undefined> {
  if (stop.aborted) {
    await endAll(keeper, stopped, options)
    return stoppedOutcome(options)
  }
  if (keeper.loss?.type === "replaced") {
    options.logger.warn("agent.left", { reason: "a newer serve has taken over the links and processes of this one" })
    return { type: "left", why: "replaced" }
  }
  if (!told.aborted) return undefined
  // Nobody would be there for the next.
  if (!keeper.outlivesUs) await endAll(keeper, stopped, options)
  options.logger.info("agent.left", {
    reason: keeper.outlivesUs ? "links and processes wait for the next serve" : "without a keeper nothing could wait",
  })
  return { type: "left", why: "asked" }
}

const stopped = new TunnelError("agent-stopped", "the agent was stopped", { delivered: "unknown" })

function stoppedOutcome({ logger }: ServeOptions): ServeOutcome {
  logger.info("agent.stopped")
  return { type: "stopped" }
}

/** Ends links; processes that were hung up get their graces, a forced stop kills them. A keeper that hangs is not waited for. */
async function endAll(keeper: KeeperClient, error: TunnelError, { force, logger }: ServeOptions): Promise<void> {
  const done = new AbortController()
  const gone = keeper.end(error).then(() => keeper.gone(force))
  const isGone = await Promise.race([gone.then(() => true), pause(endMs, done.signal).then(() => false)])
  done.abort()
  if (!isGone) logger.warn("keeper.silent", { consequence: "what it runs may go on; its process is called `trunkline keeper`" })
}

/** From dial to end, a clean stop included. `over`: to stop, to leave, or because the keeper is gone. */
async function untilEnd(
  connection: AgentConnection,
  options: ServeOptions,
  keeper: KeeperClient,
  { stop, over }: { readonly stop: AbortSignal; readonly over: AbortSignal },
): Promise<{ end: ConnectionEnd; connectedMs: number }> {
  let upAtMs: number | undefined
  const part = () => {
    // A restart: the gateway keeps the endpoint, and clients, for whoever comes next.
    if (!stop.aborted && (keeper.outlivesUs || keeper.lost.aborted))
      return connection.close(closeCodes.restart, "the agent's process changes")
    // Who leaves without a keeper stops, and at once.
    const drainMs = stop.aborted ? (options.drainMs ?? defaultDrainMs) : 0
    stopCleanly(connection, keeper, { up: upAtMs !== undefined, drainMs, force: options.force }).catch((error: unknown) =>
      options.logger.error("agent.stop-failed", { error: String(error) }),
    )
  }
  const welcomed = ({ generation }: { readonly generation: number }) => {
    upAtMs = systemClock.now()
    options.logger.info("gateway.connected", { gateway: options.gateway.origin, name: options.name, generation })
    options.onOnline?.()
  }
  // Without a welcome, the end says why.
  connection.welcomed.then(welcomed, () => {}).catch((error: unknown) => options.logger.error("agent.failed", { error: String(error) }))
  over.addEventListener("abort", part, { once: true })
  if (over.aborted) part()
  const end = await connection.ended
  over.removeEventListener("abort", part)
  return { end, connectedMs: upAtMs === undefined ? 0 : systemClock.now() - upAtMs }
}

/** No new streams, time for the open ones, then leave the listing and hang up. */
async function stopCleanly(
  connection: AgentConnection,
  keeper: KeeperClient,
  { up, drainMs, force }: { readonly up: boolean; readonly drainMs: number; readonly force: AbortSignal | undefined },
): Promise<void> {
  if (up) {
    connection.control({ type: "drain" })
    const cancel = new AbortController()
    const late = AbortSignal.any(force === undefined ? [cancel.signal] : [cancel.signal, force])
    await Promise.race([keeper.drain(), pause(drainMs, late)])
    // A forced stop too: else clients would not hear why.
    await Promise.race([keeper.end(stopped), pause(lastWordsMs, cancel.signal)])
    cancel.abort()
  }
  // Also to a gateway that has our hello and has not answered yet.
  connection.control({ type: "bye" })
  connection.close(closeCodes.normal, "bye")
}

/** Undefined when the signal came first. */
async function unless<Value>(signal: AbortSignal, promise: Promise<Value>): Promise<Value | undefined> {
  const aborted = Promise.withResolvers<undefined>()
  const abort = () => aborted.resolve(undefined)
  signal.addEventListener("abort", abort, { once: true })
  const value = await Promise.race([promise, aborted.promise])
  signal.removeEventListener("abort", abort)
  return value
}

function pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve()
    const done = () => {
      cancel()
      signal?.removeEventListener("abort", done)
      resolve()
    }
    const cancel = systemClock.schedule(delayMs, done)
    signal?.addEventListener("abort", done, { once: true })
  })
}

function connectUrl({ gateway, name }: ServeOptions): URL {
  const url = new URL("ws/connect", gateway.pathname.endsWith("/") ? gateway : new URL(`${gateway.pathname}/`, gateway))
  url.protocol = gateway.protocol === "https:" ? "wss:" : "ws:"
  url.searchParams.set("name", name)
  return url
}

function helloOf(options: ServeOptions, instance: string): AgentHello {
  return {
    type: "hello",
    protocol: { min: protocolVersion, max: protocolVersion },
    instance,
    version: options.version,
    labels: { ...options.labels },
    host: { hostname: hostname(), os: `${platform()} ${release()}`.slice(0, 64), arch: arch(), node: process.version },
  }
}
