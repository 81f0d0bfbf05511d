/** Bytes written as they are, no faster than the other side takes them. */
import { once } from "node:events"
import type { Socket } from "node:net"

/** Text is Latin-1: one character a byte. */
export type Pieces = Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>

/** Resolves when the system has it, or nobody wants it any more. */
export async function writeTo(socket: Socket, pieces: Pieces): Promise<void> {
  for await (const piece of pieces) {
    if (!socket.writable) return
    const bytes = typeof piece === "string" ? Buffer.from(piece, "latin1") : piece
    if (socket.write(bytes)) continue
    const settled = new AbortController()
    const { signal } = settled
    // An error is told by the reader; here it is only an end of waiting.
    await Promise.race([once(socket, "drain", { signal }), once(socket, "close", { signal })]).catch(() => {})
    settled.abort()
  }
}
