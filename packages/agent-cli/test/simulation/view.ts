/** What one client has seen of one process, held against what the process wrote: every byte, every gap, every repaint, the exit. */
import type { Exit, OutputEvent } from "@trunkline/client"
import { check } from "./check.ts"
import { Collected, difference, sameBytes } from "./pattern.ts"
import type { SimulatedProcess } from "./process.ts"
import { readRepaint, repaintByte, repaintFault, repaintHeaderBytes } from "./screen.ts"

/** How long the agent keeps what of a process. */
export interface Keeping {
  readonly journalBytes: number
  /** Whether the agent must still know it. */
  readonly isKept: (process: SimulatedProcess) => boolean
}

export class View {
  readonly #process: SimulatedProcess
  readonly #keeping: Keeping
  #at: number | undefined
  #repaint: Collected | undefined
  /** Bytes that were checked. */
  seenBytes = 0
  gaps = 0
  ended = false

  /** `from`: the offset that was asked for, undefined where the first byte says which it is. */
  constructor(process: SimulatedProcess, keeping: Keeping, from: number | undefined) {
    this.#process = process
    this.#keeping = keeping
    this.#at = from
  }

  /** Restarts of the agent before the process was started. */
  get restarts(): number {
    return this.#process.core
  }

  /** The offset of the next byte. */
  get at(): number {
    return this.#at ?? 0
  }

  event(event: OutputEvent): void {
    check(!this.ended, "an event after the end")
    switch (event.type) {
      case "stdout":
      case "stderr": {
        this.#meets(event.offset)
        check(sourceAt(this.#process, event.offset) === event.type, `byte ${event.offset} is of the other source`)
        return this.#bytes(event.bytes)
      }
      case "repaint":
        this.#meets(event.offset)
        return this.#repainted(event.bytes)
      case "truncated":
        this.#meets(event.from)
        return this.gap(event.from, event.to)
      case "exit":
        return this.exit(event.exit)
    }
  }

  /** A terminal's output, in which repaints are not told apart but by their first byte. */
  terminalBytes(bytes: Uint8Array): void {
    for (let rest = bytes; rest.byteLength > 0; ) {
      if (this.#repaint !== undefined || rest[0] === repaintByte) {
        const part = rest.subarray(0, this.#missingBytes())
        rest = rest.subarray(part.byteLength)
        this.#repainted(part)
      } else {
        const next = rest.indexOf(repaintByte)
        const part = next < 0 ? rest : rest.subarray(0, next)
        rest = rest.subarray(part.byteLength)
        this.#bytes(part)
      }
    }
  }

  gap(from: number, to: number): void {
    check(to > from, `a gap from ${from} to ${to}`)
    this.gaps += 1
    this.#at = to
    if (this.forgotten) return
    const kept = this.#keeping.journalBytes
    const written = this.#process.output.length
    check(written - from > kept, `byte ${from} of ${written} was said to be gone, but the journal keeps ${kept} bytes`)
    // Of a terminal all is skipped that the repaint shows.
    if (this.#process.kind === "pty") return
    check(written - to > kept - blockBytesMax, `byte ${to} of ${written} was skipped`)
  }

  /** It ended so long ago that only the end is known. */
  get forgotten(): boolean {
    return this.#process.exit !== undefined && !this.#keeping.isKept(this.#process)
  }

  /** Whether the journal may have lost the beginning. */
  checkTruncated(): void {
    const { output } = this.#process
    const kept = this.#keeping.journalBytes
    check(this.forgotten || output.length > kept, `${output.length} bytes were said to be gone, the journal keeps ${kept} bytes`)
  }

  exit(exit: Exit): void {
    const { exit: real, output } = this.#process
    check(real !== undefined, `process ${this.#process.pid} runs, but its exit was told`)
    check(JSON.stringify(exit) === JSON.stringify(real), `the exit was told as ${JSON.stringify(exit)}, it was ${JSON.stringify(real)}`)
    check(this.#repaint === undefined, "the end within a repaint")
    check(this.#at === output.length || (this.#at === undefined && output.length === 0), `the end at ${this.#at} of ${output.length} bytes`)
    this.ended = true
  }

  #meets(offset: number): void {
    this.#at ??= offset
    check(this.#at === offset, `output at ${offset} after ${this.#at}`)
  }

  #bytes(bytes: Uint8Array): void {
    const at = this.at
    const meant = this.#process.output.slice(at, at + bytes.byteLength)
    if (!sameBytes(bytes, meant)) check(false, `process ${this.#process.pid}: ${difference(bytes, meant, at)}`)
    this.#at = at + bytes.byteLength
    this.seenBytes += bytes.byteLength
  }

  #missingBytes(): number {
    const have = this.#repaint?.slice(0, Number.POSITIVE_INFINITY) ?? new Uint8Array(0)
    return (readRepaint(have)?.lengthBytes ?? repaintHeaderBytes) - have.byteLength
  }

  #repainted(bytes: Uint8Array): void {
    this.#repaint ??= new Collected()
    this.#repaint.add(bytes)
    const whole = this.#repaint.slice(0, Number.POSITIVE_INFINITY)
    const repaint = readRepaint(whole)
    if (repaint === undefined || whole.byteLength < repaint.lengthBytes) return
    const fault = repaintFault(whole, this.#process)
    check(fault === undefined, `a repaint of process ${this.#process.pid}: ${fault}`)
    this.#repaint = undefined
    check(repaint.total >= this.at, `a repaint at ${repaint.total} after ${this.at}`)
    this.#at = repaint.total
  }
}

/** Bytes that are forgotten at once. */
const blockBytesMax = 16_384

const sourceAt = (process: SimulatedProcess, offset: number): string | undefined => {
  let low = 0
  for (let high = process.pieces.length - 1; low < high; ) {
    const middle = (low + high + 1) >> 1
    if ((process.pieces[middle]?.at ?? 0) <= offset) low = middle
    else high = middle - 1
  }
  return process.pieces[low]?.source
}
