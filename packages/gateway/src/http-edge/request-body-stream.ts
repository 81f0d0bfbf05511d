/** What the runtime reads from a client, in large pieces: whoever reads without a buffer gets 4 KiB at a time. */

/** Bytes read at once: what one frame holds. */
const pieceBytes = 65_536
/** A smaller piece gets memory of its own, so that it does not hold a whole buffer until the agent has it. */
const copiedBytesMax = 16_384

interface BodyEvents {
  /** There is no more to read, or it broke off. */
  readonly ended?: () => void
  /** In place of cancelling it; `pending` settles with the read that is under way, of which there can be no second. */
  readonly unwanted?: (reader: ReadableStreamBYOBReader, pending: Promise<unknown>) => void
}

/** Reads when it is read, and no further. */
export function inLargePieces(body: ReadableStream<Uint8Array>, { ended, unwanted }: BodyEvents = {}): ReadableStream<Uint8Array> {
  const reader = body.getReader({ mode: "byob" })
  let free: ArrayBuffer | undefined
  let reading: Promise<unknown> = Promise.resolve()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const read = reader.read(new Uint8Array(free ?? new ArrayBuffer(pieceBytes)))
        free = undefined
        reading = read.catch(() => ended?.())
        const { done, value } = await read
        if (done) {
          ended?.()
          return controller.close()
        }
        if (value.byteLength > copiedBytesMax) return controller.enqueue(value)
        controller.enqueue(value.slice())
        free = value.buffer as ArrayBuffer
      },
      async cancel(reason) {
        if (unwanted === undefined) return reader.cancel(reason)
        unwanted(reader, reading)
      },
    },
    { highWaterMark: 0 },
  )
}
