/**
 * Large message buffers, used again once the peer has acknowledged what they held: by then no transport needs them. A
 * fresh 64 KiB buffer for each message would be cleared each time and have the garbage collector run all the time.
 */
import type { Clock } from "../ports.ts"
import { limits } from "../wire/limits.ts"

/** Below this a fresh array is cheaper than a buffer held back from others. */
const pooledBytesMin = limits.interactiveDataBytesMax
/** Buffers kept for later: what a link of the usual window has in flight. Those of a larger one are left to the collector. */
const keptMax = Math.ceil(limits.linkWindowBytes / limits.dataBytesMax)
/** Milliseconds that buffers are kept while nothing is in flight: on a short path that is so again and again in the midst of a transfer. */
const restMs = 1_000

export class MessagePool {
  readonly #bufferBytes: number
  readonly #clock: Clock
  readonly #free: ArrayBuffer[] = []
  #cancelRest: (() => void) | undefined

  /** `bufferBytes`: the largest message that is pooled. */
  constructor(bufferBytes: number, clock: Clock) {
    this.#bufferBytes = bufferBytes
    this.#clock = clock
  }

  /** An array of this length, with anything in it. */
  take(length: number): Uint8Array {
    if (length < pooledBytesMin || length > this.#bufferBytes) return new Uint8Array(length)
    this.#cancelRest?.()
    this.#cancelRest = undefined
    return new Uint8Array(this.#free.pop() ?? new ArrayBuffer(this.#bufferBytes), 0, length)
  }

  /** Nothing is in flight. If it stays so nothing is kept either. */
  rest(): void {
    if (this.#free.length > 0) this.#cancelRest ??= this.#clock.schedule(restMs, () => this.clear())
  }

  /** Keeps nothing. */
  clear(): void {
    this.#cancelRest?.()
    this.#cancelRest = undefined
    this.#free.length = 0
  }

  /** Nobody looks at this message any more. */
  give(message: Uint8Array): void {
    const { buffer } = message
    if (buffer.byteLength === this.#bufferBytes && buffer instanceof ArrayBuffer && this.#free.length < keptMax) this.#free.push(buffer)
  }
}
