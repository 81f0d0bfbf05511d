/**
 * Hyperlinks (OSC 8) of a screen. The emulator would keep one entry for every link that was ever opened on a line, so
 * that a progress line with a link grows for ever; here equal links are one, and those no longer on the screen go.
 */
import { lookOf, penLook } from "./look.ts"
import { newCell, type Xterm } from "./xterm.ts"

/** Distinct links at once: as many as a listing of 1,000 lines has, some 10 MB at worst. Text beyond is without link. */
const linksMax = 4096
/** Openings between two searches for links that are gone, so that a screen full of links does not search at each. */
const openingsBetweenSweeps = 1024
/** Bytes of an address, as the terminals limit it. */
const addressBytesMax = 2083
const parametersBytesMax = 256

export class Links {
  readonly #xterm: Xterm
  /** Parameters and address, as in the sequence. */
  readonly #texts = new Map<number, string>()
  readonly #ids = new Map<string, number>()
  #lastId = 0
  #openingsSinceSweep = 0

  constructor(xterm: Xterm) {
    this.#xterm = xterm
    xterm.terminal.parser.registerOscHandler(8, (text) => {
      const addressAt = text.indexOf(";") + 1
      if (addressAt === 0) return true
      const isTooLong = addressAt > parametersBytesMax || text.length - addressAt > addressBytesMax
      this.#point(addressAt === text.length || isTooLong ? 0 : this.#idOf(text))
      return true
    })
  }

  /** The sequence that makes the following text part of a link, or of none. */
  sequence(urlId: number): string {
    return `\u001b]8;${this.#texts.get(urlId) ?? ";"}\u001b\\`
  }

  #point(urlId: number): void {
    const pen = this.#xterm.core._inputHandler._curAttrData
    // Cells share the object of the pen.
    pen.extended = pen.extended.clone()
    pen.extended.urlId = urlId
    pen.updateExtended()
  }

  #idOf(text: string): number {
    const known = this.#ids.get(text)
    if (known !== undefined) return known
    this.#openingsSinceSweep += 1
    if (this.#texts.size >= linksMax && this.#openingsSinceSweep > openingsBetweenSweeps) this.#sweep()
    if (this.#texts.size >= linksMax) return 0
    this.#lastId += 1
    this.#texts.set(this.#lastId, text)
    this.#ids.set(text, this.#lastId)
    return this.#lastId
  }

  #sweep(): void {
    this.#openingsSinceSweep = 0
    const { buffers, _inputHandler: input } = this.#xterm.core
    const used = new Set([penLook(input._curAttrData).urlId])
    const cell = newCell(this.#xterm)
    for (const { lines } of [buffers.normal, buffers.alt]) {
      for (let y = 0; y < lines.length; y += 1) {
        const line = lines.get(y)
        for (let x = 0; line !== undefined && x < line.length; x += 1) used.add(lookOf(line.loadCell(x, cell)).urlId)
      }
    }
    for (const [id, text] of this.#texts) {
      if (used.has(id)) continue
      this.#texts.delete(id)
      this.#ids.delete(text)
    }
  }
}
