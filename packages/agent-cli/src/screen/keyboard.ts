/** Keyboard protocols that programs switch on and the emulator ignores: kitty's, and xterm's modified keys. */
import type { Terminal } from "@xterm/headless"
import { numberAt, onControl, onReset, type Parameter } from "./hooks.ts"

type ScreenName = "normal" | "alternate"

const esc = "\u001b"
/** Flags put aside on one screen: more than terminals keep. */
const stackMax = 16
/** Resources that xterm has for modified keys are 0 to 7. */
const resourceMax = 7

export class Keyboard {
  /** Kitty's flags of each screen, the last in force. The first is that of a program that put nothing aside. */
  #flags: Record<ScreenName, number[]> = { normal: [0], alternate: [0] }
  /** XTMODKEYS, by resource. */
  readonly #modifiers = new Map<number, number>()

  constructor(terminal: Terminal) {
    const flags = () => this.#flags[terminal.buffer.active.type]
    onControl(terminal, { prefix: ">", final: "u" }, (parameters) => push(flags(), numberAt(parameters, 0)))
    onControl(terminal, { prefix: "<", final: "u" }, (parameters) => pop(flags(), numberAt(parameters, 0) || 1))
    onControl(terminal, { prefix: "=", final: "u" }, (parameters) => change(flags(), numberAt(parameters, 0), numberAt(parameters, 1)))
    onControl(terminal, { prefix: ">", final: "m" }, (parameters) => this.#setModifiers(parameters))
    onControl(terminal, { prefix: ">", final: "n" }, (parameters) => this.#modifiers.delete(numberAt(parameters, 0)))
    onReset(terminal, () => {
      this.#flags = { normal: [0], alternate: [0] }
      this.#modifiers.clear()
    })
  }

  /**
   * For the screen that is shown when they arrive, as each has flags of its own. Old terminals take them for restoring
   * the cursor: its position and the look have to follow.
   */
  flagSequences(screen: ScreenName): string {
    const [first = 0, ...pushed] = this.#flags[screen]
    const sequences = [`${esc}[<${stackMax * 2}u`]
    if (first !== 0) sequences.push(`${esc}[=${first};1u`)
    return [...sequences, ...pushed.map((flags) => `${esc}[>${flags}u`)].join("")
  }

  /** Old terminals take them for underlining: the look has to follow. */
  modifierSequences(): string {
    const set = [...this.#modifiers].map(([resource, value]) => `${esc}[>${resource};${value}m`)
    return [`${esc}[>4m`, ...set].join("")
  }

  #setModifiers(parameters: readonly Parameter[]): void {
    const resource = numberAt(parameters, 0)
    if (parameters.length < 2) this.#modifiers.delete(resource)
    else if (resource <= resourceMax) this.#modifiers.set(resource, numberAt(parameters, 1))
  }
}

function push(stack: number[], flags: number): void {
  stack.push(flags)
  if (stack.length > stackMax) stack.splice(1, 1)
}

function pop(stack: number[], count: number): void {
  // Taking more than there is resets the flags.
  if (count >= stack.length) stack.splice(0, stack.length, 0)
  else stack.splice(-count)
}

function change(stack: number[], flags: number, way: number): void {
  const current = stack.pop() ?? 0
  stack.push(way === 2 ? current | flags : way === 3 ? current & ~flags : flags)
}
