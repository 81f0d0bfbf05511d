/**
 * The Worker's ways to an agent: client links, for the link route and the gateway's own HTTP edge, and exact presence. A socket
 * of the agent is preferred; its URL is used while there is none. The agent's object is touched only for a name that an agent has
 * dialled: the first touch fixes where in the world the object lives.
 */
import { type EndpointName, type ErrorCode, isErrorCode, type Principal, TunnelError } from "@trunkline/protocol"
import type { AgentSocket } from "./agent/agent-socket.ts"
import { type Readiness, readinessIn, type TicketUse, upgradeRequest, usedTicket } from "./agent/upgrade.ts"
import { mintAssertion } from "./assertion.ts"
import { secretsOf } from "./auth.ts"
import { base64UrlEncode } from "./base64url.ts"
import { dialUrl } from "./dial-url.ts"
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
  return objectOf(env, name).presence()
}

export interface LinkOptions {
  /** Used up in the same step as the socket is accepted. */
  readonly ticket?: TicketUse
  /** The subprotocol to echo to the peer. */
  readonly subprotocol?: string
  /** As in an upgrade to the agent's object, and so is `first`. */
  readonly readyInAnswer?: boolean
  readonly first?: string
}

/**
 * The 101 response with a client's socket, also for an agent that was lost a moment ago. Throws `agent-unknown`,
 * `agent-stopped`, `agent-draining`, `agent-offline`, `too-many-clients`, `unauthorised`.
 */
export async function requestLink(env: Env, name: EndpointName, principal: Principal, options: LinkOptions = {}): Promise<Response> {
  const client = { type: "client", name, principal, ...options } as const
  const known = await isKnown(env, name)
  const absence = known ? await absenceOf(env, name, { ...client, unlessAway: true }) : unknownAgent(name)
  if (absence instanceof Response) return absence
  // Asked for only now: a link to an agent with a socket costs no read of KV.
  const heartbeat = await readHeartbeat(env.KV, name)
  const { ticket, ...unticketed } = client
  if (heartbeat === undefined) {
    if (absence.code === "agent-away") return requestSocket(env, upgradeRequest(client), name)
    throw absence
  }
  requireTakingSockets()
  // Where there is no object, the agent alone sees to it that a ticket is used once, by its nonce.
  if (known && ticket !== undefined && !(await objectOf(env, name).useTicket(ticket))) throw usedTicket()
  try {
    const assertion = await mintAssertion(secretsOf(env), { agent: name, principal, ...ticket }, Date.now())
    return await dialUrl(heartbeat.url, name, assertion, options.subprotocol)
  } catch (error) {
    // Both ways are cut: its socket will be back first, and then its clients hear of it.
    if (absence.code === "agent-away" && error instanceof TunnelError && error.code === "agent-offline")
      return requestSocket(env, upgradeRequest(unticketed), name)
    throw error
  }
}

/** What the object says where the agent has no socket, and may be reached another way. */
const absentCodes: ReadonlySet<ErrorCode> = new Set(["agent-unknown", "agent-away", "agent-offline", "agent-stopped"])

/** The response with a socket, or why the agent has none here. Throws what is no matter of another way. */
async function absenceOf(env: Env, name: EndpointName, upgrade: Parameters<typeof upgradeRequest>[0]): Promise<Response | TunnelError> {
  try {
    return await requestSocket(env, upgradeRequest(upgrade), name)
  } catch (error) {
    if (error instanceof TunnelError && absentCodes.has(error.code)) return error
    throw error
  }
}

const unknownAgent = (name: EndpointName): TunnelError => new TunnelError("agent-unknown", `no agent "${name}" is known`)

const objectOf = (env: Env, name: EndpointName): DurableObjectStub<AgentSocket> => env.AGENT.get(env.AGENT.idFromName(name))

/** The Worker's own link. */
export interface OwnLink {
  /** Unaccepted; speaks the link protocol as with a client of this agent: text control and binary link messages. */
  readonly socket: WebSocket
  /** Undefined where the first text control comes over the socket. */
  readonly readiness: Readiness | undefined
}

/** `first` is handed to an agent that is here. Throws as {@link requestLink}, and then nothing was; with any other error nobody knows. */
export async function openLink(env: Env, name: EndpointName, principal: Principal, first?: Uint8Array): Promise<OwnLink> {
  const handed = first === undefined ? {} : { first: base64UrlEncode(first) }
  const response = await requestLink(env, name, principal, { readyInAnswer: true, ...handed })
  if (response.webSocket === null) throw new TunnelError("internal", `the way to "${name}" has no socket`)
  return { socket: response.webSocket, readiness: readinessIn(response) }
}

/** Sends an upgrade to the name's object; its refusal becomes a TunnelError. */
export async function requestSocket(env: Env, request: Request, name: EndpointName): Promise<Response> {
  requireTakingSockets()
  const response = await objectOf(env, name).fetch(request)
  if (response.status === 101) return response
  const { code, message } = (await response.json()) as { code: string; message: string }
  throw new TunnelError(isErrorCode(code) ? code : "internal", message)
}
