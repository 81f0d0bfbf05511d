/**
 * The terminal this program runs in: its size, raw mode, and that it is given back as it was however the program ends.
 * After SIGKILL nobody can do that: `reset` or `stty sane` does.
 */
import type { ReadStream, WriteStream } from "node:tty"
import type { TerminalModes } from "./terminal-modes.ts"

export interface Size {
  readonly cols: number
  readonly rows: number
}

/** What a terminal of unknown size has had since the VT100. */
const defaultSize: Size = { cols: 80, rows: 24 }
const dimensionMax = 10_000

export class LocalTerminal {
  readonly #input: ReadStream
  readonly #output: WriteStream
  readonly #modes: TerminalModes
  #raw = false
  readonly #giveBack = () => this.release("abnormal")

  constructor(input: ReadStream, output: WriteStream, modes: TerminalModes) {
    this.#input = input
    this.#output = output
    this.#modes = modes
  }

  /** Of the output; the default where it is not a terminal, or one that does not know its size. */
  get size(): Size {
    return { cols: dimension(this.#output.columns, defaultSize.cols), rows: dimension(this.#output.rows, defaultSize.rows) }
  }

  /** Every key as a byte, nothing echoed. */
  takeOver(): void {
    if (this.#raw) return
    this.#raw = true
    // Runs on every end but SIGKILL: process.exit and an uncaught exception come through here too.
    process.once("exit", this.#giveBack)
    this.#input.setRawMode(true)
  }

  /**
   * Gives the terminal back. After an abnormal end also the modes that the remote program left on, and a line of its
   * own for what follows.
   */
  release(end: "normal" | "abnormal"): void {
    if (!this.#raw) return
    this.#raw = false
    process.off("exit", this.#giveBack)
    this.#input.setRawMode(false)
    if (end === "abnormal" && this.#output.isTTY) this.#output.write(`${this.#modes.reset()}\r\n`)
  }

  /** Stops this program as Ctrl-Z would; returns when it is continued. */
  suspend(): void {
    this.release("abnormal")
    process.kill(process.pid, "SIGSTOP")
    this.takeOver()
    if (this.#output.isTTY) this.#output.write(this.#modes.restore())
  }
}

const dimension = (value: number | undefined, otherwise: number): number =>
  value === undefined || value < 1 ? otherwise : Math.min(value, dimensionMax)

/** What the remote terminal should know of this one, as ssh passes it on. */
export function terminalVariables(environment: NodeJS.ProcessEnv): Record<string, string> {
  const passed = Object.entries(environment).filter((entry): entry is [string, string] => {
    const [name, value] = entry
    return value !== undefined && value !== "" && (name === "TERM" || name === "COLORTERM" || name === "LANG" || name.startsWith("LC_"))
  })
  return Object.fromEntries(passed)
}
