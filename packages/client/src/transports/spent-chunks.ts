/**
 * Gives the memory that a WebSocket's bytes were read into back as soon as nobody looks at it any more: left to the collector, it has it run for a good part of the time
 * that the reading takes.
 *
 * What makes it safe: the library tells of a message (with `allowSynchronousEvents`) while it takes the chunk in which the message ends. By then it has taken all of the
 * chunks before, in order, and holds nothing of them: a message that spans chunks is gathered in memory of its own, one within a chunk is told of as a view. So those
 * chunks are nobody's, but for the ones that somebody was told a view of.
 * Over TLS a chunk is a part of larger memory, and nothing is given back.
 */
import type { Socket } from "node:net"
import { giveBack } from "@trunkline/protocol"
import type { WebSocket } from "ws"

/** Bytes of a chunk below which it is left to the collector: fewer are not worth the work, and would be many while a message comes in small pieces. */
const chunkBytesMin = 4_096

/** From its opening on. `socket` is the one below it, which nobody else reads. */
export function giveBackSpentChunks(webSocket: WebSocket, socket: Socket): void {
  /** Chunks behind which no message has ended yet, and of which nobody was told a view. At most what a message of the largest size spans. */
  let unspent: Buffer[] = []
  /** The memory of what was told while the latest chunk was taken. */
  const told = new Set<ArrayBufferLike>()
  let messageEnded = false
  webSocket.on("message", (data) => {
    messageEnded = true
    if (data instanceof Buffer) told.add(data.buffer)
  })
  // Its answer is sent from the same memory. It may come in the midst of a message, of which a part may be kept as a view.
  webSocket.on("ping", ({ buffer }) => told.add(buffer))
  // The library has taken the chunk by now: its own listener came first.
  socket.on("data", (chunk: Buffer) => {
    if (messageEnded) {
      for (const spent of unspent) if (!told.has(spent.buffer)) giveBack(spent)
      unspent = []
    }
    // Once it closes the library may read no more, and no message ends.
    if (webSocket.readyState !== webSocket.OPEN) unspent = []
    else if (chunk.byteLength >= chunkBytesMin && !told.has(chunk.buffer)) unspent.push(chunk)
    told.clear()
    messageEnded = false
  })
}
