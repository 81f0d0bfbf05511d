/** A terminal that a test can type into and look at: one window of a tmux server of its own. */
import { execFile } from "node:child_process"
import { randomUUID } from "node:crypto"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { onTestFinished } from "vitest"
import { bin, type World } from "./world.ts"

const run = promisify(execFile)

export interface ScreenSize {
  readonly cols: number
  readonly rows: number
}

/** Lines that are kept above the screen. */
const historyLines = 5_000

export class Screen {
  readonly #socket: string
  readonly #environment: NodeJS.ProcessEnv
  /** Where `trunkline` leaves its process id. */
  readonly pidFile: string
  #closed = false

  private constructor(socket: string, environment: NodeJS.ProcessEnv, pidFile: string) {
    this.#socket = socket
    this.#environment = environment
    this.pidFile = pidFile
  }

  /**
   * Opens it with a shell script running in it that knows `trunkline`, which leaves its process id in `$CLI_PID`. No
   * interactive shell, because that would repair the terminal's modes by itself. Ends with the test.
   */
  static async open(world: World, script: string, size: ScreenSize = { cols: 80, rows: 24 }): Promise<Screen> {
    const id = randomUUID()
    const pidFile = join(world.home, `${id}.pid`)
    const environment = { ...world.env(), TERM: "xterm-256color", CLI_PID: pidFile, CLI: bin, NODE: process.execPath }
    const file = join(world.home, `${id}.sh`)
    const prelude = `trunkline() { sh -c 'echo $$ > "$CLI_PID"; exec "$NODE" "$CLI" "$@"' trunkline "$@"; }\n`
    // What it last showed stays to be looked at.
    await writeFile(file, `${prelude}${script}\nexec cat\n`)
    const screen = new Screen(join(world.home, `${id}.tmux`), environment, pidFile)
    const session = `-f /dev/null start-server ; set-option -g history-limit ${historyLines} ; new-session -d -x ${size.cols} -y ${size.rows}`
    await screen.#tmux(...session.split(" "), `exec sh ${file}`)
    onTestFinished(async ({ task }) => {
      if (screen.#closed) return
      if (task.result?.state === "fail") console.error(`the screen:\n${await screen.text()}`)
      await screen.closeWindow()
    })
    return screen
  }

  /** Types text as it is. */
  async type(text: string): Promise<void> {
    // A semicolon at the end would separate two commands of tmux's own.
    await this.#tmux("send-keys", "-l", "--", text.replace(/;$/, "\\;"))
  }

  /** Presses keys by tmux's names: `Enter`, `C-c`, `Escape`. */
  async press(...keys: string[]): Promise<void> {
    await this.#tmux("send-keys", "--", ...keys)
  }

  async enter(line: string): Promise<void> {
    await this.type(line)
    await this.press("Enter")
  }

  /** All at once, line feeds as they are. */
  async paste(file: string): Promise<void> {
    await this.#tmux("load-buffer", file)
    await this.#tmux("paste-buffer", "-r")
  }

  async resize({ cols, rows }: ScreenSize): Promise<void> {
    await this.#tmux("resize-window", "-x", String(cols), "-y", String(rows))
  }

  async closeWindow(): Promise<void> {
    await this.#tmux("kill-server")
    this.#closed = true
  }

  /** Everything the window shows from now on goes into the file as well, byte for byte. */
  async record(file: string): Promise<void> {
    await this.#tmux("pipe-pane", `cat > ${file}`)
  }

  /** What is to be seen, without trailing spaces. */
  text(): Promise<string> {
    return this.#tmux("capture-pane", "-p")
  }

  /** The same with the lines above, and with wrapped lines whole. */
  history(): Promise<string> {
    return this.#tmux("capture-pane", "-p", "-J", "-S", "-")
  }

  /** Of the terminal itself: a tmux format such as `#{alternate_on}`. */
  async state(format: string): Promise<string> {
    return (await this.#tmux("display-message", "-p", format)).trimEnd()
  }

  /** Looks until the screen shows it; the test's own time limit ends it. Resolves to the screen. */
  async until(shown: string | RegExp | ((screen: string) => boolean)): Promise<string> {
    while (true) {
      const text = await this.text()
      const holds = typeof shown === "string" ? text.includes(shown) : typeof shown === "function" ? shown(text) : shown.test(text)
      if (holds) return text
      await new Promise((resolve) => setTimeout(resolve, 15))
    }
  }

  async #tmux(...args: string[]): Promise<string> {
    const { stdout } = await run("tmux", ["-u", "-S", this.#socket, ...args], { env: this.#environment, maxBuffer: 67_108_864 })
    return stdout
  }
}
