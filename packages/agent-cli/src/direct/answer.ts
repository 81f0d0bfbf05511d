/** What the listener answers over HTTP: JSON, and failures in the gateway's one shape. */
import { randomUUID } from "node:crypto"
import { type IncomingMessage, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import { type ErrorBody, errorCodes, type TunnelError } from "@trunkline/protocol"

/** Credentials are brought by the page itself and never by its browser, so any page may call. */
const corsHeaders = { "access-control-allow-origin": "*", "access-control-expose-headers": "x-request-id, retry-after" }

/** Milliseconds for the other end of a connection to end it too, as at the gateway. */
export const closeTimeoutMs = 2_000

export function answerJson(response: ServerResponse, status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void {
  const text = Buffer.from(JSON.stringify(body))
  response
    .writeHead(status, { "content-type": "application/json", "content-length": text.byteLength, ...corsHeaders, ...headers })
    .end(response.req.method === "HEAD" ? undefined : text)
}

export function answerError(response: ServerResponse, error: TunnelError, headers: Readonly<Record<string, string>> = {}): void {
  const { code, message, retryable, delivered } = error
  const requestId = randomUUID()
  const { status } = errorCodes[code]
  const body: ErrorBody = { error: { code, message, retryable, delivered, requestId } }
  answerJson(response, status, body, {
    "x-request-id": requestId,
    ...(code === "unauthorised" ? { "www-authenticate": "Bearer" } : {}),
    ...(code === "upgrade-required" ? { upgrade: "websocket" } : {}),
    ...(status === 503 && retryable ? { "retry-after": "5" } : {}),
    ...headers,
  })
}

export function answerPreflight(response: ServerResponse, methods: string): void {
  response
    .writeHead(204, {
      ...corsHeaders,
      allow: methods,
      "access-control-allow-methods": methods,
      "access-control-allow-headers": "authorization, content-type, accept",
      "access-control-max-age": "86400",
    })
    .end()
}

/** An answer in place of a handshake. */
export function refuseUpgrade(request: IncomingMessage, socket: Duplex, error: TunnelError): void {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  // The parser has let go of the socket, which is a TCP one here.
  response.assignSocket(socket as Parameters<ServerResponse["assignSocket"]>[0])
  response.on("finish", () => socket.end())
  // Nobody else reads it now, so the other end's goodbye would not be heard; one that says none is not waited for.
  const late = setTimeout(() => socket.destroy(), closeTimeoutMs)
  socket.on("close", () => clearTimeout(late)).resume()
  answerError(response, error)
}
