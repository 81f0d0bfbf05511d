/**
 * Takes the queries out of output that a program wrote before we came: whoever it asked has answered long ago, and our
 * terminal's answer would be typed into whatever reads there now. Everything else goes through unchanged. Streaming: a
 * sequence may be cut anywhere.
 */
import { isCsiQuery, isTextQuery, mayBecomeQuery, type StringKind } from "./terminal-queries.ts"

type State =
  | { readonly in: "text" }
  /** The first of the two bytes of an 8-bit control, in UTF-8. */
  | { readonly in: "lead" }
  | { readonly in: "escape"; readonly intermediates: boolean }
  /** `endless`: longer than any real one. */
  | { readonly in: "csi"; readonly endless: boolean }
  /** `fate` of one that was too long to be held until its end. `escaped`: an ESC came, which ends it. */
  | { readonly in: "string"; readonly kind: StringKind; readonly fate: "open" | "kept" | "dropped"; readonly escaped: boolean }

/** Bytes of one sequence that are held back until it shows what it is: the longest real query asks for 256 colours. */
const heldBytesMax = 4_096

const text: State = { in: "text" }

const enquiry = 0x05
const bell = 0x07
const cancel = 0x18
const substitute = 0x1a
const escapeByte = 0x1b
const control8 = 0xc2
const identify = 0x5a
const backslash = 0x5c

/** Introducers by their 7-bit byte; the 8-bit control is 0x40 more. */
const strings: ReadonlyMap<number, StringKind> = new Map([
  [0x50, "dcs"],
  [0x5d, "osc"],
  [0x5f, "apc"],
  [0x58, "other"],
  [0x5e, "other"],
])
const csiIntroducer = 0x5b

export class ReplayFilter {
  #state: State = text
  /** The sequence so far, nothing of which has gone out. */
  #held: number[] = []
  /** Index of what stands behind its introducer. */
  #bodyAt = 0
  #out = new Uint8Array(0)
  #length = 0

  /** What of the held bytes and these can go out. */
  read(bytes: Uint8Array): Uint8Array {
    // Nothing is ever added; one byte more may wait, the ESC that ends a text.
    this.#out = new Uint8Array(this.#held.length + 1 + bytes.byteLength)
    this.#length = 0
    for (const byte of bytes) this.#take(byte)
    return this.#out.subarray(0, this.#length)
  }

  /** The history ends: what an unfinished sequence is, the live output will show. */
  end(): Uint8Array {
    const escaped = this.#state.in === "string" && this.#state.escaped && this.#state.fate !== "dropped"
    const held = Uint8Array.from(escaped ? [...this.#held, escapeByte] : this.#held)
    this.#held = []
    this.#state = text
    return held
  }

  #take(byte: number): void {
    // It asks for an answer wherever it stands, and means nothing else.
    if (byte === enquiry) return
    const state = this.#state
    switch (state.in) {
      case "text":
        if (byte === escapeByte) this.#begin(byte, { in: "escape", intermediates: false })
        else if (byte === control8) this.#begin(byte, { in: "lead" })
        else this.#emit(byte)
        return
      case "lead":
        return this.#takeControl8(byte)
      case "escape":
        return this.#takeEscaped(byte, state.intermediates)
      case "csi":
        return this.#takeCsi(byte, state.endless)
      case "string":
        return state.escaped ? this.#endString(byte, state) : this.#takeString(byte, state)
    }
  }

  #takeControl8(byte: number): void {
    const introducer = byte >= 0x80 && byte < 0xa0 ? byte - 0x40 : 0
    if (introducer === identify) return this.#drop()
    if (!this.#introduce(byte, introducer)) this.#keepThen(byte)
  }

  #takeEscaped(byte: number, intermediates: boolean): void {
    if (byte === escapeByte) {
      this.#keep()
      this.#begin(byte, { in: "escape", intermediates: false })
    } else if (byte === cancel || byte === substitute || byte >= 0x80) this.#keepThen(byte)
    else if (byte < 0x20 || byte === 0x7f) this.#hold(byte)
    else if (byte < 0x30) {
      this.#hold(byte)
      this.#state = { in: "escape", intermediates: true }
      if (this.#held.length > heldBytesMax) this.#keep()
    } else if (!intermediates && byte === identify) this.#drop()
    else if (intermediates || !this.#introduce(byte, byte)) {
      this.#hold(byte)
      this.#keep()
    }
  }

  #takeCsi(byte: number, endless: boolean): void {
    if (byte === escapeByte) {
      this.#finish(endless)
      this.#begin(byte, { in: "escape", intermediates: false })
    } else if (byte === cancel || byte === substitute || byte >= 0x80) {
      this.#finish(endless)
      this.#take(byte)
    } else if (byte >= 0x40 && byte < 0x7f) {
      this.#hold(byte)
      this.#finish(endless || isCsiQuery(this.#body()))
    } else if (!endless) {
      this.#hold(byte)
      if (this.#held.length > heldBytesMax) this.#state = { in: "csi", endless: true }
    }
  }

  #takeString(byte: number, state: State & { readonly in: "string" }): void {
    if (byte === escapeByte) this.#state = { ...state, escaped: true }
    else if ((byte === bell && state.kind === "osc") || byte === cancel || byte === substitute) this.#finishString(state, [byte])
    else if (state.fate === "kept") this.#emit(byte)
    else if (state.fate === "open") {
      this.#hold(byte)
      if (this.#held.length <= heldBytesMax) return
      if (mayBecomeQuery(state.kind, this.#body())) {
        this.#held = []
        this.#state = { ...state, fate: "dropped" }
      } else {
        this.#flush()
        this.#state = { ...state, fate: "kept" }
      }
    }
  }

  /** A text ends at an ESC, whatever follows: some terminals do then what it says. */
  #endString(byte: number, state: State & { readonly in: "string" }): void {
    if (byte === backslash) return this.#finishString(state, [escapeByte, backslash])
    this.#finishString(state, [])
    this.#begin(escapeByte, { in: "escape", intermediates: false })
    this.#take(byte)
  }

  #finishString({ kind, fate }: State & { readonly in: "string" }, terminator: readonly number[]): void {
    const dropped = fate === "dropped" || (fate === "open" && isTextQuery(kind, this.#body()))
    if (dropped) return this.#drop()
    for (const byte of terminator) this.#hold(byte)
    this.#keep()
  }

  /** Whether this is where a longer sequence begins. */
  #introduce(byte: number, introducer: number): boolean {
    const kind = strings.get(introducer)
    if (kind === undefined && introducer !== csiIntroducer) return false
    this.#hold(byte)
    this.#bodyAt = this.#held.length
    this.#state = kind === undefined ? { in: "csi", endless: false } : { in: "string", kind, fate: "open", escaped: false }
    return true
  }

  #body(): string {
    return String.fromCharCode(...this.#held.slice(this.#bodyAt))
  }

  #begin(byte: number, state: State): void {
    this.#hold(byte)
    this.#state = state
  }

  #hold(byte: number): void {
    this.#held.push(byte)
  }

  #finish(dropped: boolean): void {
    if (dropped) this.#drop()
    else this.#keep()
  }

  /** The sequence goes, but not the controls in the middle of it, which a terminal obeys at once. */
  #drop(): void {
    this.#held = this.#state.in === "string" ? [] : this.#held.slice(1).filter((byte) => byte < 0x20)
    this.#keep()
  }

  #keep(): void {
    this.#flush()
    this.#state = text
  }

  #keepThen(byte: number): void {
    this.#keep()
    this.#take(byte)
  }

  #flush(): void {
    for (const byte of this.#held) this.#emit(byte)
    this.#held = []
  }

  #emit(byte: number): void {
    this.#out[this.#length] = byte
    this.#length += 1
  }
}
