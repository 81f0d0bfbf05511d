/** Character sets (line drawing and the national ones): which are designated, and which is in use. */
import type { Charset, Core, Xterm } from "./xterm.ts"

const esc = "\u001b"
const ascii = "B"
/** Final characters of the other sets that the emulator knows. */
const finals = "0A4C5RQKYE6ZH7="
const lineDrawing = "0"

/** The signs of a designation, and the slot each is for. */
const slotOfSign: ReadonlyMap<string, number> = new Map([
  ["(", 0],
  [")", 1],
  ["*", 2],
  ["+", 3],
  ["-", 1],
  [".", 2],
])
const slotSigns = ["(", ")", "*", "+"]
/** What puts a slot to use: SI, SO, LS2, LS3. */
const shifts = ["\u000f", "\u000e", `${esc}n`, `${esc}o`]

export const plainCharsets = `${slotSigns.map((sign) => `${esc}${sign}${ascii}`).join("")}${shifts[0]}`

export class Charsets {
  readonly #service: Core["_charsetService"]
  /** The last set other than ASCII of each slot. The emulator knows sets by content only. */
  readonly #names = new Map<number, string>()

  constructor({ terminal, core }: Xterm) {
    this.#service = core._charsetService
    for (const [intermediates, slot] of slotOfSign) {
      for (const final of finals) {
        terminal.parser.registerEscHandler({ intermediates, final }, () => {
          this.#names.set(slot, final)
          return false
        })
      }
    }
  }

  sequences(): string {
    const { _charsets: slots, glevel, charset } = this.#service
    // The one in use comes back with a saved cursor, without its slot. Terminals would bring back the slot.
    const designations = slotSigns.map((sign, slot) => `${esc}${sign}${this.#name(slot === glevel ? charset : slots[slot])}`)
    return `${designations.join("")}${shifts[glevel] ?? shifts[0]}`
  }

  /** Puts one set to use, whatever its slot is, for a cursor to be saved with it. */
  useSequence(charset: Charset): string {
    return `${esc}(${this.#name(charset)}${shifts[0]}`
  }

  /** Whether the terminal would show something else for this ASCII character. */
  replaces(character: string): boolean {
    return this.#service.charset?.[character] !== undefined
  }

  #name(charset: Charset): string {
    if (charset === undefined) return ascii
    // One that was saved with the cursor may have left its slot since. Programs do so with line drawing only.
    const slot = this.#service._charsets.indexOf(charset)
    return (slot === -1 ? undefined : this.#names.get(slot)) ?? lineDrawing
  }
}
