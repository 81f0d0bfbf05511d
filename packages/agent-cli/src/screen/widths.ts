/**
 * How many columns a character takes, as programs and most terminals count (`wcwidth` of glibc): xterm.js alone counts
 * like Unicode 6, with emoji of one column, and everything to the right of one would be misplaced. Sequences of emoji are
 * counted one by one. Pure.
 */
import type { IUnicodeVersionProvider } from "@xterm/headless"

type Width = 0 | 1 | 2

const ignoredPattern = /^[\p{Mn}\p{Me}\p{Cf}]$/u
const emojiPattern = /^\p{Emoji_Presentation}$/u

/** East Asian wide and full-width characters, first and last of each range; emoji are known by their property. */
const wideRanges: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x2329, 0x232a],
  [0x2e80, 0x303e],
  [0x3041, 0x4dbf],
  [0x4e00, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe10, 0xfe19],
  [0xfe30, 0xfe6f],
  [0xff01, 0xff60],
  [0xffe0, 0xffe6],
  [0x16fe0, 0x18cff],
  [0x1aff0, 0x1b2ff],
  [0x1f200, 0x1f265],
  [0x20000, 0x3fffd],
]

/** Indicators of a flag have the emoji property, and one column each. */
const isFlagPart = (codePoint: number): boolean => codePoint >= 0x1f1e6 && codePoint <= 0x1f1ff

function measure(codePoint: number): Width {
  if (codePoint < 0x20 || (codePoint >= 0x7f && codePoint < 0xa0)) return 0
  if (codePoint < 0x300) return 1
  const character = String.fromCodePoint(codePoint)
  // The second and third part of a Korean syllable combine with the first.
  if (ignoredPattern.test(character) || (codePoint >= 0x1160 && codePoint <= 0x11ff)) return 0
  if (wideRanges.some(([first, last]) => codePoint >= first && codePoint <= last)) return 2
  return emojiPattern.test(character) && !isFlagPart(codePoint) ? 2 : 1
}

/** Widths of the first 65,536 code points once they were asked for, plus one. */
const measured = new Uint8Array(0x10000)

function widthOf(codePoint: number): Width {
  if (codePoint > 0xffff) return measure(codePoint)
  const known = measured[codePoint]
  if (known) return (known - 1) as Width
  const width = measure(codePoint)
  measured[codePoint] = width + 1
  return width
}

/** Combining characters of one cell: real text has a few, and a flood of them must not grow the cell. */
const combiningMax = 32

/** What the emulator remembers of the character before: from bit 3 a number of ours, the width, and whether it joined its predecessor. */
const properties = (combined: number, width: Width, joins: boolean): number => (combined << 3) | (width << 1) | (joins ? 1 : 0)

/** Columns of the character that the emulator remembers so; 0 for none. */
export const textWidth = (remembered: number): Width => ((remembered >> 1) & 3) as Width

export const textWidths: IUnicodeVersionProvider = {
  version: "trunkline",
  wcwidth: widthOf,
  charProperties(codePoint, preceding) {
    const width = widthOf(codePoint)
    const precedingWidth = textWidth(preceding)
    const combined = (preceding >> 3) + 1
    if (width > 0 || precedingWidth === 0 || combined > combiningMax) return properties(0, width, false)
    return properties(combined, precedingWidth, true)
  },
}
