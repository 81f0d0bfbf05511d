/**
 * The agent from its start to its end: opens the ways by which clients come, over the gateway, a listener of this machine, or both; gets
 * another keeper when one is lost; and stops cleanly when told. What is behind the ways, links and processes, is the keeper's.
 */
import { systemClock } from "@trunkline/client/runtime"
import { TunnelError } from "@trunkline/protocol"
import type { DirectListener } from "../direct/direct-listener.ts"
import { serveDirectly } from "../direct/serve-directly.ts"
import type { KeeperClient } from "../keeper/keeper-client.ts"
import { openOwnKeeper } from "../keeper/open-keeper.ts"
import { aborted, pause } from "./pause.ts"
import type { Registration } from "./registration.ts"
import { type GatewayOptions, serveGateway } from "./serve-gateway.ts"
import { Switchboard } from "./switchboard.ts"

export interface ServeOptions extends GatewayOptions {
  /** Gets a keeper, also when one was lost; never rejects. Default: one inside this process. */
  readonly openKeeper?: () => Promise<KeeperClient>
  /** Milliseconds that open streams get to finish when the agent is told to stop; 10 s by default. */
  readonly drainMs?: number
  /** Whether there is a connection to the gateway; true by default. */
  readonly socket?: boolean
  /** Where clients may come in besides it; closed at the end. */
  readonly listener?: DirectListener
  /** Tells the gateway where the listener can be reached. */
  readonly registration?: Registration
  /** Called each time clients can come: over the gateway, or where there is none over the listener. */
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
  const refused = new AbortController()
  // Whom the gateway refuses stops as if told to.
  const end = AbortSignal.any([stop, refused.signal])
  const told = options.leave === undefined ? end : AbortSignal.any([end, options.leave])
  const over = new AbortController()
  let refusal: TunnelError | undefined
  const register = once(async () => {
    refusal = await options.registration?.keep(AbortSignal.any([told, over.signal]))
    if (refusal !== undefined) refused.abort()
  })
  const outcome = await serveKeepers(options, { stop: end, told, opened: () => void register() })
  over.abort()
  await register()
  if (outcome.type === "stopped" && refusal === undefined) await options.registration?.withdraw()
  await options.listener?.close()
  return refusal === undefined ? outcome : { type: "refused", error: refusal }
}

interface Ends {
  /** For good. */
  readonly stop: AbortSignal
  /** To stop or to leave. */
  readonly told: AbortSignal
}

/** One keeper after the other. `opened`: called when one is there, and clients may come. */
async function serveKeepers(options: ServeOptions, { stop, told, opened }: Ends & { readonly opened: () => void }): Promise<ServeOutcome> {
  let everUp = false
  while (!told.aborted) {
    const openedAtMs = systemClock.now()
    const keeper = await unless(told, openKeeper(options))
    if (keeper === undefined) break
    const result = await serveWith(keeper, options, { stop, told, everUp, opened })
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

interface KeeperTime extends Ends {
  /** Whether the gateway has ever welcomed us. */
  readonly everUp: boolean
  readonly opened: () => void
}

/** One keeper's time: until the agent ends, or, without an outcome, until the keeper is lost. */
async function serveWith(keeper: KeeperClient, options: ServeOptions, { stop, told, everUp, opened }: KeeperTime) {
  const over = AbortSignal.any([told, keeper.lost])
  const windDown = once(() => windDownKeeper(keeper, options, stop))
  const { listener } = options
  const board = listener === undefined ? undefined : new Switchboard(keeper)
  const direct =
    listener === undefined || board === undefined ? undefined : serveDirectly(listener, board, keeper, options, { stop, over, windDown })
  if (direct !== undefined && options.socket === false && options.registration === undefined) options.onOnline?.()
  opened()
  const result =
    options.socket === false
      ? { everUp, refusal: await aborted(over) }
      : await serveGateway(board?.gatewaySlots() ?? keeper, keeper, options, { stop, over, windDown, everUp })
  if (result.refusal !== undefined) {
    await endAll(keeper, result.refusal, options)
    direct?.clients.stop()
    return { everUp: result.everUp, outcome: { type: "refused", error: result.refusal } as const }
  }
  await direct?.parted
  return { everUp: result.everUp, outcome: await outcomeOf(keeper, options, stop, told) }
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

async function windDownKeeper(keeper: KeeperClient, { drainMs, force }: ServeOptions, stop: AbortSignal): Promise<void> {
  // Who leaves without a keeper stops, and at once.
  const graceMs = stop.aborted ? (drainMs ?? defaultDrainMs) : 0
  const cancel = new AbortController()
  const late = AbortSignal.any(force === undefined ? [cancel.signal] : [cancel.signal, force])
  await Promise.race([keeper.drain(), pause(graceMs, late)])
  // A forced stop too: else clients would not hear why.
  await Promise.race([keeper.end(stopped), pause(lastWordsMs, cancel.signal)])
  cancel.abort()
}

function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
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
