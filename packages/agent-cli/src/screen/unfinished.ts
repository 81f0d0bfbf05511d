/**
 * The end of an output that is not yet a whole escape sequence, or a whole character. What comes next goes on with it, so
 * whoever begins here needs it first. It is read as the emulator does (the VT500 state machine). Pure.
 */

/** Bytes kept of one sequence: texts for the clipboard fit. Images do not; one who begins within such one skips its rest. */
const keptBytesMax = 65_536

/** How many bytes the character has that begins with this one; 0 if none can. */
function characterLength(first: number): number {
  if (first < 0x80) return 1
  if (first < 0xc0 || first >= 0xf8) return 0
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
}

const isContinuation = (byte: number): boolean => (byte & 0xc0) === 0x80

/** How many bytes at the end begin a character that is not whole: up to 3. */
export function unfinishedCharacterBytes(bytes: Uint8Array): number {
  for (let count = 1; count <= 3 && count <= bytes.length; count += 1) {
    const byte = bytes[bytes.length - count] ?? 0
    if (!isContinuation(byte)) return characterLength(byte) > count ? count : 0
  }
  return 0
}

const bell = 0x07
const escapeByte = 0x1b
/** The first byte of controls beyond ASCII (C1). */
const longControlByte = 0xc2
/** Stands for all characters beyond ASCII and the controls. */
const beyondAscii = 0xa0

/** Where the last byte was. `malformed` is a control sequence to be ignored; `ignored` holds a text for nobody. */
type State = "text" | "escape" | "intermediate" | "control" | "malformed" | "command" | "device" | "deviceText" | "ignored"

/** Controls of two bytes in UTF-8 (C1) that begin something; all others of them end whatever there is. */
const longControls: ReadonlyMap<number, State> = new Map([
  [0x90, "device"],
  [0x98, "ignored"],
  [0x9b, "control"],
  [0x9d, "command"],
  [0x9e, "ignored"],
  [0x9f, "ignored"],
])

/** The same after an escape byte. */
const escapedControls: ReadonlyMap<number, State> = new Map([
  [0x50, "device"],
  [0x58, "ignored"],
  [0x5b, "control"],
  [0x5d, "command"],
  [0x5e, "ignored"],
  [0x5f, "ignored"],
])

export class UnfinishedSequence {
  #state: State = "text"
  #kept: number[] = []
  #isTooLong = false

  /** @param bytes whole characters */
  read(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; ) {
      const byte = bytes[i] ?? 0
      // Nearly all bytes are text within text: a sequence begins with one of two bytes, which are in no other character.
      if (this.#state === "text" && byte !== escapeByte && byte !== longControlByte) i += 1
      else i = this.#readCharacter(bytes, i)
    }
  }

  /** Empty between sequences. */
  bytes(): Uint8Array {
    return Uint8Array.from(this.#isTooLong ? this.#substitute() : this.#kept)
  }

  /** Returns where the next one is. */
  #readCharacter(bytes: Uint8Array, at: number): number {
    const length = characterLength(bytes[at] ?? 0)
    let end = at + 1
    while (end < at + length && isContinuation(bytes[end] ?? 0)) end += 1
    // One that is cut short, or begins in its middle, counts for nothing.
    if (length === 0 || end < at + length) return end
    const last = bytes[end - 1] ?? 0
    const isLongControl = length === 2 && bytes[at] === longControlByte && last < beyondAscii
    this.#readCode(length === 1 || isLongControl ? last : beyondAscii, bytes, at, end)
    return end
  }

  /** One that is `bytes` from `at` to before `end`. */
  #readCode(code: number, bytes: Uint8Array, at: number, end: number): void {
    if (code === escapeByte) return this.#begin("escape", bytes, at, end)
    if (code >= 0x80 && code < beyondAscii) return this.#begin(longControls.get(code) ?? "text", bytes, at, end)
    // Cancel and substitute end everything.
    if (code === 0x18 || code === 0x1a) return this.#end()
    switch (this.#state) {
      case "text":
        return
      case "escape":
      case "intermediate":
        return this.#readEscaped(code, bytes, at, end)
      case "control":
      case "malformed":
        return this.#readControl(code, bytes, at, end)
      case "command":
        if (code === bell) this.#end()
        else if (code >= 0x20) this.#keep(bytes, at, end)
        return
      case "device":
        if (code >= beyondAscii) this.#end()
        else if (code >= 0x20) this.#keep(bytes, at, end)
        if (code >= 0x40 && code < 0x7f) this.#state = "deviceText"
        return
      case "deviceText":
        return this.#keep(bytes, at, end)
      case "ignored":
        if (code >= beyondAscii) this.#end()
        else this.#keep(bytes, at, end)
        return
    }
  }

  /** Controls within a sequence are done at once: they are no part of it. */
  #readEscaped(code: number, bytes: Uint8Array, at: number, end: number): void {
    if (code < 0x20 || code === 0x7f) return
    if (code < 0x30) {
      this.#keep(bytes, at, end)
      this.#state = "intermediate"
      return
    }
    const begun = this.#state === "escape" ? escapedControls.get(code) : undefined
    if (begun === undefined) return this.#end()
    this.#keep(bytes, at, end)
    this.#state = begun
  }

  #readControl(code: number, bytes: Uint8Array, at: number, end: number): void {
    if (code < 0x20 || code === 0x7f) return
    if (code >= beyondAscii ? this.#state === "control" : code >= 0x40) return this.#end()
    this.#keep(bytes, at, end)
    if (code < beyondAscii && this.#isMisplaced(code)) this.#state = "malformed"
  }

  /** A parameter after an intermediate, or a prefix that is not in front. */
  #isMisplaced(code: number): boolean {
    if (code < 0x30) return false
    const before = this.#kept.at(-2) ?? 0
    // Both beginnings of a control sequence have two bytes.
    const isFirst = this.#kept.length === 3
    return (before >= 0x20 && before < 0x30) || (code >= 0x3c && !isFirst)
  }

  #begin(state: State, bytes: Uint8Array, at: number, end: number): void {
    this.#end()
    this.#state = state
    if (state !== "text") this.#keep(bytes, at, end)
  }

  #end(): void {
    this.#state = "text"
    this.#kept = []
    this.#isTooLong = false
  }

  #keep(bytes: Uint8Array, at: number, end: number): void {
    if (this.#kept.length >= keptBytesMax) this.#isTooLong = true
    else for (let i = at; i < end; i += 1) this.#kept.push(bytes[i] ?? 0)
  }

  /** In place of a sequence that is not kept whole: one of no meaning that takes the rest and ends as that does. */
  #substitute(): readonly number[] {
    switch (this.#state) {
      case "command":
        return [...Buffer.from("\u001b]9999;")]
      case "device":
      case "deviceText":
        return [...Buffer.from("\u001bP~")]
      case "ignored":
        return [...Buffer.from("\u001b_")]
      default:
        return this.#kept
    }
  }
}
