/** A socket and a stream, joined: bytes, ends and resets go from each to the other, and neither is read faster than the other takes (SPEC KT2). */
import type { Socket } from "node:net"
import { giveBack, InvalidBody, type MuxStream, type StreamEvents, TunnelError, tcpTag } from "@trunkline/protocol"
import { errnoOf } from "../errno.ts"
import { GatheredWrites } from "./gathered-writes.ts"

/** Milliseconds without progress after which bytes are dropped that a target does not take and whose client has long gone: as systems do with orphaned connections. */
const lingerMs = 60_000

/** Accepts the stream with `answer` and joins it to a connected, paused socket, which is the stream's from now on. `what` names its other end in errors. */
export function joinSocket(stream: MuxStream, socket: Socket, answer: unknown, what: string): void {
  // Consumed once the system has taken them: what waits for the target is bounded by the stream's window.
  const writes = new GatheredWrites({
    write: (bytes, taken) => socket.write(bytes, taken),
    consumed: (cost) => stream.consumed(cost),
  })
  const events: StreamEvents = {
    data: (tag, bytes, cost) => {
      if (tag !== tcpTag) throw new InvalidBody(`tag ${tag} is not ${tcpTag}`)
      writes.write(bytes, cost)
    },
    finished: () => {
      writes.flush()
      socket.end()
    },
    writable: () => socket.resume(),
    closed: (error) => {
      if (error === undefined) socket.setTimeout(lingerMs, () => socket.destroy())
      else breakOff(socket)
    },
  }
  socket.on("data", (chunk: Buffer) => {
    stream.write(tcpTag, chunk)
    giveBack(chunk)
    if (stream.writableBytes === 0) socket.pause()
  })
  socket.on("end", () => stream.finish())
  socket.on("error", (error) => {
    const reason = errnoOf(error) ?? error.message
    stream.reset(new TunnelError("service-failed", `${what} broke the connection off (${reason})`, { delivered: "yes", cause: error }))
  })
  if (stream.accept(answer, events)) socket.resume()
  else breakOff(socket)
}

/** Ends a connection so that the other side sees a failure, where its kind of socket can say so. */
export function breakOff(socket: Socket): void {
  if (socket.localPort === undefined) socket.destroy()
  else socket.resetAndDestroy()
}
