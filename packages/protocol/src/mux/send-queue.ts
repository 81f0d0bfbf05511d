/**
 * Bytes a stream has been given and not yet sent. They are copied, so that whoever gave them has its memory back at once; many of them
 * into blocks that are used again, because fresh memory for each chunk has the garbage collector run all the time.
 */
import { dataOverheadBytes } from "./window.ts"

/** Where blocks of one size come from. */
export interface Blocks {
  take(): Uint8Array
  /** The block is not used again before what was taken out of it is on its way. */
  give(block: Uint8Array): void
}

/** What goes into one frame: bytes of one tag, in one piece or with more behind them. */
export interface Taken {
  readonly tag: number
  readonly bytes: Uint8Array
  readonly more?: readonly Uint8Array[]
}

interface Chunk {
  readonly tag: number
  readonly memory: Uint8Array
  /** Whether the memory is a block. */
  readonly isBlock: boolean
  /** What is in it and not yet taken. */
  start: number
  end: number
}

/** Bytes that are given a block: fewer would waste too much of one. */
const blockBytesMin = 16_384

export class SendQueue {
  readonly #blocks: Blocks
  #chunks: Chunk[] = []
  #head = 0
  #bytes = 0

  constructor(blocks: Blocks) {
    this.#blocks = blocks
  }

  get bytes(): number {
    return this.#bytes
  }

  push(tag: number, bytes: Uint8Array): void {
    this.#bytes += bytes.byteLength
    const isBlock = bytes.byteLength >= blockBytesMin
    for (let rest = this.#fill(tag, bytes); rest.byteLength > 0; ) {
      const memory = isBlock ? this.#blocks.take() : new Uint8Array(rest.byteLength)
      const part = rest.subarray(0, memory.byteLength)
      memory.set(part)
      this.#chunks.push({ tag, memory, isBlock, start: 0, end: part.byteLength })
      rest = rest.subarray(part.byteLength)
    }
  }

  /** Blocks that are not empty are left to the collector. */
  clear(): void {
    this.#chunks = []
    this.#head = 0
    this.#bytes = 0
  }

  /** At most `max` bytes of one tag, in order; undefined when there is nothing or no room for a byte. They hold for as long as a block that is given back. */
  take(max: number): Taken | undefined {
    const first = this.#chunks[this.#head]
    if (first === undefined || max <= 0) return undefined
    const { tag } = first
    const bytes = this.#takeFrom(first, max)
    let more: Uint8Array[] | undefined
    for (let room = max - bytes.byteLength; room > 0; ) {
      const chunk = this.#chunks[this.#head]
      if (chunk === undefined || chunk.tag !== tag) break
      const piece = this.#takeFrom(chunk, room)
      more ??= []
      more.push(piece)
      room -= piece.byteLength
    }
    return more === undefined ? { tag, bytes } : { tag, bytes, more }
  }

  /** Puts what it can where the newest block has room. Returns the rest. */
  #fill(tag: number, bytes: Uint8Array): Uint8Array {
    const last = this.#chunks.at(-1)
    if (last === undefined || !last.isBlock || last.tag !== tag) return bytes
    const part = bytes.subarray(0, last.memory.byteLength - last.end)
    last.memory.set(part, last.end)
    last.end += part.byteLength
    return bytes.subarray(part.byteLength)
  }

  /** The chunk is the first. */
  #takeFrom(chunk: Chunk, max: number): Uint8Array {
    const { memory, start } = chunk
    const end = Math.min(chunk.end, start + max)
    this.#bytes -= end - start
    chunk.start = end
    if (end === chunk.end) {
      this.#drop()
      if (chunk.isBlock) this.#blocks.give(memory)
    }
    return memory.subarray(start, end)
  }

  #drop(): void {
    this.#head += 1
    if (this.#head === this.#chunks.length) {
      this.#chunks = []
      this.#head = 0
    } else if (this.#head > 256 && this.#head * 2 > this.#chunks.length) {
      this.#chunks = this.#chunks.slice(this.#head)
      this.#head = 0
    }
  }
}

/** The most payload a sender can put in a frame with this credit. */
export const payloadFor = (creditBytes: number): number => creditBytes - dataOverheadBytes
