/** What the runtime reads from a client, in large pieces: whoever reads without a buffer gets 4 KiB at a time. */

/** Bytes read at once: what one frame holds. */
const pieceBytes = 65_536
/** A smaller piece gets memory of its own, so that it does not hold a whole buffer until the agent has it. */
const copiedBytesMax = 16_384

interface BodyEvents {
  readonly ended?: () => void
  /** In place of cancelling it. */
  readonly unwanted?: (reader: ReadableStreamBYOBReader) => Promise<void>
}

/** Reads when it is read, and no further. */
export function inLargePieces(body: ReadableStream<Uint8Array>, { ended, unwanted }: BodyEvents = {}): ReadableStream<Uint8Array> {
  const reader = body.getReader({ mode: "byob" })
  let free: ArrayBuffer | undefined
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read(new Uint8Array(free ?? new ArrayBuffer(pieceBytes)))
        free = undefined
        if (done) {
          ended?.()
          return controller.close()
        }
        if (value.byteLength > copiedBytesMax) return controller.enqueue(value)
        controller.enqueue(value.slice())
        free = value.buffer as ArrayBuffer
      },
      cancel: (reason) => (unwanted === undefined ? reader.cancel(reason) : unwanted(reader)),
    },
    { highWaterMark: 0 },
  )
}
