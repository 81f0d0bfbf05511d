/** Work for a stream that is not answered yet, given up when its client leaves. */
import { type MuxStream, TunnelError } from "@trunkline/protocol"

/** The signal aborts when the stream is over; of one that is over already nothing is begun. One at a time for a stream. */
export async function whileOffered<Result>(stream: MuxStream, work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const left = new TunnelError("aborted", "the client has left")
  if (stream.phase === "closed") throw left
  const abort = new AbortController()
  stream.abandoned = () => abort.abort(left)
  try {
    return await work(abort.signal)
  } finally {
    stream.abandoned = undefined
  }
}
