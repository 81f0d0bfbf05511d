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
}

export const usedTicket = (): TunnelError =>
  new TunnelError("unauthorised", "this ticket was used before: a ticket is good for one connection")

const upgradeHeader = "x-trunkline-upgrade"

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

/** The 101 for an accepted socket, with the first control message to it where that is not sent. */
export function upgraded(client: WebSocket, { subprotocol }: Upgrade, ready?: string): Response {
  const headers: Record<string, string> = {}
  if (subprotocol !== undefined) headers["sec-websocket-protocol"] = subprotocol
  if (ready !== undefined) headers[readyHeader] = encodeURIComponent(ready)
  return new Response(null, { status: 101, webSocket: client, headers })
}

/** The control message in an answer; undefined for one of another way to the agent, which sends it. */
export function readyIn({ headers }: Response): string | undefined {
  const value = headers.get(readyHeader)
  return value === null ? undefined : decodeURIComponent(value)
}
