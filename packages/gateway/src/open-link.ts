/**
 * The Worker's way to an agent's object: client links, for the link route and the gateway's own HTTP edge, and exact
 * presence. The object is touched only for a name that an agent has dialled: the first touch fixes where in the world the object lives.
 */
import { type EndpointName, isErrorCode, type Principal, TunnelError } from "@trunkline/protocol"
import { type TicketUse, upgradeRequest } from "./agent/upgrade.ts"
import type { Presence } from "./endpoint.ts"
import type { Env } from "./env.ts"
import { readHeartbeat } from "./heartbeats.ts"
import { registryOf } from "./registry/shards.ts"
import { requireTakingSockets } from "./restart.ts"
import { withTimeout } from "./timeout.ts"

/** Names per isolate that are known to have an object: a few hundred kilobytes at most. */
const knownMax = 4_096

/** An object, once made, is there for good, so entries never go stale; the oldest is dropped when full. */
const knownNames = new Set<EndpointName>()

/** Notes that an agent has dialled under this name. */
export function rememberName(name: EndpointName): void {
  knownNames.add(name)
  const oldest = knownNames.values().next()
  if (knownNames.size > knownMax && oldest.done !== true) knownNames.delete(oldest.value)
}

/** The names known to this isolate, also those that no registry lists: an agent that has not said hello yet, or has stopped. */
export const rememberedNames = (): readonly EndpointName[] => [...knownNames]

/** Whether an agent has dialled under this name, so that its object may be touched. */
async function isKnown(env: Env, name: EndpointName): Promise<boolean> {
  if (knownNames.has(name)) return true
  let found: string[]
  try {
    found = await withTimeout(registryOf(env, name).known([name]), "asking the registry")
  } catch (cause) {
    throw new TunnelError("internal", `the registry cannot say now whether "${name}" exists: try again`, { retryable: true, cause })
  }
  if (!found.includes(name)) return false
  rememberName(name)
  return true
}

/** The exact presence of an agent, or null for a name that is not there. */
export async function presenceOf(env: Env, name: EndpointName): Promise<Presence | null> {
  if (!(await isKnown(env, name))) return null
  return env.AGENT.get(env.AGENT.idFromName(name)).presence()
}

export interface LinkOptions {
  /** Used up in the same step as the socket is accepted. */
  readonly ticket?: TicketUse
  /** The subprotocol to echo to the peer. */
  readonly subprotocol?: string
}

/**
 * The 101 response with a client's socket, also for an agent that was lost a moment ago. Throws `agent-unknown`,
 * `agent-stopped`, `agent-draining`, `agent-offline`, `too-many-clients`, `unauthorised`.
 */
export async function requestLink(env: Env, name: EndpointName, principal: Principal, options: LinkOptions = {}): Promise<Response> {
  if (!(await isKnown(env, name))) throw await unlessBeating(env, name, new TunnelError("agent-unknown", `no agent "${name}" is known`))
  try {
    return await requestSocket(env, upgradeRequest({ type: "client", name, principal, ...options }), name)
  } catch (error) {
    throw error instanceof TunnelError && error.code === "agent-stopped" ? await unlessBeating(env, name, error) : error
  }
}

/** A listed agent that has no socket must not be called unknown, nor stopped. */
async function unlessBeating(env: Env, name: EndpointName, error: TunnelError): Promise<TunnelError> {
  if ((await readHeartbeat(env.KV, name)) === undefined) return error
  return new TunnelError(
    "agent-offline",
    `the agent "${name}" only sends heartbeats and has no socket here: this gateway cannot reach it yet`,
    {
      retryable: false,
    },
  )
}

/**
 * An unaccepted socket that speaks the link protocol as a client of this agent: text control and binary link
 * messages. Throws as {@link requestLink}.
 */
export async function openLink(env: Env, name: EndpointName, principal: Principal): Promise<WebSocket> {
  const { webSocket } = await requestLink(env, name, principal)
  if (webSocket === null) throw new TunnelError("internal", `the object of "${name}" answered without a socket`)
  return webSocket
}

/** Sends an upgrade to the name's object; its refusal becomes a TunnelError. */
export async function requestSocket(env: Env, request: Request, name: EndpointName): Promise<Response> {
  requireTakingSockets()
  const response = await env.AGENT.get(env.AGENT.idFromName(name)).fetch(request)
  if (response.status === 101) return response
  const { code, message } = (await response.json()) as { code: string; message: string }
  throw new TunnelError(isErrorCode(code) ? code : "internal", message)
}
