/** Output collected for an answer in JSON: each kind for itself, together no more than a bound, and where it ends. */
import type { OutputEvent, ProcessExit } from "@trunkline/client"
import type { OutputData } from "./live-events.ts"
import { cutCharacterBytes } from "./text-or-bytes.ts"

export interface Gap {
  readonly from: number
  readonly to: number
}

export class CollectedOutput {
  readonly stdout = new Bytes()
  readonly stderr = new Bytes()
  /** The screen of a terminal, in place of what the last gap has lost. */
  readonly repaint = new Bytes()
  readonly gaps: Gap[] = []
  /** Known once the last of the output has come. */
  exit: ProcessExit | undefined
  /** Bytes that came and found no room. */
  droppedBytes = 0
  #next: number
  #freeBytes: number
  /** Where the newest output of one kind without an interruption begins. */
  #run: { readonly type: OutputData["type"]; readonly from: number } | undefined

  constructor(from: number, bytesMax: number) {
    this.#next = from
    this.#freeBytes = bytesMax
  }

  /** The offset behind what is kept, or left out as gaps. */
  get next(): number {
    return this.#next
  }

  add(event: OutputEvent): void {
    switch (event.type) {
      case "exit":
        this.exit = event
        return
      case "truncated":
        this.gaps.push({ from: event.from, to: event.to })
        this.#next = event.to
        this.#run = undefined
        return
      default:
        this.#add(event)
    }
  }

  /** Takes a character that is cut at the end out again: it comes whole when it is asked for from `next`. */
  leaveCutCharacter(): void {
    if (this.#run === undefined || this.#run.type === "repaint") return
    const output = this[this.#run.type]
    const bytes = cutCharacterBytes(output.view())
    // Only what is the very end of the output too can be asked for again.
    if (this.#next - this.#run.from < bytes) return
    output.drop(bytes)
    this.#next -= bytes
  }

  #add({ type, bytes, offset }: OutputData): void {
    const kept = bytes.subarray(0, this.#freeBytes)
    this.#freeBytes -= kept.byteLength
    this.droppedBytes += bytes.byteLength - kept.byteLength
    if (kept.byteLength === 0) return
    this[type].add(kept)
    if (type !== this.#run?.type) this.#run = { type, from: offset }
    if (type !== "repaint") this.#next = offset + kept.byteLength
  }
}

/** One growing block: many small chunks cost neither an object each nor the buffers they came in. */
class Bytes {
  #block = new Uint8Array(1_024)
  #length = 0

  get byteLength(): number {
    return this.#length
  }

  add(bytes: Uint8Array): void {
    if (this.#length + bytes.byteLength > this.#block.byteLength) {
      const grown = new Uint8Array(Math.max(this.#block.byteLength * 2, this.#length + bytes.byteLength))
      grown.set(this.view())
      this.#block = grown
    }
    this.#block.set(bytes, this.#length)
    this.#length += bytes.byteLength
  }

  drop(bytes: number): void {
    this.#length -= bytes
  }

  /** Good until more is added. */
  view(): Uint8Array {
    return this.#block.subarray(0, this.#length)
  }

  /** For readers: what is no UTF-8 is replaced. A byte order mark is a character like any other. */
  text(): string {
    return new TextDecoder("utf-8", { fatal: false, ignoreBOM: true }).decode(this.view())
  }
}
