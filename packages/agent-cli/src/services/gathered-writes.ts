/**
 * Bytes of a stream on their way to a target, as fast as the system takes them. While it takes none, small pieces are put together: a queue of them
 * would hold some hundred bytes for each, five times what the stream's window allows for.
 */

/** Bytes below which a piece is copied. */
const smallBytesMax = 4_096
/** Bytes that are put together, a quarter of what a frame brings at most. */
const blockBytes = 16_384

export interface GatheredWritesEvents {
  /** Writes to the target; `taken` is called once the system has the bytes, or will never have them. */
  readonly write: (bytes: Uint8Array, taken: () => void) => void
  /** Bytes of this cost are no longer held. */
  readonly consumed: (cost: number) => void
}

export class GatheredWrites {
  readonly #events: GatheredWritesEvents
  /** Writes that were not taken yet. */
  #untaken = 0
  #block: Uint8Array | undefined
  #length = 0
  #cost = 0

  constructor(events: GatheredWritesEvents) {
    this.#events = events
  }

  /** The system has not taken everything. */
  get waiting(): boolean {
    return this.#untaken > 0
  }

  write(bytes: Uint8Array, cost: number): void {
    if (this.#untaken === 0 || bytes.byteLength >= smallBytesMax) {
      this.flush()
      return this.#put(bytes, cost)
    }
    if (this.#length + bytes.byteLength > blockBytes) this.flush()
    this.#block ??= new Uint8Array(blockBytes)
    this.#block.set(bytes, this.#length)
    this.#length += bytes.byteLength
    this.#cost += cost
  }

  /** Writes what was put together: before the target is told that nothing more comes. */
  flush(): void {
    const block = this.#block
    if (block === undefined) return
    const [length, cost] = [this.#length, this.#cost]
    this.#block = undefined
    this.#length = 0
    this.#cost = 0
    this.#put(block.subarray(0, length), cost)
  }

  #put(bytes: Uint8Array, cost: number): void {
    this.#untaken += 1
    this.#events.write(bytes, () => {
      this.#untaken -= 1
      if (this.#untaken === 0) this.flush()
      this.#events.consumed(cost)
    })
  }
}
