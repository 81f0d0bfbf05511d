/** What a command reads: from whole texts to streams of any runtime, written as fast as the command takes it. */
import type { Process } from "./process.ts"

export type Input = string | Uint8Array | AsyncIterable<Uint8Array> | ReadableStream<Uint8Array>

/** Writes the input and ends it. A command that ends before it has read all of it is no error; rejects when the input itself fails. */
export async function feed(process: Process, input: Input): Promise<void> {
  const chunks = chunksOf(input)
  const leave = () => void chunks.return?.().catch(() => {})
  // A source that has nothing to say now, or never ends, is let go with the command.
  process.wait().then(leave, leave)
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
    try {
      await process.write(next.value)
    } catch {
      return
    }
  }
  process.closeInput()
}

type Chunks = AsyncIterator<Uint8Array, unknown, undefined>

function chunksOf(input: Input): Chunks {
  if (typeof input === "string") return once(new TextEncoder().encode(input))
  if (input instanceof Uint8Array) return once(input)
  if (!(input instanceof ReadableStream)) return input[Symbol.asyncIterator]()
  // Not every browser iterates a stream, and none cancels a waiting iteration.
  const reader = input.getReader()
  return {
    next: () => reader.read() as Promise<IteratorResult<Uint8Array, undefined>>,
    async return() {
      await reader.cancel()
      return { done: true, value: undefined }
    },
  }
}

async function* once(bytes: Uint8Array): Chunks & AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes
}
