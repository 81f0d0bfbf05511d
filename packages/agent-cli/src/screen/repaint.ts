/**
 * The bytes that make a terminal like the model, from any state it is in: reset what matters without clearing what it has
 * above, then the lines, then everything that the next output depends on. The order is the whole of it.
 */
import { type Charsets, plainCharsets } from "./charsets.ts"
import type { Keyboard } from "./keyboard.ts"
import { LinePainter } from "./line-painter.ts"
import type { Links } from "./links.ts"
import { isErasable, isSameLook, lookOf, penLook, plainLook } from "./look.ts"
import type { Modes } from "./modes.ts"
import type { Palette } from "./palette.ts"
import type { Titles } from "./titles.ts"
import { textWidth } from "./widths.ts"
import { type CoreBuffer, newCell, type Xterm } from "./xterm.ts"

export interface ScreenState {
  readonly xterm: Xterm
  readonly charsets: Charsets
  readonly keyboard: Keyboard
  readonly links: Links
  readonly modes: Modes
  readonly palette: Palette
  readonly titles: Titles
}

const esc = "\u001b"
/** A sequence that the terminal is within is cancelled, and if it cannot be, ended. */
const endSequence = `\u0018${esc}\\`
/** The terminal shows nothing until it is done, if it knows how to. */
const [holdDisplay, showDisplay] = [`${esc}[?2026h`, `${esc}[?2026l`]
const [hideCursor, showCursor] = [`${esc}[?25l`, `${esc}[?25h`]
/** Without clearing it, and with the cursor where it is. */
const leaveAlternate = `${esc}[?47l`
/** Keeps the cursor: changing margins moves it. */
const fullMargins = `${esc}[?69l${esc}7${esc}[r${esc}8`
const plainText = `${esc}]8;;${esc}\\${esc}[0"q${esc}[0m`
/** No origin, no inserting, no new line for a line feed; automatic wrapping. */
const plainModes = `${esc}[?6l${esc}[4l${esc}[20l${esc}[?7h${esc}[?45l`
const eraseScreen = `${esc}[H${esc}[J`
const saveCursor = `${esc}7`

export function repaint(state: ScreenState): string {
  const { core, terminal } = state.xterm
  const { normal, alt, active } = core.buffers
  const painter = new LinePainter(state.xterm, state.links)
  painter.add(`${endSequence}${holdDisplay}${hideCursor}${leaveAlternate}${fullMargins}${plainText}`)
  // What is above the cursor scrolls away and stays the user's; the rest of the screen makes room.
  painter.add(`\r${"\n".repeat(terminal.rows - 1)}${plainModes}${plainCharsets}`)
  painter.add(`${state.keyboard.modifierSequences()}${state.keyboard.flagSequences("normal")}${plainText}${eraseScreen}`)
  // So it moves up with the lines, as it did.
  if (isSavedAbove(normal)) addSavedCursor(painter, state, normal)
  painter.setLook(plainLook)
  painter.add(plainCharsets)
  painter.paintScreen(normal)
  if (active === alt) {
    addBufferState(painter, state, normal)
    addAlternateEntry(painter, normal)
    painter.setLook(plainLook)
    painter.add(`${plainCharsets}${esc}[r${state.keyboard.flagSequences("alternate")}${plainText}${eraseScreen}`)
    painter.paintAlternateScreen(alt)
  }
  addBufferState(painter, state, active)
  painter.setLook(plainLook)
  painter.add(plainCharsets)
  painter.add(`${state.titles.sequences()}${state.palette.sequences()}${state.modes.sequences()}`)
  addCursor(painter, state, active)
  return painter.text()
}

/**
 * Entering with 1049 saves the cursor, for some terminals in a place of its own. It is used if the program can have used
 * it: then the cursor was left where it is saved.
 */
function addAlternateEntry(painter: LinePainter, normal: CoreBuffer): void {
  const isSavedHere = normal.savedX === normal.x && normal.savedY - normal.ybase === normal.y
  if (!isSavedHere) painter.moveTo(normal.x, normal.y)
  painter.add(isSavedHere ? `${esc}[?1049h` : `${esc}[?1047h`)
}

/** Tab stops, margins, and the saved cursor, which some terminals have for each screen. It leaves another look and character set. */
function addBufferState(painter: LinePainter, state: ScreenState, buffer: CoreBuffer): void {
  const { cols } = state.xterm.terminal
  painter.add(`${esc}[3g`)
  for (let x = 0; x < cols; x += 1) if (buffer.tabs[x]) painter.add(`${esc}[${x + 1}G${esc}H`)
  painter.add(`${esc}[${buffer.scrollTop + 1};${buffer.scrollBottom + 1}r`)
  if (!isSavedAbove(buffer)) addSavedCursor(painter, state, buffer)
}

/** Whether the place has scrolled away, or none was ever saved. */
const isSavedAbove = ({ savedY, ybase }: CoreBuffer): boolean => savedY < ybase

function addSavedCursor(painter: LinePainter, { xterm, charsets }: ScreenState, buffer: CoreBuffer): void {
  const { cols, rows } = xterm.terminal
  const y = Math.min(Math.max(buffer.savedY - buffer.ybase, 0), rows - 1)
  painter.moveTo(Math.min(buffer.savedX, cols - 1), y)
  painter.setLook(lookOf(buffer.savedCurAttrData))
  painter.add(`${charsets.useSequence(buffer.savedCharset)}${saveCursor}`)
}

/** Everything from here on depends on the cursor, or what is under it, and must not move it. */
function addCursor(painter: LinePainter, state: ScreenState, buffer: CoreBuffer): void {
  const { core, terminal } = state.xterm
  const { modes, options } = terminal
  // With origin mode, rows count from the margin.
  const row = buffer.y - (modes.originMode ? buffer.scrollTop : 0)
  if (modes.originMode) painter.add(`${esc}[?6h`)
  painter.moveTo(Math.min(buffer.x, terminal.cols - 1), row)
  if (buffer.x >= terminal.cols) addPendingWrap(painter, state.xterm, buffer, row)
  painter.setLook(penLook(core._inputHandler._curAttrData))
  painter.add(state.charsets.sequences())
  if (!modes.wraparoundMode) painter.add(`${esc}[?7l`)
  if (modes.insertMode) painter.add(`${esc}[4h`)
  if (options.convertEol) painter.add(`${esc}[20h`)
  if (!core.coreService.isCursorHidden) painter.add(showCursor)
  if (!modes.synchronizedOutputMode) painter.add(showDisplay)
  addPrecedingCharacter(painter, state, buffer, row)
}

/** The cursor stays in the last column after a character there, and wraps before the next: so that one is written again. */
function addPendingWrap(painter: LinePainter, xterm: Xterm, { lines, ybase, y }: CoreBuffer, row: number): void {
  const line = lines.get(ybase + y)
  if (line === undefined) return
  const last = line.length - 1
  const cell = newCell(xterm)
  const first = line.loadCell(last, cell).getWidth() === 0 && cell.getChars() === "" ? last - 1 : last
  painter.moveTo(first, row)
  if (line.loadCell(first, cell).getChars() !== "") return painter.paintCells(line, first, line.length)
  // It was erased since, mostly with its whole line.
  const look = lookOf(cell)
  let isBlank = isErasable(look)
  for (let x = 0; x < last; x += 1) isBlank &&= line.loadCell(x, cell).getChars() === "" && isSameLook(lookOf(cell), look)
  painter.setLook(look)
  painter.add(isBlank ? ` ${esc}[1K` : " ")
}

/**
 * The last character again, if nothing came after it: a combining character would join it, and a repetition repeat it. A
 * sequence after it would part them.
 */
function addPrecedingCharacter(painter: LinePainter, { xterm, charsets }: ScreenState, buffer: CoreBuffer, row: number): void {
  const { _curAttrData: pen, _parser: parser } = xterm.core._inputHandler
  const width = textWidth(parser.precedingJoinState)
  const x = buffer.x - width
  if (width === 0 || x < 0) return
  const cell = newCell(xterm)
  buffer.lines.get(buffer.ybase + buffer.y)?.loadCell(x, cell)
  const characters = cell.getChars()
  if (characters === "" || cell.getWidth() !== width || !isSameLook(lookOf(cell), lookOf(pen)) || charsets.replaces(characters)) return
  painter.moveTo(x, row)
  // It would push the rest of the line to the right.
  if (xterm.terminal.modes.insertMode) painter.add(`${esc}[${width}P`)
  painter.add(characters)
}
