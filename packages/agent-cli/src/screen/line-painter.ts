/**
 * Writes lines of the model as text and escape sequences, so that a blank screen becomes equal to them cell by cell: what
 * was written, what was erased and with which colour, and which line goes on in the next. It expects a terminal with
 * automatic wrapping and nothing else switched on, and full margins.
 */
import type { Links } from "./links.ts"
import { isErasable, isProtected, isSameLook, type Look, lookOf, lookSequence, plainLook } from "./look.ts"
import { type Cell, type CoreBuffer, type Line, newCell, type Xterm } from "./xterm.ts"

const esc = "\u001b"
/** Two columns in every terminal. */
const wideSpace = "\u3000"

export class LinePainter {
  readonly #links: Links
  readonly #rows: number
  readonly #cell: Cell
  #parts: string[] = []
  #look = plainLook
  #column = 0
  /** False after a character that terminals may count in another way than the model. */
  #isColumnSure = true
  /** A column of the line that holds what does not belong there and is to be painted or erased; -1 for none. */
  #soiledColumn = -1

  constructor(xterm: Xterm, links: Links) {
    this.#links = links
    this.#rows = xterm.terminal.rows
    this.#cell = newCell(xterm)
  }

  /** All that was painted. */
  text(): string {
    return this.#parts.join("")
  }

  /** Adds a sequence verbatim; the cursor may be anywhere after it. */
  add(sequence: string): void {
    this.#parts.push(sequence)
    this.#isColumnSure = false
  }

  /** All lines, from the first of the scrollback on, from the first line of a blank screen on. */
  paintScreen(buffer: CoreBuffer): void {
    this.moveTo(0, 0)
    this.#paintLines(buffer)
  }

  /** The alternate screen has no scrollback, so that a line above the first may scroll away: only then is the first a continuation. */
  paintAlternateScreen(buffer: CoreBuffer): void {
    const first = buffer.lines.get(0)
    if (!first?.isWrapped) return this.paintScreen(buffer)
    this.add(`${esc}[H${esc}[${first.length}G  \r`)
    this.#soiledColumn = 0
    this.#paintLines(buffer)
  }

  /** To a column and row, from 0. */
  moveTo(x: number, y: number): void {
    this.#write(`${esc}[${y + 1};${x + 1}H`, x)
    this.#soiledColumn = -1
  }

  /** The cells of a line from `first` to before `end`, to the line of the cursor. */
  paintCells(line: Line, first: number, end: number): void {
    for (let x = first; x < end; ) x = this.#paintCell(line, x, end)
  }

  setLook(look: Look): void {
    if (isSameLook(look, this.#look)) return
    if (look.urlId !== this.#look.urlId) this.#parts.push(this.#links.sequence(look.urlId))
    if (isProtected(this.#look) && !isProtected(look)) this.#parts.push(`${esc}[0"q`)
    this.#parts.push(lookSequence(look))
    this.#look = look
  }

  #paintLines({ lines }: CoreBuffer): void {
    let previous: Line | undefined
    // In a window of fewer rows each line more would push one out at the top.
    let shown = lines.length
    const fits = lines.length <= this.#rows && lines.get(0)?.isWrapped !== true
    while (fits && shown > 1 && this.#isBlank(lines.get(shown - 1))) shown -= 1
    for (let y = 0; y < shown; y += 1) {
      const line = lines.get(y)
      if (line === undefined) continue
      if (previous !== undefined) this.#beginLine(line, previous)
      this.paintCells(line, 0, line.length)
      previous = line
    }
    this.setLook(plainLook)
  }

  /** As a screen is that was erased. */
  #isBlank(line: Line | undefined): boolean {
    if (line === undefined || line.isWrapped) return line === undefined
    for (let x = 0; x < line.length; x += 1) {
      line.loadCell(x, this.#cell)
      if (this.#cell.getChars() !== "" || !isSameLook(lookOf(this.#cell), plainLook)) return false
    }
    return true
  }

  #beginLine(line: Line, previous: Line): void {
    // A line that scrolls in is filled with the background of the pen.
    if (!line.isWrapped) {
      this.setLook(plainLook)
      this.#write("\r\n", 0)
      this.#soiledColumn = -1
      return
    }
    const reachedEdge = this.#column === previous.length
    const first = line.loadCell(0, this.#cell)
    if (reachedEdge && first.getChars() !== "" && first.getWidth() > 0 && lookOf(first).bg === 0) {
      // Its first character wraps by itself.
      this.#column = 0
      this.#isColumnSure = true
      this.#soiledColumn = -1
      return
    }
    this.setLook(plainLook)
    if (!reachedEdge) {
      this.#moveToColumn(previous.length - 1)
      this.#write(" ", previous.length)
    }
    this.#write(" \r", 0)
    // A screen of one line has already lost the one above.
    if (!reachedEdge && this.#rows > 1) {
      this.#write(`${esc}[A`, 0)
      this.#soiledColumn = previous.length - 1
      this.paintCells(previous, previous.length - 1, previous.length)
      this.#write(`\r${esc}[B`, 0)
    }
    this.#soiledColumn = 0
  }

  /** Returns the column after what it painted. */
  #paintCell(line: Line, x: number, end: number): number {
    const cell = line.loadCell(x, this.#cell)
    const look = lookOf(cell)
    const characters = cell.getChars()
    if (characters === "") return isErasable(look) ? this.#erase(line, x, end, look) : this.#paintRemnant(line, x, look)
    const width = cell.getWidth()
    this.#moveToColumn(x)
    this.setLook(look)
    // Any sequence keeps it from joining its neighbour.
    if (width === 0) this.#parts.push(lookSequence(look))
    // Made narrower, the screen has cut the character in halves.
    const isCut = x + width > line.length
    this.#write(isCut ? " " : characters, x + Math.max(width, 1))
    if (characters.length > 1) this.#isColumnSure = false
    return this.#column
  }

  #erase(line: Line, first: number, end: number, look: Look): number {
    let x = first + 1
    while (x < end) {
      const cell = line.loadCell(x, this.#cell)
      if (cell.getChars() !== "" || !isSameLook(lookOf(cell), look)) break
      x += 1
    }
    const isSoiled = this.#soiledColumn >= first && this.#soiledColumn < x
    if (look.bg === 0 && !isSoiled) return x
    const from = look.bg === 0 ? this.#soiledColumn : first
    this.#moveToColumn(from)
    this.setLook(look)
    this.#parts.push(`${esc}[${look.bg === 0 ? 1 : x - from}X`)
    return x
  }

  /**
   * An empty cell with more than a background is what remains of a wide character when its other half is overwritten: so
   * it is made, which spoils a neighbour. That is the next one, or at the edge of the screen the one before.
   */
  #paintRemnant(line: Line, x: number, look: Look): number {
    let end = x + 1
    while (this.#isRemnant(line, end)) end += 1
    if (end < line.length) {
      this.#writeWide(x, look)
      this.#spoil(x + 1)
      return x + 1
    }
    let first = x
    while (this.#isRemnant(line, first - 1)) first -= 1
    if (first === 0) {
      this.#moveToColumn(x)
      this.setLook(look)
      this.#write(" ", x + 1)
      return x + 1
    }
    for (let remnant = end - 1; remnant >= first; remnant -= 1) {
      this.#writeWide(remnant - 1, lookOf(line.loadCell(remnant, this.#cell)))
      this.#spoil(remnant - 1)
    }
    const isHalf = line.loadCell(first - 1, this.#cell).getWidth() === 0
    this.paintCells(line, isHalf ? first - 2 : first - 1, first)
    return end
  }

  #isRemnant(line: Line, x: number): boolean {
    if (x < 0 || x >= line.length) return false
    const cell = line.loadCell(x, this.#cell)
    if (cell.getChars() !== "" || isErasable(lookOf(cell))) return false
    return cell.getWidth() > 0 || x === 0 || line.loadCell(x - 1, this.#cell).getWidth() !== 2
  }

  #writeWide(x: number, look: Look): void {
    this.#moveToColumn(x)
    this.setLook(look)
    this.#write(wideSpace, x + 2)
  }

  /** Overwrites a half of a wide character. */
  #spoil(x: number): void {
    this.#moveToColumn(x)
    this.#write(" ", x + 1)
    this.#soiledColumn = x
  }

  #moveToColumn(x: number): void {
    if (this.#isColumnSure && x === this.#column) return
    this.#write(`${esc}[${x + 1}G`, x)
  }

  #write(text: string, column: number): void {
    this.#parts.push(text)
    this.#column = column
    this.#isColumnSure = true
  }
}
