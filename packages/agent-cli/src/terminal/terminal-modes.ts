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

/** What programs set to a number, 0 being a fresh terminal's: a sequence that sets it, and how it is written. */
const watchedNumbers = {
  /** Shape of the cursor. */
  shape: (value: number) => `\u001b[${value} q`,
  /** xterm's modifyOtherKeys. */
  otherKeys: (value: number) => `\u001b[>4;${value}m`,
  /** Flags of the kitty keyboard protocol: what a program pushed is taken off, whoever had set some before. */
  kittyKeys: (value: number) => (value === 0 ? "\u001b[<99u\u001b[=0u" : `\u001b[>${value}u`),
} as const
type WatchedNumber = keyof typeof watchedNumbers

const escapeByte = 0x1b
/** Characters of an unfinished sequence that are kept for the next chunk; real ones are far shorter. */
const carriedMax = 64
const sequencePattern =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is read
  /\u001b(?:\[\?(?<modes>[0-9;]*)(?<switch>[hl])|\[(?<shape>\d*) q|\[>4;?(?<otherKeys>\d*)m|\[(?<kittyVerb>[<=>])(?<kittyKeys>\d*)(?:;\d*)?u|c)/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is read
const unfinishedPattern = /\u001b(?:\[(?:[<=>?]?[0-9;]* ?)?)?$/

export class TerminalModes {
  /** Only those that differ from a fresh terminal's. */
  readonly #changed = new Map<number, boolean>()
  readonly #numbers = new Map<WatchedNumber, number>()
  #carried = ""

  /** Output in the order the terminal gets it. */
  read(bytes: Uint8Array): void {
    if (this.#carried === "" && bytes.indexOf(escapeByte) === -1) return
    // One character a byte: sequences are ASCII, and nothing else matters here.
    const text = this.#carried + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1")
    for (const { groups = {} } of text.matchAll(sequencePattern)) {
      const { modes, shape, otherKeys, kittyVerb, kittyKeys } = groups
      if (modes !== undefined) for (const mode of modes.split(";")) this.#note(Number(mode), groups.switch === "h")
      else if (shape !== undefined) this.#numbers.set("shape", Number(shape))
      else if (otherKeys !== undefined) this.#numbers.set("otherKeys", Number(otherKeys))
      else if (kittyVerb !== undefined) this.#numbers.set("kittyKeys", kittyVerb === "<" ? 0 : Number(kittyKeys))
      else {
        this.#changed.clear()
        this.#numbers.clear()
      }
    }
    const unfinished = unfinishedPattern.exec(text)?.[0] ?? ""
    this.#carried = unfinished.length <= carriedMax ? unfinished : ""
  }

  /** What makes the terminal a fresh one again. */
  reset(): string {
    const numbers = [...this.#numbers.keys()].map((name) => watchedNumbers[name](0))
    return [...this.#changed].map(([mode, on]) => switchMode(mode, !on)).join("") + numbers.join("") + plainText
  }

  /** What brings it back to how the remote program had it, after a `reset`. */
  restore(): string {
    const numbers = [...this.#numbers].filter(([, value]) => value > 0).map(([name, value]) => watchedNumbers[name](value))
    return [...this.#changed].map(([mode, on]) => switchMode(mode, on)).join("") + numbers.join("")
  }

  #note(mode: number, on: boolean): void {
    const fresh = watchedModes.get(mode)
    if (fresh === undefined) return
    if (on === fresh) this.#changed.delete(mode)
    else this.#changed.set(mode, on)
  }
}

const switchMode = (mode: number, on: boolean): string => `\u001b[?${mode}${on ? "h" : "l"}`
