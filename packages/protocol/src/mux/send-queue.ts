/** Bytes a stream has been given and not yet sent. Small chunks with one tag leave together as one frame. */
import { dataOverheadBytes } from "./window.ts"

interface Chunk {
  readonly tag: number
  readonly bytes: Uint8Array
}

export class SendQueue {
  #chunks: Chunk[] = []
  #head = 0
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  push(tag: number, bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return
    this.#chunks.push({ tag, bytes })
    this.#bytes += bytes.byteLength
  }

  clear(): void {
    this.#chunks = []
    this.#head = 0
    this.#bytes = 0
  }

  /** At most `max` bytes of one tag, in order; undefined when there is nothing or no room for a byte. */
  take(max: number): { readonly tag: number; readonly bytes: Uint8Array } | undefined {
    const first = this.#chunks[this.#head]
    if (first === undefined || max <= 0) return undefined
    if (first.bytes.byteLength >= max) return { tag: first.tag, bytes: this.#takeFrom(first, max) }
    const next = this.#chunks[this.#head + 1]
    if (next === undefined || next.tag !== first.tag) return { tag: first.tag, bytes: this.#takeFrom(first, first.bytes.byteLength) }
    return { tag: first.tag, bytes: this.#gather(first.tag, max) }
  }

  #gather(tag: number, max: number): Uint8Array {
    const parts: Uint8Array[] = []
    let length = 0
    for (let chunk = this.#chunks[this.#head]; chunk !== undefined && chunk.tag === tag && length < max; chunk = this.#chunks[this.#head]) {
      const part = this.#takeFrom(chunk, Math.min(chunk.bytes.byteLength, max - length))
      parts.push(part)
      length += part.byteLength
    }
    const gathered = new Uint8Array(length)
    let at = 0
    for (const part of parts) {
      gathered.set(part, at)
      at += part.byteLength
    }
    return gathered
  }

  #takeFrom(chunk: Chunk, length: number): Uint8Array {
    this.#bytes -= length
    if (length < chunk.bytes.byteLength) {
      this.#chunks[this.#head] = { tag: chunk.tag, bytes: chunk.bytes.subarray(length) }
      return chunk.bytes.subarray(0, length)
    }
    this.#head += 1
    if (this.#head === this.#chunks.length) {
      this.#chunks = []
      this.#head = 0
    } else if (this.#head > 256 && this.#head * 2 > this.#chunks.length) {
      this.#chunks = this.#chunks.slice(this.#head)
      this.#head = 0
    }
    return chunk.bytes
  }
}

/** The most payload a sender can put in a frame with this credit. */
export const payloadFor = (creditBytes: number): number => creditBytes - dataOverheadBytes
