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

/** The 101 for an accepted socket. */
export const upgraded = (client: WebSocket, upgrade: Upgrade): Response =>
  new Response(null, {
    status: 101,
    webSocket: client,
    ...(upgrade.subprotocol === undefined ? {} : { headers: { "sec-websocket-protocol": upgrade.subprotocol } }),
  })
