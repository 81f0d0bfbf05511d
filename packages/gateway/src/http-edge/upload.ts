/** The body of a request that may be answered before it has come: its rest is read all the same, because a client that is cut off while it sends does not see the answer. */
import { inLargePieces } from "./request-body-stream.ts"

/** Milliseconds for which what nobody wants is read. */
const lingerMs = 5_000
const pieceBytes = 65_536

export interface Upload {
  readonly body: ReadableStream<Uint8Array>
  /** Resolves when the client has sent everything, or need not be listened to any longer. */
  readonly over: Promise<void>
}

export function uploadOf(stream: ReadableStream<Uint8Array>): Upload {
  const { promise: over, resolve } = Promise.withResolvers<void>()
  // Whoever cancels has an answer to give out, and does not wait for it.
  const unwanted = async (reader: ReadableStreamBYOBReader) => void discard(reader).then(resolve, () => resolve())
  return { body: inLargePieces(stream, { ended: resolve, unwanted }), over }
}

/** Reads to the end, or for a while. Rejects when the client is gone. */
async function discard(reader: ReadableStreamBYOBReader): Promise<void> {
  const time = scheduler.wait(lingerMs)
  let late = false
  time.then(
    () => (late = true),
    () => {},
  )
  let memory = new ArrayBuffer(pieceBytes)
  while (!late) {
    const read = await Promise.race([reader.read(new Uint8Array(memory)), time])
    if (read === undefined) break
    if (read.done) return
    memory = read.value.buffer as ArrayBuffer
  }
  await reader.cancel()
}
