/**
 * The keys that are for trunkline and not for the remote terminal: a tilde at the start of a line and the key after it.
 * Pure. Only a tilde at line start waits for the next key; every other byte goes on in the call that brought it.
 */

export type KeyAction =
  | { readonly type: "send"; readonly bytes: Uint8Array }
  | { readonly type: "leave" }
  | { readonly type: "detach" }
  | { readonly type: "help" }
  | { readonly type: "suspend" }

type Position = "line-start" | "after-tilde" | "in-line" | "left"

const tilde = 0x7e
const dot = 0x2e
const letterD = 0x64
const questionMark = 0x3f
const controlZ = 0x1a
const carriageReturn = 0x0d
const lineFeed = 0x0a

/** `leaving`: what becomes of the remote terminal at `~.`. */
export const escapeKeysHelp = (leaving: "is hung up" | "goes on"): string[] => [
  `~.   leave; the remote terminal ${leaving}`,
  "~d   detach; the remote terminal goes on",
  "~^Z  suspend trunkline",
  "~?   show this list",
  "~~   type one tilde",
  "They count only right after Enter.",
]

export class EscapeKeys {
  #position: Position = "line-start"

  /** What to do, in order, for bytes as they were typed. Nothing after a `leave` or `detach` is read. */
  read(bytes: Uint8Array): KeyAction[] {
    if (this.#position === "left") return []
    const actions: KeyAction[] = []
    /** Where the bytes begin that are yet to be sent. */
    let from = 0
    const send = (to: number) => {
      if (to > from) actions.push({ type: "send", bytes: bytes.subarray(from, to) })
      from = to
    }
    for (const [index, byte] of bytes.entries()) {
      switch (this.#position) {
        case "line-start":
          if (byte === tilde) {
            send(index)
            // Withheld until the next key says whose it is.
            from = index + 1
            this.#position = "after-tilde"
          } else this.#position = positionAfter(byte)
          break
        case "in-line":
          this.#position = positionAfter(byte)
          break
        case "after-tilde": {
          const own = ownAction(byte)
          if (own !== undefined) {
            from = index + 1
            this.#position = own.type === "leave" || own.type === "detach" ? "left" : "line-start"
            actions.push(own)
          } else if (byte === tilde) {
            // The withheld one is dropped and this one goes on with what follows.
            this.#position = "in-line"
          } else {
            actions.push({ type: "send", bytes: new Uint8Array([tilde]) })
            this.#position = positionAfter(byte)
          }
          break
        }
        case "left":
          return actions
      }
    }
    send(bytes.byteLength)
    return actions
  }
}

const positionAfter = (byte: number): Position => (byte === carriageReturn || byte === lineFeed ? "line-start" : "in-line")

function ownAction(byte: number): Exclude<KeyAction, { readonly type: "send" }> | undefined {
  switch (byte) {
    case dot:
      return { type: "leave" }
    case letterD:
      return { type: "detach" }
    case questionMark:
      return { type: "help" }
    case controlZ:
      return { type: "suspend" }
    default:
      return undefined
  }
}
