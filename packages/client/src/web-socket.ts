/** A WebSocket to a service at the agent: whole messages, with back-pressure both ways. */
import { checkBody, noCloseCode, type WebSocketOpen, webSocketOpenSchema } from "@trunkline/protocol"
import { checkRequest } from "./check-request.ts"
import type { HttpAnswer } from "./http.ts"
import type { LinkConnection } from "./link-connection.ts"
import { resetAtAbort } from "./reset-at-abort.ts"
import { type WebSocketClose, WebSocketEnd } from "./web-socket-end.ts"

export interface WebSocketRequest extends Omit<WebSocketOpen, "headers" | "protocols"> {
  /** In order, a name as often as it is to be sent; those of the handshake itself are made by the agent. */
  readonly headers?: HttpAnswer["headers"]
  /** Subprotocols to choose from. What the service makes of them is passed on as it is. */
  readonly protocols?: readonly string[]
  /** Until the socket is open it gives up; later it breaks it off. */
  readonly signal?: AbortSignal
}

export interface TunnelWebSocket {
  readonly type: "open"
  /** The subprotocol that the service named, or "". */
  readonly protocol: string
  readonly headers: HttpAnswer["headers"]
  /**
   * Messages in order, text as string; ends with the service's close. Reading grants the service more room: what nobody reads is kept at the service but for the
   * stream's window, at most 1 MiB, and the message that a reader waits for, at most 32 MiB. Errors with TunnelError when the socket breaks off. Cancelling drops
   * what still comes and says goodbye.
   */
  readonly messages: ReadableStream<string | Uint8Array>
  /**
   * Resolves when there is room for the next; until then the bytes must not change. Rejects with TunnelError: `too-large` above 32 MiB, and when the socket is
   * over or its goodbye was said.
   */
  send(message: string | Uint8Array): Promise<void>
  /**
   * Says goodbye behind what was sent, without a code where none is given; a reason is cut to 123 bytes. What the service still sends can be read until its own
   * goodbye. Throws `bad-request` for a code that is not for sending: 1000 to 1003, 1007 to 1014 and 3000 to 4999 are.
   */
  close(code?: number, reason?: string): void
  /** The service's close, or what broke the socket. */
  readonly closed: Promise<WebSocketClose>
  /** Breaks it off. */
  reset(): void
}

/**
 * Resolves with the open socket, or with the service's answer where that is not 101. Rejects with TunnelError: `denied` by the owner's policy, `service-refused`,
 * `service-unreachable`, `service-timeout`, `service-failed` for an answer that is no HTTP, and as every call does when the agent is not there.
 */
export async function openWebSocket(
  connection: LinkConnection,
  request: WebSocketRequest,
): Promise<TunnelWebSocket | ({ readonly type: "refused" } & HttpAnswer)> {
  const { target, path, headers = [], protocols, signal } = request
  const open = checkRequest(() => checkBody(webSocketOpenSchema, { target, path, headers, protocols }))
  const end = new WebSocketEnd()
  const stream = await connection.open("websocket", open, end.events, signal)
  end.stream = stream
  if (signal !== undefined) resetAtAbort(stream, end.over, signal)
  const head = await end.answered
  if (head.status !== 101) return { type: "refused", ...head, body: end.body }
  return {
    type: "open",
    protocol: head.headers.find(([name]) => name.toLowerCase() === "sec-websocket-protocol")?.[1] ?? "",
    headers: head.headers,
    messages: end.messages,
    send: (message) => end.send(message),
    close: (code = noCloseCode, reason = "") => end.close(code, reason),
    closed: end.closed,
    reset: () => end.reset("the WebSocket was broken off here", undefined),
  }
}
