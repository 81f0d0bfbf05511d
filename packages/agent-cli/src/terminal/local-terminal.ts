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
  /** Whether a remote program has it, and with its keys or without. */
  #taken: "no" | "output" | "output-and-keys" = "no"
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

  /** From here on a remote program may change it. With `keys`: every key as a byte, nothing echoed. */
  takeOver(keys: boolean): void {
    if (this.#taken !== "no") return
    this.#taken = keys ? "output-and-keys" : "output"
    // Runs on every end but SIGKILL: process.exit and an uncaught exception come through here too.
    process.once("exit", this.#giveBack)
    if (keys) this.#input.setRawMode(true)
  }

  /**
   * Gives the terminal back. After an abnormal end also the modes that the remote program left on, and a line of its
   * own for what follows.
   */
  release(end: "normal" | "abnormal"): void {
    if (this.#taken === "no") return
    if (this.#taken === "output-and-keys") this.#input.setRawMode(false)
    this.#taken = "no"
    process.off("exit", this.#giveBack)
    if (end === "abnormal" && this.#output.isTTY) this.#output.write(`${this.#modes.reset()}\r\n`)
  }

  /** Stops this program as Ctrl-Z would; returns when it is continued. */
  suspend(): void {
    const taken = this.#taken
    this.release("abnormal")
    stopProcessGroup()
    if (taken === "no") return
    this.takeOver(taken === "output-and-keys")
    if (this.#output.isTTY) this.#output.write(this.#modes.restore())
  }
}

/**
 * With whoever started us and waits (`npx`, a script), so that the user's shell takes over. The kernel drops the signal
 * where no such shell is there to continue us; SIGSTOP would stop us for good.
 */
function stopProcessGroup(): void {
  const listeners = process.listeners("SIGTSTP")
  process.removeAllListeners("SIGTSTP")
  process.kill(0, "SIGTSTP")
  for (const listener of listeners) process.on("SIGTSTP", listener)
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
