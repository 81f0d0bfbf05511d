/** An agent on which everything happens at once: output, input, a detached job that somebody follows, and vim in a shell. */
import { randomBytes } from "node:crypto"
import { mkdir, readFile, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { expect, onTestFinished } from "vitest"
import { CutProxy } from "./cut-proxy.ts"
import { numbers, printsMore, sha256 } from "./lines.ts"
import { Screen } from "./tmux.ts"
import type { Command, World } from "./world.ts"

/** The last number that the command with much output prints. */
const lastNumber = 2_000_000
/** Bytes a second for each client: what it is sent outlasts every outage of a test. */
const clientBytesPerSecond = 200_000
const inputBytes = 5_000_000

const size = (file: string): Promise<number> =>
  stat(file).then(
    ({ size }) => size,
    () => 0,
  )

/** What a person sees: the characters, where the cursor is, and what the terminal was told to be. */
const look = async (screen: Screen): Promise<string> =>
  `${await screen.text()}${await screen.state("#{cursor_x},#{cursor_y} #{alternate_on} #{cursor_flag} #{keypad_cursor_flag} #{mouse_any_flag}")}`

export class BusyAgent {
  readonly name: string
  readonly clientLine: CutProxy
  readonly #world: World
  readonly #home: string
  readonly #input = randomBytes(inputBytes)
  #serve: Command | undefined
  #output: Command | undefined
  #consumer: Command | undefined
  #job = ""
  #follower: Command | undefined
  #vim: Screen | undefined
  #typed = ""

  private constructor(world: World, name: string, home: string, clientLine: CutProxy) {
    this.#world = world
    this.name = name
    this.#home = home
    this.clientLine = clientLine
  }

  /** With all of it running. Ends with the test. */
  static async start(world: World, name: string): Promise<BusyAgent> {
    const home = join(world.home, name)
    await mkdir(home)
    await writeFile(join(world.home, ".bash_profile"), "PS1='remote:$?> '\nPROMPT_COMMAND=\nunset HISTFILE\nexport LC_ALL=C.UTF-8\n")
    const clientLine = await CutProxy.start(world.port, clientBytesPerSecond)
    onTestFinished(() => clientLine.stop())
    const busy = new BusyAgent(world, name, home, clientLine)
    // The job outlives the test's processes otherwise.
    onTestFinished(() => busy.#finishJob())
    await busy.serve()
    await Promise.all([busy.#startOutput(), busy.#startInput(), busy.#startJob(), busy.#startVim()])
    return busy
  }

  /** Starts `serve`, again after it was killed, and resolves when the gateway lists it. */
  async serve(): Promise<void> {
    const again = this.#serve !== undefined
    const env = { SHELL: "/bin/bash", TRUNKLINE_SECRET: this.#world.secret }
    const serve = this.#world.command(["serve", "--name", this.name], { env })
    this.#serve = serve
    if (again) await serve.until(({ stderr }) => stderr.includes("keeper.adopted"))
    await serve.until(({ stderr }) => stderr.includes("gateway.connected"))
  }

  /** To the gateway, of the `serve` that there is. */
  get connections(): number {
    return this.#serve?.stderr.match(/gateway\.connected/g)?.length ?? 0
  }

  get servePid(): number {
    return this.#serve?.pid ?? 0
  }

  /** Kills `serve` as nothing else does. */
  async killServe(): Promise<void> {
    this.#serve?.child.kill("SIGKILL")
    await this.#serve?.finished
  }

  /** Types into vim, whether or not anything can arrive. */
  async type(word: string): Promise<void> {
    this.#typed += ` ${word}`
    await this.#vim?.type(` ${word}`)
  }

  /** Resolves when all that was typed is on the screen and everything else has gone on as well. */
  async goesOn(): Promise<void> {
    const consumed = join(this.#home, "consumed")
    const consumedBytes = await size(consumed)
    await Promise.all([
      printsMore(started(this.#output)),
      this.#world.until(async () => (await size(consumed)) > consumedBytes),
      printsMore(started(this.#follower)),
      this.#vim?.until((text) => text.startsWith(`begun${this.#typed}\n`)),
    ])
  }

  /** Lets everything come to its end and looks at each byte of it. */
  async endsWell(): Promise<void> {
    this.clientLine.setRate(undefined)
    await this.#vimIsAsIfNothingHadHappened()
    await this.#finishJob()
    const follower = await started(this.#follower).finished
    const ticks = /\nend (\d+)\n$/.exec(follower.stdout.toString())?.[1]
    const job = `${Array.from({ length: Number(ticks) }, (_, index) => `tick ${index + 1}\n`).join("")}end ${ticks}\n`
    expect({ code: follower.code, stdout: follower.stdout.toString(), stderr: follower.stderr }).toEqual({
      code: 6,
      stdout: job,
      stderr: "",
    })
    const again = await this.#command(["attach", this.name, this.#job]).finished
    expect({ code: again.code, stdout: again.stdout.toString() }).toEqual({ code: 6, stdout: job })
    const output = await started(this.#output).finished
    expect({ code: output.code, stderr: output.stderr }).toEqual({ code: 3, stderr: "" })
    expect(sha256(output.stdout)).toBe(sha256(Buffer.from(numbers(lastNumber))))
    const { code, stdout, stderr } = await started(this.#consumer).finished
    expect({ code, stdout: stdout.toString(), stderr }).toEqual({ code: 4, stdout: `${sha256(this.#input)}  -\n`, stderr: "" })
    // Each once, in the order in which they happened to start.
    expect((await readFile(join(this.#home, "runs"), "utf8")).split("\n").sort()).toEqual(["", "input", "job", "output"])
  }

  #finishJob(): Promise<void> {
    return writeFile(join(this.#home, "go"), "")
  }

  #command(args: readonly string[], stdin: "pipe" | "ignore" = "ignore"): Command {
    const env = { TRUNKLINE_GATEWAY: this.clientLine.url, TRUNKLINE_SECRET: this.#world.secret }
    return this.#world.command(args, { env, stdin })
  }

  #script(script: string): readonly string[] {
    return [this.name, "--", "sh", "-c", `cd "$0"; ${script}`, this.#home]
  }

  async #startOutput(): Promise<void> {
    this.#output = this.#command(["exec", ...this.#script(`echo output >> runs; seq 1 ${lastNumber}; exit 3`)])
    await printsMore(this.#output)
  }

  async #startInput(): Promise<void> {
    const consumer = this.#command(["exec", "-i", ...this.#script("echo input >> runs; tee consumed | sha256sum; exit 4")], "pipe")
    this.#consumer = consumer
    // It is the command's end that says what happened.
    consumer.child.stdin?.on("error", () => {})
    consumer.child.stdin?.end(this.#input)
    await this.#world.until(async () => (await size(join(this.#home, "consumed"))) > 0)
  }

  async #startJob(): Promise<void> {
    const ticking = 'echo job >> runs; i=0; until [ -e go ]; do i=$((i + 1)); echo "tick $i"; sleep 0.05; done; echo "end $i"; exit 6'
    const { code, stdout } = await this.#command(["exec", "-d", ...this.#script(ticking)]).finished
    expect(code).toBe(0)
    this.#job = stdout.toString().trim()
    this.#follower = this.#command(["attach", this.name, this.#job])
    await printsMore(this.#follower)
  }

  async #startVim(): Promise<void> {
    const secret = join(this.#world.home, "gateway", "secret")
    const screen = await Screen.open(
      this.#world,
      `export TRUNKLINE_GATEWAY=${this.clientLine.url} TRUNKLINE_SECRET="$(cat ${secret})"
before=$(stty -a)
trunkline shell ${this.name}
code=$?
[ "$before" = "$(stty -a)" ] && modes=restored || modes=changed
echo "[exit code $code, modes $modes]"`,
    )
    this.#vim = screen
    await screen.until(/remote:0>\s*$/)
    await screen.enter(`cd ${this.#home}; clear`)
    await screen.until(/^remote:0>\s*$/)
    await screen.enter("vim -u NONE -N note")
    await screen.until('"note" [New]')
    await screen.type("ibegun")
    await screen.until(/^begun$/m)
  }

  /** Compares with a vim on this side in which the same was typed, then leaves. */
  async #vimIsAsIfNothingHadHappened(): Promise<void> {
    const vim = this.#vim
    if (vim === undefined) throw new Error("no vim")
    const elsewhere = join(this.#home, "undisturbed")
    await mkdir(elsewhere)
    const undisturbed = await Screen.open(this.#world, `cd ${elsewhere}; export LC_ALL=C.UTF-8; vim -u NONE -N note`)
    await undisturbed.until('"note" [New]')
    for (const screen of [vim, undisturbed]) {
      if (screen === undisturbed) await screen.type(`ibegun${this.#typed}`)
      await screen.press("Enter")
      await screen.type("the end")
      await screen.press("Escape", "0")
      await screen.until((text) => text.startsWith(`begun${this.#typed}\nthe end\n`))
    }
    const expected = await look(undisturbed)
    // The cursor moves after what the keys wrote.
    await this.#world.until(async () => (await look(vim)) === expected || !(await vim.text()).startsWith("begun"))
    expect(await look(vim)).toBe(expected)
    await vim.enter(":wq")
    await vim.until(/remote:0>\s*$/)
    expect(await readFile(join(this.#home, "note"), "utf8")).toBe(`begun${this.#typed}\nthe end\n`)
    await vim.enter("exit 7")
    await vim.until("[exit code 7, modes restored]")
  }
}

function started(command: Command | undefined): Command {
  if (command === undefined) throw new Error("not started")
  return command
}
