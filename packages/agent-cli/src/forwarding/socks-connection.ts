/** One connection to a SOCKS listener, from its first byte to the request, and the answer to that. */
import type { Socket } from "node:net"
import { breakOff } from "../services/socket-stream.ts"
import { encodeReply, SocksHandshake, type SocksReply, type SocksTarget, socksReplies } from "./socks-handshake.ts"

/** Milliseconds for the whole of it: programs ask at once, and who holds a connection without asking takes a place from others. */
const handshakeMs = 10_000
/** Milliseconds in which whoever was refused may read why before the connection is cut. */
const partingMs = 2_000

export interface SocksRequest {
  readonly target: SocksTarget
  /** The connection is made: from here on the bytes are its own. */
  succeed(): void
  fail(reply: SocksReply): void
}

/** Resolves to what the client asks for, with the socket paused before the connection's first byte; to undefined when there is nothing to be done any more. */
export function readSocksRequest(socket: Socket, refused: (why: string) => void): Promise<SocksRequest | undefined> {
  const handshake = new SocksHandshake()
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      refused(`it has asked for nothing within ${handshakeMs / 1_000} s`)
      breakOff(socket)
    }, handshakeMs)
    const settle = (request?: SocksRequest) => {
      clearTimeout(timer)
      socket.off("data", take).off("end", left).off("close", left)
      resolve(request)
    }
    const left = () => {
      settle()
      socket.destroy()
    }
    const take = (bytes: Uint8Array) => {
      const verdict = handshake.take(bytes)
      if (verdict.type !== "refuse" && verdict.reply !== undefined) socket.write(verdict.reply)
      switch (verdict.type) {
        case "more":
          return
        case "refuse":
          settle()
          refused(verdict.why)
          return part(socket, verdict.reply)
        case "connect": {
          const { target, version, rest } = verdict
          settle({
            target,
            succeed: () => void socket.write(encodeReply(version, socksReplies.succeeded)),
            fail: (reply) => part(socket, encodeReply(version, reply)),
          })
          socket.pause()
          if (rest.byteLength > 0) socket.unshift(rest)
        }
      }
    }
    socket.on("data", take).on("end", left).on("close", left)
    socket.resume()
  })
}

/** Closed at once with something unread, the connection would be reset and the last words lost. */
function part(socket: Socket, words: Uint8Array): void {
  const timer = setTimeout(() => socket.destroy(), partingMs)
  socket.once("close", () => clearTimeout(timer))
  socket.end(words)
  socket.resume()
}
