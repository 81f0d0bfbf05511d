/**
 * The newest output of one process, by offset: what attachments read from, each at its own pace. Copied into blocks, of which the
 * oldest is the newest again: keeping chunks as they come, and letting go of them a megabyte later, has the garbage
 * collector run all the time.
 */
export type OutputSource = "stdout" | "stderr"

export interface JournalPiece {
  readonly source: OutputSource
  readonly offset: number
  readonly bytes: Uint8Array
}

interface Block {
  readonly offset: number
  /** Longer than what is used of it while it may still take more. Only the newest is not full. */
  readonly bytes: Uint8Array
  used: number
  /** Whose all its bytes are; of a block that both share, whose each byte is. */
  sources: OutputSource | Uint8Array
}

/** Bytes of a block: the first of a quiet process, and the largest. */
const blockBytesMin = 256
const blockBytesMax = 16_384
/** Blocks that wait to be used again: for what is read at once of a busy process. */
const spareBlocksMax = 4
/** Bytes that a block costs beside its content. */
const blockOverheadBytes = 128

const sourceNumbers = { stdout: 1, stderr: 2 } as const

export class Journal {
  readonly #capacityBytes: () => number
  #blocks: Block[] = []
  /** The memory of blocks that are forgotten. */
  #spares: Uint8Array[] = []
  #to = 0
  #heldBytes = 0

  /** The newest `capacityBytes` of output are kept, asked at every append. In memory they cost little more, or twice that where both sources write a few bytes in turn. */
  constructor(capacityBytes: () => number) {
    this.#capacityBytes = capacityBytes
  }

  /** Offset of the first byte that is kept. */
  get from(): number {
    return this.#blocks[0]?.offset ?? this.#to
  }

  /** Offset behind the last byte, which is how much was written in all. */
  get to(): number {
    return this.#to
  }

  /** Bytes of memory in use. */
  get heldBytes(): number {
    return this.#heldBytes + this.#spares.length * blockBytesMax
  }

  append(source: OutputSource, bytes: Uint8Array): void {
    for (let rest = this.#fill(source, bytes); rest.byteLength > 0; rest = this.#fill(source, rest)) this.#add(source, rest.byteLength)
    this.#forget((memory) => {
      if (this.#spares.length < spareBlocksMax) this.#spares.push(memory)
    })
  }

  /** Forgets the oldest beyond the capacity. */
  trim(): void {
    this.#spares = []
    this.#forget(() => {})
  }

  /** `free` is given the memory of the largest blocks. */
  #forget(free: (memory: Uint8Array) => void): void {
    const capacityBytes = this.#capacityBytes()
    for (let oldest = this.#blocks[0]; oldest !== undefined && this.#to - oldest.offset - oldest.used >= capacityBytes; ) {
      this.#heldBytes -= costOf(oldest)
      if (oldest.bytes.byteLength === blockBytesMax) free(oldest.bytes)
      this.#blocks.shift()
      oldest = this.#blocks[0]
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#blocks = []
    this.#spares = []
    this.#heldBytes = 0
  }

  /** Output of one source from `offset` on; undefined when there is none, be it not written yet or forgotten. The bytes hold until more is appended. */
  read(offset: number, bytesMax: number): JournalPiece | undefined {
    if (offset < this.from || offset >= this.#to) return undefined
    const block = this.#blocks[this.#find(offset)]
    if (block === undefined) return undefined
    const start = offset - block.offset
    const [source, end] = runFrom(block, start)
    return { source, offset, bytes: block.bytes.subarray(start, Math.min(end, start + bytesMax)) }
  }

  /** Puts what it can where the newest block has room. Returns the rest. */
  #fill(source: OutputSource, bytes: Uint8Array): Uint8Array {
    const last = this.#blocks.at(-1)
    const free = last === undefined ? 0 : last.bytes.byteLength - last.used
    if (last === undefined || free === 0 || bytes.byteLength === 0) return bytes
    const part = bytes.subarray(0, free)
    if (last.sources !== source) this.#share(last).fill(sourceNumbers[source], last.used, last.used + part.byteLength)
    last.bytes.set(part, last.used)
    last.used += part.byteLength
    this.#to += part.byteLength
    return bytes.subarray(part.byteLength)
  }

  /** Has the block say of each byte whose it is. */
  #share(block: Block): Uint8Array {
    const { sources } = block
    if (typeof sources !== "string") return sources
    const each = new Uint8Array(block.bytes.byteLength).fill(sourceNumbers[sources], 0, block.used)
    block.sources = each
    this.#heldBytes += each.byteLength
    return each
  }

  /** An empty block, for so many bytes if it can be. */
  #add(source: OutputSource, wantedBytes: number): void {
    const grown = (this.#blocks.at(-1)?.bytes.byteLength ?? 0) * 2
    const blockBytes = Math.min(Math.max(blockBytesMin, grown, wantedBytes), blockBytesMax)
    const spare = blockBytes === blockBytesMax ? this.#spares.pop() : undefined
    const bytes = spare ?? new Uint8Array(blockBytes)
    const block: Block = { offset: this.#to, bytes, used: 0, sources: source }
    this.#blocks.push(block)
    this.#heldBytes += costOf(block)
  }

  /** Index of the block that holds `offset`, which is one that is kept. Those who follow ask for the last. */
  #find(offset: number): number {
    let low = 0
    let high = this.#blocks.length - 1
    if ((this.#blocks[high]?.offset ?? 0) <= offset) return high
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#blocks[middle]?.offset ?? 0) <= offset) low = middle
      else high = middle - 1
    }
    return low
  }
}

const costOf = ({ bytes, sources }: Block): number =>
  bytes.byteLength + blockOverheadBytes + (typeof sources === "string" ? 0 : sources.byteLength)

/** Whose the byte at `start` is, and where in the block the next one of the other source is. */
function runFrom({ used, sources }: Block, start: number): readonly [OutputSource, end: number] {
  if (typeof sources === "string") return [sources, used]
  const [source, other] = sources[start] === sourceNumbers.stdout ? (["stdout", "stderr"] as const) : (["stderr", "stdout"] as const)
  const end = sources.indexOf(sourceNumbers[other], start)
  return [source, end < 0 ? used : end]
}
