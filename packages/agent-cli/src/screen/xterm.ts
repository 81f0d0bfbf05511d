/**
 * The headless xterm.js and those of its internals that a repaint needs and no public call tells: the pen, margins, tab
 * stops, saved cursors, character sets. Its own serialize add-on reads internals, too. The version is pinned for this.
 */
import { createRequire } from "node:module"
import type { Terminal } from "@xterm/headless"
import { textWidths } from "./widths.ts"

interface ExtendedAttributes {
  underlineStyle: number
  underlineColor: number
  /** 0 for none; any underline style reads as dashed while there is one. */
  urlId: number
  clone(): ExtendedAttributes
}

/** How a cell or the pen looks: packed colours and flags. `extended` counts only if `bg` says so. */
export interface Attributes {
  readonly fg: number
  readonly bg: number
  readonly extended: ExtendedAttributes
}

export interface Cell extends Attributes {
  /** Empty where nothing was written, or it was erased. */
  getChars(): string
  /** 0 is the second half of a wide character, or a combining one that had nothing to combine with. */
  getWidth(): number
}

export interface Line {
  readonly isWrapped: boolean
  readonly length: number
  loadCell(x: number, cell: Cell): Cell
}

export type Charset = Readonly<Record<string, string>> | undefined

export interface CoreBuffer {
  readonly lines: { readonly length: number; get(index: number): Line | undefined }
  readonly x: number
  readonly y: number
  /** The line at the top of the screen; those before it are the scrollback. */
  readonly ybase: number
  readonly scrollTop: number
  readonly scrollBottom: number
  readonly tabs: Readonly<Record<number, boolean | undefined>>
  readonly savedX: number
  /** Counted from the first line of the scrollback. */
  readonly savedY: number
  readonly savedCurAttrData: Attributes
  readonly savedCharset: Charset
}

interface Pen extends Attributes {
  extended: ExtendedAttributes
  updateExtended(): void
}

interface Parameters {
  readonly length: number
  readonly params: number[]
}

export interface Core {
  readonly buffers: { readonly normal: CoreBuffer; readonly alt: CoreBuffer; readonly active: CoreBuffer }
  readonly coreService: {
    readonly isCursorHidden: boolean
    readonly decPrivateModes: { readonly cursorStyle: "block" | "underline" | "bar" | undefined; readonly cursorBlink: boolean | undefined }
  }
  readonly coreMouseService: { readonly activeEncoding: string }
  readonly _charsetService: { readonly glevel: number; readonly charset: Charset; readonly _charsets: readonly Charset[] }
  readonly _inputHandler: {
    readonly _curAttrData: Pen
    readonly _iconName: string
    readonly _windowTitle: string
    readonly _windowTitleStack: readonly string[]
    readonly _parser: { readonly precedingJoinState: number }
    parse(bytes: Uint8Array): void
  }
  /** Unlike the public one it hands over the parameters themselves, so that they can be changed. */
  registerCsiHandler(id: { prefix?: string; intermediates?: string; final: string }, read: (parameters: Parameters) => boolean): unknown
}

export interface Xterm {
  readonly terminal: Terminal
  readonly core: Core
}

/** Loads the emulator at the first call: it costs milliseconds that no other command should pay. */
export function newXterm(cols: number, rows: number, scrollbackLines: number): Xterm {
  const require = createRequire(import.meta.url)
  const { Terminal } = require("@xterm/headless") as typeof import("@xterm/headless")
  const terminal = new Terminal({
    cols,
    rows,
    scrollback: scrollbackLines,
    allowProposedApi: true,
    logLevel: "off",
    // Programs put the title aside and take it back. All other window options stay off.
    windowOptions: { pushTitle: true, popTitle: true },
  })
  terminal.unicode.register(textWidths)
  terminal.unicode.activeVersion = textWidths.version
  const { _core: core } = terminal as unknown as { readonly _core: Core }
  limitCounts(terminal, core)
  return { terminal, core }
}

/** A cell of its own to load others into. */
export const newCell = ({ terminal }: Xterm): Cell => terminal.buffer.active.getNullCell() as unknown as Cell

/**
 * The emulator does some sequences as often as their parameter says, up to 2,147,483,647 times, and allocates as much to
 * repeat a character: one line of output would stop the agent. More than fills the screen, or all lines, changes nothing.
 */
function limitCounts(terminal: Terminal, core: Core): void {
  const limit = (intermediates: string, final: string, countMax: () => number) => {
    const id = intermediates === "" ? { final } : { intermediates, final }
    core.registerCsiHandler(id, ({ params }) => {
      params[0] = Math.min(params[0] ?? 0, countMax())
      return false
    })
  }
  for (const final of "LMST") limit("", final, () => terminal.rows)
  for (const final of "IZ") limit("", final, () => terminal.cols)
  limit("", "b", () => terminal.cols * (terminal.rows + (terminal.options.scrollback ?? 0)))
  // From the last cell of a screen without scrollback, erasing up to the cursor throws. That is the whole screen.
  for (const id of [{ final: "J" }, { prefix: "?", final: "J" }]) {
    core.registerCsiHandler(id, ({ params }) => {
      const { active } = core.buffers
      if (params[0] === 1 && active.x + 1 >= terminal.cols && active.y + 1 >= active.lines.length) params[0] = 2
      return false
    })
  }
}
