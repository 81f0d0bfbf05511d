/**
 * A WebSocket between a client here and a service at the agent, message by message. What goes to the client waits until it has room; what comes from it cannot
 * be held back in a Worker, so what may wait is bounded.
 */
import type { TunnelWebSocket, WebSocketClose } from "@trunkline/client"
import { limits } from "@trunkline/protocol"
import { cutReason, sendableCode } from "../agent/sockets.ts"
import { handshakeHeaders } from "./forwarded-headers.ts"
import { answerHeaders } from "./service-answer.ts"

/** Bytes, or characters, of a client's messages that wait behind the one that is being sent: as much as one may have. */
const waitingBytesMax = limits.webSocketMessageBytesMax
/** Bytes that may be on their way to a client before the service has to wait. */
const queuedBytesMax = 1_048_576
/** Milliseconds between looks at whether a slow client has room again: nothing tells. */
const roomPollMs = 10
const noCode = 1005
const abnormal = 1006
const tryAgainLater = 1013
/** What stands between the client and the service has failed. */
const badGateway = 1014

/** The 101 for the client. `leave` is called when the service has closed or is lost, and the client was told. */
export function socketAnswer(service: TunnelWebSocket, ctx: Pick<ExecutionContext, "waitUntil">, leave: () => void): Response {
  const pair = new WebSocketPair()
  const client = pair[1]
  client.binaryType = "arraybuffer"
  // Half open: the service is to answer a close, not the runtime.
  client.accept({ allowHalfOpen: true })
  toService(client, service)
  ctx.waitUntil(toClient(client, service).finally(leave))
  const headers = answerHeaders(service.headers, [...handshakeHeaders, "connection", "upgrade"])
  if (service.protocol !== "") headers.set("sec-websocket-protocol", service.protocol)
  return new Response(null, { status: 101, webSocket: pair[0], headers })
}

/** Passes on what the client sends, and its close behind that. One that leaves without a close, or sends too much, breaks the socket off at once. */
function toService(client: WebSocket, service: TunnelWebSocket): void {
  const waiting: (string | Uint8Array)[] = []
  let waitingBytes = 0
  let sending = false
  let goodbye: (() => void) | undefined
  let ended = false
  const send = async (): Promise<void> => {
    if (sending) return
    sending = true
    try {
      for (let message = waiting.shift(); message !== undefined; message = waiting.shift()) {
        waitingBytes -= message.length
        await service.send(message)
      }
      goodbye?.()
    } catch {
      // The socket is over, and its end reaches the client the other way.
      ended = true
    }
    sending = false
  }
  const breakOff = (): void => {
    ended = true
    waiting.length = 0
    service.reset()
  }
  client.addEventListener("message", ({ data }) => {
    if (ended) return
    const message = typeof data === "string" ? data : new Uint8Array(data as ArrayBuffer)
    if (waitingBytes + message.length > waitingBytesMax) {
      close(client, { code: tryAgainLater, reason: "the service takes messages more slowly than they come" })
      return breakOff()
    }
    waiting.push(message)
    waitingBytes += message.length
    void send()
  })
  client.addEventListener("close", ({ code, reason }) => {
    if (code === abnormal) return breakOff()
    goodbye = () => (code === noCode ? service.close() : service.close(sendableCode(code), reason))
    void send()
  })
  // A message that is too large, or no WebSocket any more: the runtime has closed already.
  client.addEventListener("error", breakOff)
}

/** Passes on what the service sends, and its close; resolves then. */
async function toClient(client: WebSocket, service: TunnelWebSocket): Promise<void> {
  try {
    for await (const message of service.messages) {
      if (client.readyState !== WebSocket.OPEN && client.readyState !== WebSocket.CLOSING) break
      client.send(message)
      await room(client)
    }
    close(client, await service.closed)
  } catch (error) {
    close(client, { code: badGateway, reason: error instanceof Error ? error.message : String(error) })
  }
}

/** Resolves when little waits for the client, or nobody does. */
async function room(client: WebSocket): Promise<void> {
  // The type says it is always there; deployed runtimes may be older.
  const queued = (): number => (client.bufferedAmount as number | undefined) ?? 0
  while (client.readyState === WebSocket.OPEN && queued() > queuedBytesMax) await scheduler.wait(roomPollMs)
}

function close(client: WebSocket, { code, reason }: WebSocketClose): void {
  try {
    if (code === noCode) client.close()
    else client.close(sendableCode(code), cutReason(reason))
  } catch {
    // Already closed.
  }
}
