/**
 * A terminal's model that can be checked to the byte: its repaint says how much it has seen, at which size, and repeats the last
 * of it. No program writes the byte a repaint starts with.
 */

import type { Clock } from "@trunkline/protocol"
import type { Size } from "../../src/processes/attachment.ts"
import type { ScreenModel } from "../../src/processes/live-screen.ts"
import { difference, sameBytes } from "./pattern.ts"
import type { SimulatedProcess } from "./process.ts"

export const repaintByte = 0xff
const shownBytes = 48
/** Behind the byte: total, columns, rows and the number of bytes shown, in hexadecimal digits. */
const fields = [8, 4, 4, 4] as const
export const repaintHeaderBytes = 1 + fields.reduce((sum, digits) => sum + digits, 0)

export class CountingScreen implements ScreenModel {
  readonly #clock: Clock
  #size: Size
  #total = 0
  #last = new Uint8Array(0)
  #disposed = false

  constructor(size: Size, clock: Clock) {
    this.#size = size
    this.#clock = clock
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.#clock.schedule(0.2 + bytes.byteLength / 50_000, () => {
      if (this.#disposed) return
      this.#total += bytes.byteLength
      this.#last = Uint8Array.from([...this.#last, ...bytes.subarray(-shownBytes)]).subarray(-shownBytes)
      done()
    })
  }

  resize(cols: number, rows: number): void {
    this.#size = { cols, rows }
  }

  repaint(): Uint8Array {
    const values = [this.#total, this.#size.cols, this.#size.rows, this.#last.byteLength]
    const text = fields.map((digits, at) => (values[at] ?? 0).toString(16).padStart(digits, "0")).join("")
    return Uint8Array.from([repaintByte, ...new TextEncoder().encode(text), ...this.#last])
  }

  dispose(): void {
    this.#disposed = true
  }
}

export interface Repaint {
  readonly total: number
  readonly size: Size
  readonly lengthBytes: number
}

/** What a repaint's start says; undefined while that is not all there. */
export function readRepaint(bytes: Uint8Array): Repaint | undefined {
  if (bytes.byteLength < repaintHeaderBytes) return undefined
  let at = 1
  const values = fields.map((digits) => {
    const text = new TextDecoder().decode(bytes.subarray(at, at + digits))
    at += digits
    return Number.parseInt(text, 16)
  })
  const [total = 0, cols = 0, rows = 0, shown = 0] = values
  return { total, size: { cols, rows }, lengthBytes: repaintHeaderBytes + shown }
}

/** What is wrong with a whole repaint of this process, or undefined. */
export function repaintFault(bytes: Uint8Array, process: SimulatedProcess): string | undefined {
  const repaint = readRepaint(bytes)
  if (repaint === undefined || bytes[0] !== repaintByte) return "it is none"
  if (repaint.lengthBytes !== bytes.byteLength) return `it has ${bytes.byteLength} bytes instead of ${repaint.lengthBytes}`
  const shown = bytes.subarray(repaintHeaderBytes)
  const meant = process.output.slice(repaint.total - shown.byteLength, repaint.total)
  if (!sameBytes(shown, meant)) return difference(shown, meant, repaint.total - shown.byteLength)
  // Any of those it had where it stands: a window may change twice between two bytes.
  const last = process.sizes.findLast(({ at }) => at < repaint.total) ?? process.sizes[0]
  const possible = [...(last === undefined ? [] : [last]), ...process.sizes.filter(({ at }) => at === repaint.total)]
  const { cols, rows } = repaint.size
  return possible.some((size) => size.cols === cols && size.rows === rows) ? undefined : `its size is ${cols} × ${rows}`
}
