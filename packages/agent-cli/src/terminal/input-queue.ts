/**
 * What was typed or pasted and has not been taken by the remote terminal. The keyboard is read on meanwhile, so that
 * `~.` works while a program does not read; only a paste above the bound makes the keyboard wait.
 */

/** Bytes: the largest paste during which keys still get through. */
const queuedBytesMax = 16_777_216

export class InputQueue {
  readonly #write: (bytes: Uint8Array) => Promise<void>
  readonly #full: (full: boolean) => void
  #chunks: Uint8Array[] = []
  #bytes = 0
  #writing = false
  #over = false

  /** `full` is told when the source should pause and when it may go on. */
  constructor(write: (bytes: Uint8Array) => Promise<void>, full: (full: boolean) => void) {
    this.#write = write
    this.#full = full
  }

  push(bytes: Uint8Array): void {
    if (this.#over) return
    this.#chunks.push(bytes)
    this.#bytes += bytes.byteLength
    if (this.#bytes > queuedBytesMax) this.#full(true)
    if (this.#writing) return
    this.#writing = true
    this.#drain().catch(() => {
      // The remote terminal is over; its end is reported where its output is read.
      this.#over = true
      this.#chunks = []
    })
  }

  async #drain(): Promise<void> {
    for (let chunk = this.#chunks.shift(); chunk !== undefined; chunk = this.#chunks.shift()) {
      await this.#write(chunk)
      const wasFull = this.#bytes > queuedBytesMax
      this.#bytes -= chunk.byteLength
      if (wasFull && this.#bytes <= queuedBytesMax) this.#full(false)
    }
    this.#writing = false
  }
}
