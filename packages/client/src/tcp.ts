/** A connection that the agent makes for us, to a TCP port or a unix socket there, as Web streams. */
import { checkBody, type StreamTarget, tcpAcceptSchema, tcpOpenSchema } from "@trunkline/protocol"
import { checkRequest } from "./check-request.ts"
import type { LinkConnection } from "./link-connection.ts"
import { openTunnelSocket, type TunnelSocket } from "./tunnel-socket.ts"

/** A host defaults to the agent itself, `localhost`. */
export type SocketTarget = { readonly host?: string; readonly port: number } | { readonly path: string }

export interface SocketOptions {
  /** Until the connection is made it gives up; later it resets the connection. */
  readonly signal?: AbortSignal
}

/**
 * Rejects with TunnelError: `denied` by the owner's policy, `service-refused`, `service-unreachable`, `service-timeout`, and as every call does when the agent is not
 * there.
 */
export async function openSocket(
  connection: LinkConnection,
  target: SocketTarget | StreamTarget,
  { signal }: SocketOptions = {},
): Promise<TunnelSocket> {
  // `Object`: what is no object is for the schema to refuse.
  const named = "path" in Object(target) ? target : { host: "localhost", ...target }
  const open = checkRequest(() => checkBody(tcpOpenSchema, { target: named }))
  const addressOf = (answer: unknown): string | undefined => checkBody(tcpAcceptSchema, answer).address
  return await openTunnelSocket(connection, { kind: "tcp", body: open, addressOf }, signal)
}
