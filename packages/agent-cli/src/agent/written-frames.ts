/**
 * Gives the memory of the frames that the WebSocket library writes back once the system has taken them: it masks each message into memory of its own, and left to the
 * collector that costs more than the masking and the copying.
 */
import type { Socket } from "node:net"
import { giveBack } from "@trunkline/protocol"

type Written = (error?: Error | null) => void
type Write = (frame: Uint8Array, written?: Written) => boolean

/**
 * From now on all that is written to the socket must be the library's own: with a mask of zeros, for one, it would write the bytes that it was given. It writes frames,
 * or their parts, with a callback or without; what is small shares its memory with others and stays.
 */
export function giveBackWrittenFrames(socket: Socket): void {
  const write: Write = socket.write.bind(socket)
  const writeOnce: Write = (frame, written) =>
    write(frame, (error) => {
      giveBack(frame)
      written?.(error)
    })
  socket.write = writeOnce as Socket["write"]
}
