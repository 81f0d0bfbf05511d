/** One connection of this machine and one through the tunnel, joined: bytes, the end of each half, and a reset, both ways. */
import type { Socket } from "node:net"
import type { TunnelSocket } from "@trunkline/client"
import { breakOff as reset } from "../services/socket-stream.ts"

/** Bytes read here that the tunnel has not taken, at which reading stops; and below which it goes on. */
const unsentBytesMax = 131_072
const unsentBytesLow = 65_536
/** Bytes that the local program has not read, at which the tunnel is read no further. */
const unreadBytesMax = 131_072

/** Resolves when both have ended, however that came about. */
export async function pipeSockets(local: Socket, remote: TunnelSocket): Promise<void> {
  const writer = remote.writable.getWriter()
  const reader = remote.readable.getReader()
  const localClosed = closed(local)
  const breakOff = (reason?: unknown) => {
    // Ends of what is over already are none.
    writer.abort(reason).catch(() => {})
    reader.cancel(reason).catch(() => {})
    reset(local)
  }
  const remoteClosed = remote.closed.catch(breakOff)
  writer.closed.catch(() => {})
  reader.closed.catch(() => {})
  local.once("close", () => {
    // Without an end of the program's half it was a reset, ours or its own.
    if (!local.readableEnded || local.errored !== null) breakOff()
  })
  if (local.destroyed) breakOff()
  sendAll(local, writer, breakOff)
  receiveAll(reader, local).catch(breakOff)
  await Promise.all([localClosed, remoteClosed])
}

function sendAll(local: Socket, writer: WritableStreamDefaultWriter<Uint8Array>, breakOff: (reason: unknown) => void): void {
  let unsentBytes = 0
  local.on("data", (chunk: Buffer) => {
    unsentBytes += chunk.byteLength
    if (unsentBytes >= unsentBytesMax) local.pause()
    writer.write(chunk).then(() => {
      unsentBytes -= chunk.byteLength
      if (unsentBytes <= unsentBytesLow && local.isPaused()) local.resume()
    }, breakOff)
  })
  local.once("end", () => {
    writer.close().catch(breakOff)
  })
  local.resume()
}

async function receiveAll(reader: ReadableStreamDefaultReader<Uint8Array>, local: Socket): Promise<void> {
  for (;;) {
    const { done, value } = await reader.read()
    if (done) {
      local.end()
      return
    }
    if (local.destroyed) return
    if (!local.write(value) && local.writableLength >= unreadBytesMax) await drained(local)
  }
}

/** Resolves when the socket is gone. */
export const closed = (socket: Socket): Promise<void> =>
  socket.closed ? Promise.resolve() : new Promise((resolve) => socket.once("close", () => resolve()))

function drained(local: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      local.off("drain", done)
      local.off("close", done)
      resolve()
    }
    local.on("drain", done).on("close", done)
  })
}
