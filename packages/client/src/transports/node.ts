/** Node with the `ws` package: twice the message rate of the built-in WebSocket, and headers, so it needs no ticket. */

import { TunnelError } from "@trunkline/protocol"
import { type RawData, WebSocket } from "ws"
import { type Dial, linkUrl, subprotocol } from "../dial.ts"
import { errorFromBody, unreachable } from "../gateway-api.ts"

/** Bytes of an error answer that are read. */
const errorBytesMax = 16_384

export const dialNode: Dial = ({ gateway, agent, token, signal }, events) =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(linkUrl(gateway, agent), subprotocol, {
      headers: { authorization: `Bearer ${token}` },
      // Output is often compressed already, and a deflate context costs more memory than the link.
      perMessageDeflate: false,
      maxPayload: 1_048_576,
    })
    let open = false
    const abort = () => {
      reject(unreachable(gateway, signal.reason))
      socket.terminate()
    }
    if (signal.aborted) return abort()
    signal.addEventListener("abort", abort, { once: true })
    socket.on("open", () => {
      open = true
      signal.removeEventListener("abort", abort)
      resolve({
        send(message) {
          if (socket.readyState === WebSocket.OPEN) socket.send(message, () => events.drained())
        },
        get bufferedBytes() {
          return socket.bufferedAmount
        },
        close(code, reason) {
          socket.removeAllListeners("message").removeAllListeners("close")
          socket.close(code, reason)
        },
      })
    })
    socket.on("message", (data: RawData, binary: boolean) => {
      // With the default binaryType a message is always one Buffer.
      if (data instanceof Buffer) events.message(binary ? data : data.toString())
    })
    socket.on("close", (code, reason) => {
      if (open) events.closed(code, reason.toString())
    })
    socket.on("unexpected-response", (_request, response) => {
      signal.removeEventListener("abort", abort)
      let body = ""
      response.setEncoding("utf8")
      response.on("data", (chunk: string) => {
        if (body.length < errorBytesMax) body += chunk
      })
      response.on("close", () => {
        reject(errorFromBody(response.statusCode ?? 0, body))
        socket.terminate()
      })
    })
    socket.on("error", (error) => {
      signal.removeEventListener("abort", abort)
      if (!open) reject(error instanceof TunnelError ? error : unreachable(gateway, error))
    })
  })
