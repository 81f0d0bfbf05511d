/**
 * The request by which the Worker hands an authenticated socket to an AgentSocket. The Worker builds it from
 * scratch, so no header of the outside request reaches the object, and the object may trust what it reads.
 */
import { type EndpointName, type Principal, TunnelError } from "@trunkline/protocol"

export interface TicketUse {
  readonly nonce: string
  /** Epoch milliseconds. */
  readonly expiresAt: number
}

export type Upgrade = {
  readonly name: EndpointName
  /** The subprotocol to echo, if the peer offered one. */
  readonly subprotocol?: string
} & ({ readonly type: "agent" } | ClientUpgrade)

interface ClientUpgrade {
  readonly type: "client"
  readonly principal: Principal
  readonly ticket?: TicketUse
  /** Refused with `agent-away` where it would wait for an agent: there may be another way to it. */
  readonly unlessAway?: boolean
  /** The Worker's own link is told `ready` in the answer: a message of its own would cost it a turn. */
  readonly readyInAnswer?: boolean
  /** Its first message, in base64url, for an agent that is here: it saves a round trip between Worker and object, who may be far apart. */
  readonly first?: string
}

export const usedTicket = (): TunnelError =>
  new TunnelError("unauthorised", "this ticket was used before: a ticket is good for one connection")

/** Its name has the platform leave the value out of logs and traces: it holds tickets, a link's secret and the head of somebody's request. */
const upgradeHeader = "x-trunkline-secret-upgrade"

export const upgradeRequest = (upgrade: Upgrade): Request =>
  new Request("https://agent-socket/", {
    // Header values are Latin-1, a principal's id is not.
    headers: { upgrade: "websocket", [upgradeHeader]: encodeURIComponent(JSON.stringify(upgrade)) },
  })

export function readUpgrade(request: Request): Upgrade {
  const value = request.headers.get(upgradeHeader)
  if (value === null) throw new Error("only the gateway's Worker may call this object")
  return JSON.parse(decodeURIComponent(value)) as Upgrade
}

const readyHeader = "x-trunkline-ready"

/** What the Worker's own link is told with its socket. */
export interface Readiness {
  /** The first control message. */
  readonly ready: string
  /** The upgrade's first message has gone to the agent. */
  readonly tookFirst: boolean
}

/** The 101 for an accepted socket. */
export function upgraded(client: WebSocket, { subprotocol }: Upgrade, readiness?: Readiness): Response {
  const headers: Record<string, string> = {}
  if (subprotocol !== undefined) headers["sec-websocket-protocol"] = subprotocol
  if (readiness !== undefined) headers[readyHeader] = encodeURIComponent(JSON.stringify(readiness))
  return new Response(null, { status: 101, webSocket: client, headers })
}

/** Undefined for the answer of another way to the agent, which sends a control message. */
export function readinessIn({ headers }: Response): Readiness | undefined {
  const value = headers.get(readyHeader)
  return value === null ? undefined : (JSON.parse(decodeURIComponent(value)) as Readiness)
}
