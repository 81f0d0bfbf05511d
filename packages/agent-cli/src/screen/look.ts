/** How a cell or the pen looks, and the escape sequence that sets it from any other look. Pure. */
import type { Attributes } from "./xterm.ts"

export interface Look {
  /** Packed by the emulator: colour, its kind, and flags. */
  readonly fg: number
  readonly bg: number
  /** 0 none, 1 single, 2 double, 3 curly, 4 dotted, 5 dashed. */
  readonly underlineStyle: number
  readonly underlineColor: number
  /** 0 for no hyperlink. */
  readonly urlId: number
}

export const plainLook: Look = { fg: 0, bg: 0, underlineStyle: 0, underlineColor: 0, urlId: 0 }

const colorKinds = 0x3000000
const kindOf16 = 0x1000000
const kindOf256 = 0x2000000
const colorMask = colorKinds | 0xffffff

const fgFlags: readonly (readonly [mask: number, sgr: string])[] = [
  [0x8000000, "1"],
  [0x20000000, "5"],
  [0x4000000, "7"],
  [0x40000000, "8"],
  [0x80000000, "9"],
]
const underlineFlag = 0x10000000
const bgFlags: readonly (readonly [mask: number, sgr: string])[] = [
  [0x8000000, "2"],
  [0x4000000, "3"],
  [0x40000000, "53"],
]
const extendedFlag = 0x10000000
const protectedFlag = 0x20000000

/** What SGR 59 leaves in place of a colour; 0 is the default as well. */
const defaultUnderlineColor = colorMask

export function lookOf(attributes: Attributes): Look {
  const isExtended = (attributes.bg & extendedFlag) !== 0
  if (!isExtended && attributes.fg === 0 && attributes.bg === 0) return plainLook
  return look(attributes, isExtended)
}

/** The pen keeps the colour of underlines while there are none. */
export const penLook = (pen: Attributes): Look => ({ ...lookOf(pen), underlineColor: pen.extended.underlineColor })

function look({ fg, bg, extended }: Attributes, isExtended: boolean): Look {
  const isUnderlined = (fg & underlineFlag) !== 0
  const urlId = isExtended ? extended.urlId : 0
  return {
    fg: withoutRemains(fg),
    bg: withoutRemains(bg) & ~extendedFlag,
    underlineStyle: isUnderlined ? (isExtended && ownStyle(extended)) || 1 : 0,
    underlineColor: isExtended ? extended.underlineColor : 0,
    urlId,
  }
}

/** A colour of the palette in place of one of 24 bits leaves some of those. */
const withoutRemains = (packed: number): number => ((packed & colorKinds) === colorKinds ? packed | 0 : packed & ~0xffff00)

/** The style below the dashes that stand for a link. */
function ownStyle(extended: Attributes["extended"]): number {
  if (extended.urlId === 0) return extended.underlineStyle
  const unlinked = extended.clone()
  unlinked.urlId = 0
  return unlinked.underlineStyle
}

export const isSameLook = (a: Look, b: Look): boolean =>
  a === b ||
  (a.fg === b.fg && a.bg === b.bg && a.underlineStyle === b.underlineStyle && a.underlineColor === b.underlineColor && a.urlId === b.urlId)

/** Whether erasing leaves this: a background and nothing else. */
export const isErasable = ({ fg, bg, urlId }: Look): boolean => fg === 0 && (bg & ~colorMask) === 0 && urlId === 0

/** Without the hyperlink, which has a sequence of its own. */
export function lookSequence(look: Look): string {
  const sgr = ["0"]
  for (const [mask, code] of fgFlags) if (look.fg & mask) sgr.push(code)
  for (const [mask, code] of bgFlags) if (look.bg & mask) sgr.push(code)
  if (look.underlineStyle > 0) sgr.push(look.underlineStyle === 1 ? "4" : `4:${look.underlineStyle}`)
  sgr.push(...color(look.fg, 30, 90, 38), ...color(look.bg, 40, 100, 48), ...underlineColor(look.underlineColor))
  return `\u001b[${sgr.join(";")}m${look.bg & protectedFlag ? '\u001b[1"q' : ""}`
}

export const isProtected = (look: Look): boolean => (look.bg & protectedFlag) !== 0

function color(packed: number, first: number, firstBright: number, extended: number): string[] {
  const value = packed & 0xffffff
  switch (packed & colorKinds) {
    case 0:
      return []
    case kindOf16:
      return [String((value & 0xff) < 8 ? first + (value & 0xff) : firstBright + (value & 7))]
    case kindOf256:
      return [`${extended};5;${value & 0xff}`]
    default:
      return [`${extended};2;${value >> 16};${(value >> 8) & 0xff};${value & 0xff}`]
  }
}

/** With colons: a terminal without underline colours would read 58;5;1 as blinking and bold. */
function underlineColor(packed: number): string[] {
  const value = packed & 0xffffff
  if ((packed & colorMask) === defaultUnderlineColor) return ["59"]
  switch (packed & colorKinds) {
    case 0:
      return []
    case kindOf256:
      return [`58:5:${value & 0xff}`]
    default:
      return [`58:2::${value >> 16}:${(value >> 8) & 0xff}:${value & 0xff}`]
  }
}
