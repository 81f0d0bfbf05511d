/** The handshake of a WebSocket on a connection that is made: the client's request to the letter, but for what each leg has of its own (SPEC KW1). */
import type { ClientRequest } from "node:http"
import type { Socket } from "node:net"
import { limits, type WebSocketOpen } from "@trunkline/protocol"
import { WebSocket } from "ws"

const handshakeName = /^(?:content-length|sec-websocket-(?:key|version|extensions|protocol|accept))$/i

/** The socket, which is paused, is the WebSocket's from now on. `head` holds names and values in turn. */
export function askForWebSocket(socket: Socket, { path, protocols }: WebSocketOpen, head: readonly string[]): WebSocket {
  return new WebSocket("ws://localhost", {
    createConnection: () => socket,
    maxHeaderSize: limits.httpHeadBytesMax,
    maxPayload: limits.webSocketMessageBytesMax,
    perMessageDeflate: false,
    finishRequest: (request: ClientRequest) => {
      request.path = path
      request.removeHeader("Host")
      for (let at = 0; at + 1 < head.length; at += 2) {
        const [name = "", value = ""] = head.slice(at, at + 2)
        if (!handshakeName.test(name)) request.appendHeader(name, value)
      }
      // Past the library, which would refuse an answer that names another, or none: that is the client's to judge.
      if (protocols.length > 0) request.setHeader("Sec-WebSocket-Protocol", protocols.join(", "))
      request.once("socket", () => socket.resume())
      request.end()
    },
  })
}
