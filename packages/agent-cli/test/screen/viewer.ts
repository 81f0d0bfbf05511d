/**
 * A terminal as a client has it: a plain headless xterm.js, with the widths of characters that most terminals use, and
 * what its public interface tells of it.
 */
import { createRequire } from "node:module"
import type { IBufferCell, Terminal } from "@xterm/headless"
import { textWidths } from "../../src/screen/widths.ts"

// A CommonJS module whose names Node does not find.
const xterm = createRequire(import.meta.url)("@xterm/headless") as typeof import("@xterm/headless")

export interface View {
  /** The last `lineCount` lines of the normal screen with its scrollback, and those of the alternate screen. */
  readonly normal: readonly string[]
  readonly alternate: readonly string[]
  readonly shown: "normal" | "alternate"
  readonly cursor: readonly [x: number, y: number]
  readonly modes: Terminal["modes"]
}

const modesAsked = [1, 6, 7, 9, 25, 45, 66, 1000, 1002, 1003, 1004, 1006, 1016, 1049, 2004, 2026]

export class Viewer {
  readonly terminal: Terminal
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  #answers = ""

  constructor(cols: number, rows: number, scrollback = 1000) {
    this.terminal = new xterm.Terminal({ cols, rows, scrollback, allowProposedApi: true, logLevel: "off" })
    this.terminal.unicode.register(textWidths)
    this.terminal.unicode.activeVersion = textWidths.version
    this.terminal.onData((answer) => {
      this.#answers += answer
    })
  }

  /** Everything it answered to queries so far. */
  get answers(): string {
    return this.#answers
  }

  write(bytes: Uint8Array | string): Promise<void> {
    // xterm.js has trouble with characters that are cut; clients decode the stream themselves.
    const text = typeof bytes === "string" ? bytes : this.#decoder.decode(bytes, { stream: true })
    return new Promise((resolve) => this.terminal.write(text, resolve))
  }

  get lineCount(): number {
    return this.terminal.buffer.normal.length
  }

  view(lineCount = this.lineCount): View {
    const { normal, alternate, active } = this.terminal.buffer
    return {
      normal: linesOf(normal, lineCount),
      alternate: active.type === "alternate" ? linesOf(alternate, alternate.length) : [],
      shown: active.type,
      cursor: [active.cursorX, active.cursorY],
      modes: this.terminal.modes,
    }
  }

  /** What it answers about modes and margins. Not to be asked within a sequence. */
  async report(): Promise<string> {
    const before = this.#answers.length
    await this.write(`${modesAsked.map((mode) => `\u001b[?${mode}$p`).join("")}\u001b[4$p\u001b[20$p\u001bP$qr\u001b\\\u001bP$q"q\u001b\\`)
    return this.#answers.slice(before)
  }
}

type Lines = Terminal["buffer"]["normal"]

function linesOf(buffer: Lines, count: number): string[] {
  const first = buffer.length - count
  const cell = buffer.getNullCell()
  return Array.from({ length: count }, (_, i) => {
    const line = buffer.getLine(first + i)
    if (line === undefined) return "no line"
    const cells: string[] = []
    for (let x = 0; x < line.length; x += 1) {
      line.getCell(x, cell)
      cells.push(describeCell(cell))
    }
    // Whether the first line continues one that is gone does not matter to anybody.
    return `${i > 0 && line.isWrapped ? "continues " : ""}${shorten(cells)}`
  })
}

const flags = [
  "isBold",
  "isDim",
  "isItalic",
  "isUnderline",
  "isBlink",
  "isInverse",
  "isInvisible",
  "isStrikethrough",
  "isOverline",
] as const

const plainAttributes = "0:-1 0:-1 "

function describeCell(cell: IBufferCell): string {
  const set = flags.filter((flag) => cell[flag]()).map((flag) => flag.slice(2, 5))
  const colors = `${cell.getFgColorMode()}:${cell.getFgColor()} ${cell.getBgColorMode()}:${cell.getBgColor()} ${set.join(" ")}`
  const attributes = colors === plainAttributes ? "" : `{${colors}}`
  // Second halves of wide characters are empty; some operations leave ones behind that have lost their first.
  const characters = cell.getChars()
  return characters === "" ? `\u2205${attributes}` : `${characters}${cell.getWidth() === 1 ? "" : `<${cell.getWidth()}>`}${attributes}`
}

/** Without the empty cells at the end, which only make differences hard to read. */
function shorten(cells: readonly string[]): string {
  let end = cells.length
  while (end > 0 && cells[end - 1] === "\u2205") end -= 1
  return cells.slice(0, end).join("")
}
