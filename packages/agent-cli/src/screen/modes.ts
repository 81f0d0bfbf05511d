/**
 * Modes of the terminal but for those that the painting of a repaint turns on its own: the keyboard's, the mouse's, the
 * cursor's. Partly from the emulator; those that it ignores are read along.
 */
import { numberAt, onControl, onReset, type Parameter } from "./hooks.ts"
import type { Xterm } from "./xterm.ts"

const esc = "\u001b"
const mode = (number: number, on: boolean): string => `${esc}[?${number}${on ? "h" : "l"}`

/**
 * Modes the emulator ignores: reverse screen, blinking cursor, what backspace sends, old encodings of the mouse, the wheel
 * as arrow keys, grapheme clusters, reports of the colour scheme.
 */
const ignoredModes: ReadonlySet<number> = new Set([5, 12, 67, 1005, 1007, 1015, 2027, 2031])
/** Those of them that are off in every fresh terminal: off unless a program has them on. The others are the user's choice. */
const commonlyOff: readonly number[] = [5, 1005, 1015]

const mouseTracking = { none: undefined, x10: 9, vt200: 1000, drag: 1002, any: 1003 } as const
const mouseEncoding: ReadonlyMap<string, number> = new Map([
  ["SGR", 1006],
  ["SGR_PIXELS", 1016],
])
const mouseModes: readonly number[] = [9, 1000, 1002, 1003, 1006, 1016]

/** The steady shape; the blinking one is one less. */
const cursorShapes = { block: 2, underline: 4, bar: 6 } as const

export class Modes {
  readonly #xterm: Xterm
  readonly #ignored = new Map<number, boolean>(commonlyOff.map((number) => [number, false]))

  constructor(xterm: Xterm) {
    this.#xterm = xterm
    onControl(xterm.terminal, { prefix: "?", final: "h" }, (parameters) => this.#note(parameters, true))
    onControl(xterm.terminal, { prefix: "?", final: "l" }, (parameters) => this.#note(parameters, false))
    onReset(xterm.terminal, () => {
      for (const number of this.#ignored.keys()) this.#ignored.set(number, false)
    })
  }

  /** None of them moves the cursor. */
  sequences(): string {
    const { modes } = this.#xterm.terminal
    const { core } = this.#xterm
    const tracking = mouseTracking[modes.mouseTrackingMode]
    const encoding = mouseEncoding.get(core.coreMouseService.activeEncoding)
    return [
      mode(1, modes.applicationCursorKeysMode),
      modes.applicationKeypadMode ? `${esc}=` : `${esc}>`,
      mode(45, modes.reverseWraparoundMode),
      mode(1004, modes.sendFocusMode),
      mode(2004, modes.bracketedPasteMode),
      // Some terminals have one mode of the mouse at a time, others one switch for each: off first, then the one.
      ...mouseModes.map((number) => mode(number, false)),
      ...[...this.#ignored].map(([number, on]) => mode(number, on)),
      ...[tracking, encoding].map((number) => (number === undefined ? "" : mode(number, true))),
      `${esc}[${this.#cursorShape()} q`,
    ].join("")
  }

  #cursorShape(): number {
    const { cursorStyle, cursorBlink } = this.#xterm.core.coreService.decPrivateModes
    return cursorStyle === undefined ? 0 : cursorShapes[cursorStyle] - (cursorBlink ? 1 : 0)
  }

  #note(parameters: readonly Parameter[], on: boolean): void {
    for (let i = 0; i < parameters.length; i += 1) {
      const number = numberAt(parameters, i)
      if (ignoredModes.has(number)) this.#ignored.set(number, on)
    }
  }
}
