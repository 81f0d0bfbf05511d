/**
 * Which modes a remote program has switched on in the local terminal, read from its output. Someone who leaves in the
 * middle must not be left with mouse reports, no cursor, or the alternate screen. Pure.
 */

/** DEC private modes whose leftovers are felt, and whether a fresh terminal has them on. */
const watchedModes: ReadonlyMap<number, boolean> = new Map([
  // Application cursor keys, wrapping at the right edge.
  [1, false],
  [7, true],
  // Mouse reports and their encodings; focus reports.
  [9, false],
  [1000, false],
  [1001, false],
  [1002, false],
  [1003, false],
  [1004, false],
  [1005, false],
  [1006, false],
  [1015, false],
  [1016, false],
  // The cursor.
  [25, true],
  // The alternate screen, in its three forms.
  [47, false],
  [1047, false],
  [1049, false],
  // Bracketed paste, synchronised output, reports of the colour scheme.
  [2004, false],
  [2026, false],
  [2031, false],
])

/** Plain colours, the ASCII character set, the normal keypad. */
const plainText = "\u001b[0m\u001b(B\u001b>"

const escapeByte = 0x1b
/** Characters of an unfinished sequence that are kept for the next chunk; real ones are far shorter. */
const carriedMax = 64
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is read
const sequencePattern = /\u001b(?:\[\?([0-9;]*)([hl])|c)/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is read
const unfinishedPattern = /\u001b(?:\[(?:\?[0-9;]*)?)?$/

export class TerminalModes {
  /** Only those that differ from a fresh terminal's. */
  readonly #changed = new Map<number, boolean>()
  #carried = ""

  /** Output in the order the terminal gets it. */
  read(bytes: Uint8Array): void {
    if (this.#carried === "" && bytes.indexOf(escapeByte) === -1) return
    // One character a byte: sequences are ASCII, and nothing else matters here.
    const text = this.#carried + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1")
    for (const [, numbers, set] of text.matchAll(sequencePattern)) {
      if (numbers === undefined) this.#changed.clear()
      else for (const number of numbers.split(";")) this.#note(Number(number), set === "h")
    }
    const unfinished = unfinishedPattern.exec(text)?.[0] ?? ""
    this.#carried = unfinished.length <= carriedMax ? unfinished : ""
  }

  /** What makes the terminal a fresh one again. */
  reset(): string {
    return [...this.#changed].map(([mode, on]) => switchMode(mode, !on)).join("") + plainText
  }

  /** What brings it back to how the remote program had it, after a `reset`. */
  restore(): string {
    return [...this.#changed].map(([mode, on]) => switchMode(mode, on)).join("")
  }

  #note(mode: number, on: boolean): void {
    const fresh = watchedModes.get(mode)
    if (fresh === undefined) return
    if (on === fresh) this.#changed.delete(mode)
    else this.#changed.set(mode, on)
  }
}

const switchMode = (mode: number, on: boolean): string => `\u001b[?${mode}${on ? "h" : "l"}`
