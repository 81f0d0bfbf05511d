/** Hearing a client out: one whose connection is closed while it sends may never see the answer, because what it sends then resets the connection under it. */

/** Milliseconds for which what nobody wants is read. */
const lingerMs = 10_000
/** Milliseconds of silence after which a client waits for its answer, and sends nothing that could reset it. */
const silenceMs = 2_000
const pieceBytes = 65_536

/** Reads the rest of a request's body, for a while, unless somebody else does. Never rejects. */
export async function hearOut(body: ReadableStream<Uint8Array> | null): Promise<void> {
  if (body === null || body.locked) return
  await discard(body.getReader({ mode: "byob" }))
}

/**
 * Resolves when everything was read, the client is gone, or it was listened to for long enough. The runtime takes one read at a time: `pending` is one that is under
 * way, of a client that may have fallen silent.
 */
export async function discard(reader: ReadableStreamBYOBReader, pending: Promise<unknown> = Promise.resolve()): Promise<void> {
  let pieces = 0
  const read = async () => {
    await pending
    pieces++
    let memory = new ArrayBuffer(pieceBytes)
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(memory))
      if (done) return
      memory = value.buffer as ArrayBuffer
      pieces++
    }
  }
  const ended = read().then(
    () => true,
    () => true,
  )
  for (let waitedMs = 0; waitedMs < lingerMs; waitedMs += silenceMs) {
    const before = pieces
    if (await Promise.race([ended, scheduler.wait(silenceMs)])) return
    if (pieces === before) break
  }
  await reader.cancel().catch(() => {})
}
