/**
 * Large message buffers, used again once the peer has acknowledged what they held: by then no transport needs them. A
 * fresh 64 KiB buffer for each message would be cleared each time and have the garbage collector run all the time.
 */
import { limits } from "../wire/limits.ts"

/** Below this a fresh array is cheaper than a buffer held back from others. */
const pooledBytesMin = limits.interactiveDataBytesMax
/** Buffers kept for later: what a link of the usual window has in flight. Those of a larger one are left to the collector. */
const keptMax = Math.ceil(limits.linkWindowBytes / limits.dataBytesMax)

export class MessagePool {
  readonly #bufferBytes: number
  readonly #free: ArrayBuffer[] = []

  /** `bufferBytes`: the largest message that is pooled. */
  constructor(bufferBytes: number) {
    this.#bufferBytes = bufferBytes
  }

  /** An array of this length, with anything in it. */
  take(length: number): Uint8Array {
    if (length < pooledBytesMin || length > this.#bufferBytes) return new Uint8Array(length)
    return new Uint8Array(this.#free.pop() ?? new ArrayBuffer(this.#bufferBytes), 0, length)
  }

  /** Nothing is in flight: an idle link keeps no memory. */
  clear(): void {
    this.#free.length = 0
  }

  /** Nobody looks at this message any more. */
  give(message: Uint8Array): void {
    const { buffer } = message
    if (buffer.byteLength === this.#bufferBytes && buffer instanceof ArrayBuffer && this.#free.length < keptMax) this.#free.push(buffer)
  }
}
