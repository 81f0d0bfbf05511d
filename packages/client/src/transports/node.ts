/** Node with the `ws` package: twice the message rate of the built-in WebSocket, and headers, so it needs no ticket. */

import { limits, subprotocol } from "@trunkline/protocol"
import { type ClientOptions, type RawData, WebSocket } from "ws"
import { type Dial, linkUrl } from "../dial.ts"
import { errorFromBody, unreachable } from "../gateway-api.ts"
import { giveBackSpentChunks } from "./spent-chunks.ts"

/** Characters of an error answer that are read. */
const errorLengthMax = 16_384
/** Milliseconds for the other end of a closing handshake. Some gateways keep the connection for ten seconds; nothing of it is of use. */
const closeTimeoutMs = 2_000

export const dialNode: Dial = ({ gateway, agent, token, signal }, events) =>
  new Promise((resolve, reject) => {
    if (signal.aborted) return reject(unreachable(gateway, signal.reason))
    const options: ClientOptions & { readonly closeTimeout: number } = {
      headers: { authorization: `Bearer ${token}` },
      // Output is often compressed already, and a deflate context costs more memory than the link.
      perMessageDeflate: false,
      maxPayload: limits.messageBytesMax,
      // What is given back below relies on it.
      allowSynchronousEvents: true,
      closeTimeout: closeTimeoutMs,
    }
    const socket = new WebSocket(linkUrl(gateway, agent), subprotocol, options)
    let open = false
    let closed = false
    const fail = (error: unknown) => {
      signal.removeEventListener("abort", abort)
      reject(error)
      socket.terminate()
    }
    const abort = () => fail(unreachable(gateway, signal.reason))
    signal.addEventListener("abort", abort, { once: true })
    socket.once("upgrade", (response) => {
      socket.once("open", () => giveBackSpentChunks(socket, response.socket))
    })
    socket.on("open", () => {
      open = true
      signal.removeEventListener("abort", abort)
      resolve({
        send(message) {
          if (socket.readyState === WebSocket.OPEN) socket.send(message, () => closed || events.drained())
        },
        get bufferedBytes() {
          return socket.bufferedAmount
        },
        close(code, reason) {
          closed = true
          socket.close(code, reason)
        },
      })
    })
    socket.on("message", (data: RawData, binary: boolean) => {
      // With the default binaryType a message is always one Buffer.
      if (!closed && data instanceof Buffer) events.message(binary ? data : data.toString())
    })
    socket.on("close", (code, reason) => {
      if (open && !closed) events.closed(code, reason.toString())
    })
    socket.on("unexpected-response", (_request, response) => {
      let body = ""
      response.setEncoding("utf8")
      response.on("data", (chunk: string) => {
        if (body.length < errorLengthMax) body += chunk
      })
      response.on("close", () => fail(errorFromBody(response.statusCode ?? 0, body)))
    })
    socket.on("error", (error) => {
      if (!open) fail(unreachable(gateway, error))
    })
  })
