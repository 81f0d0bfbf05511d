/** The body of a request that may be answered before it has come: its rest is read all the same, so that the client sees the answer. */
import { discard } from "../linger.ts"
import { inLargePieces } from "./request-body-stream.ts"

export interface Upload {
  readonly body: ReadableStream<Uint8Array>
  /** Resolves when the client has sent everything, is gone, or need not be listened to any longer. */
  readonly over: Promise<void>
}

export function uploadOf(stream: ReadableStream<Uint8Array>): Upload {
  const { promise: over, resolve } = Promise.withResolvers<void>()
  // Whoever cancels has an answer to give out, and does not wait for it.
  const unwanted = (reader: ReadableStreamBYOBReader, pending: Promise<unknown>) => void discard(reader, pending).then(resolve)
  return { body: inLargePieces(stream, { ended: resolve, unwanted }), over }
}
