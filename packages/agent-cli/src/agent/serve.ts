/** The agent: keeps one connection to the gateway, dials again when it is lost, and stops cleanly when told. */
import { randomUUID } from "node:crypto"
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
import { processTimes } from "../processes/process.ts"
import type { ProcessContext } from "../services/process.ts"
import { AgentConnection, type ConnectionEnd, finalError } from "./connection.ts"
import { dispatch } from "./dispatch.ts"
import { Links } from "./links.ts"

export interface ServeOptions {
  readonly name: EndpointName
  readonly gateway: URL
  /** The gateway secret or this agent's own key. */
  readonly secret: string
  readonly labels: Readonly<Record<string, string>>
  readonly logger: Logger
  readonly version: string
  /** Milliseconds that open streams get to finish when the agent is told to stop; 10 s by default. */
  readonly drainMs?: number
  /** Called each time the gateway has welcomed us. */
  readonly onOnline?: () => void
  /** Ends a drain at once. */
  readonly force?: AbortSignal
}

export type ServeOutcome =
  | { readonly type: "stopped" }
  /** The gateway will not have us; trying again would not help. */
  | { readonly type: "refused"; readonly error: TunnelError }

/** Milliseconds: a person who stops an agent in the foreground waits no longer, and most commands are done by then. */
const defaultDrainMs = 10_000

/** Serves until `signal` is aborted or the gateway refuses for good. Never rejects. */
export async function serve(options: ServeOptions, signal: AbortSignal): Promise<ServeOutcome> {
  const { logger } = options
  if (!/^[\x21-\x7e]+$/.test(options.secret)) {
    return { type: "refused", error: new TunnelError("unauthorised", "the secret is empty or holds a character that no secret has") }
  }
  const running: ProcessContext["running"] = new Set()
  const context = { logger, running, draining: () => signal.aborted }
  const links = new Links({
    clock: systemClock,
    logger,
    offered: (stream, body, principal) => dispatch(stream, body, principal, context),
  })
  const instance = randomUUID()
  let attempt = 0
  let everUp = false
  while (!signal.aborted) {
    const connection = new AgentConnection({
      url: connectUrl(options),
      secret: options.secret,
      hello: helloOf(options, instance),
      clock: systemClock,
      links,
    })
    const { end, connectedMs } = await untilEnd(connection, options, links, signal)
    if (signal.aborted) break
    everUp ||= connectedMs > 0
    // Where there was a gateway before, what answers in its place will be gone again.
    const refused = end.refused !== undefined && !(everUp && end.refused.code === "protocol-error")
    if (refused || isFinalCloseCode(end.code)) {
      const error = finalError(end)
      links.endAll(error)
      await processesGone(running, options.force)
      return { type: "refused", error }
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
    await pause(verdict.delayMs, signal)
  }
  links.endAll(stopped)
  await processesGone(running, options.force)
  logger.info("agent.stopped")
  return { type: "stopped" }
}

const stopped = new TunnelError("agent-stopped", "the agent was stopped", { delivered: "unknown" })

/** From dial to end, a clean stop included. */
async function untilEnd(
  connection: AgentConnection,
  options: ServeOptions,
  links: Links,
  signal: AbortSignal,
): Promise<{ end: ConnectionEnd; connectedMs: number }> {
  let upAtMs: number | undefined
  const stop = () => {
    stopCleanly(connection, options, links, upAtMs !== undefined).catch((error: unknown) =>
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
  signal.addEventListener("abort", stop, { once: true })
  if (signal.aborted) stop()
  const end = await connection.ended
  signal.removeEventListener("abort", stop)
  return { end, connectedMs: upAtMs === undefined ? 0 : systemClock.now() - upAtMs }
}

/** No new streams, time for the open ones, then leave the listing and hang up. */
async function stopCleanly(connection: AgentConnection, options: ServeOptions, links: Links, up: boolean): Promise<void> {
  if (up) {
    connection.control({ type: "drain" })
    links.goAway(stopped)
    if (links.streamCount > 0)
      options.logger.info("agent.draining", { streams: links.streamCount, drainMs: options.drainMs ?? defaultDrainMs })
    await until(() => links.streamCount === 0, options.drainMs ?? defaultDrainMs, options.force)
    links.endAll(stopped)
  }
  // Also to a gateway that has our hello and has not answered yet.
  connection.control({ type: "bye" })
  connection.close(closeCodes.normal, "bye")
}

/** Processes that were hung up get their graces; a forced stop kills them, as nobody would after us. */
async function processesGone(running: ProcessContext["running"], force: AbortSignal | undefined): Promise<void> {
  const attached = () => [...running].filter(({ detached }) => !detached)
  await until(() => attached().length === 0, 2 * processTimes.graceMs + 1_000, force)
  for (const process of attached()) process.kill()
}

/** Milliseconds between looks at what has no event of its own. */
const lookMs = 20

async function until(done: () => boolean, withinMs: number, force: AbortSignal | undefined): Promise<void> {
  const endAtMs = systemClock.now() + withinMs
  while (!done() && systemClock.now() < endAtMs && force?.aborted !== true) await pause(lookMs, force)
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
