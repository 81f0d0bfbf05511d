/** Full-screen programs through `trunkline shell`: what they draw is there, and the terminal is as it was when they end. */
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { Screen } from "./tmux.ts"
import { World } from "./world.ts"

describe("terminal programs", () => {
  let world: World
  beforeAll(async () => {
    world = await World.start()
    await writeFile(join(world.home, ".bash_profile"), "PS1='remote:$?> '\nPROMPT_COMMAND=\nunset HISTFILE\nexport LC_ALL=C.UTF-8\n")
    await world.agent("box", [], { SHELL: "/bin/bash" })
  })
  afterAll(() => world.stop())

  const promptAtEnd = (screen: string): boolean => /remote:\d+>\s*$/.test(screen)

  async function shell(): Promise<Screen> {
    const screen = await Screen.open(world, "trunkline shell box", { cols: 100, rows: 30 })
    await screen.until(promptAtEnd)
    return screen
  }

  /** The program has left the alternate screen and the shell is back below what it was. */
  async function ended(screen: Screen): Promise<void> {
    await screen.until(promptAtEnd)
    await expectPlain(screen)
  }

  const expectPlain = async (screen: Screen) =>
    expect(await screen.state("#{alternate_on} #{cursor_flag} #{keypad_cursor_flag} #{mouse_any_flag}")).toBe("0 1 0 0")

  test("vim inserts, moves by cursor keys, writes and quits", async () => {
    const screen = await shell()
    const file = join(world.home, "written-by-vim")
    await screen.enter(`vim -u NONE -N ${file}`)
    await screen.until(/"written-by-vim"|written-by-vim" \[New\]/)
    await screen.type("ione grüße")
    await screen.press("Enter")
    await screen.type("three")
    await screen.press("Escape", "Up", "o")
    await screen.type("two")
    await screen.press("Escape")
    await screen.until(/^one grüße\ntwo\nthree\n~$/m)
    await screen.resize({ cols: 70, rows: 20 })
    // The last of its lines without text stands right above its command line, wherever that is now.
    await screen.until((text) => text.split("\n")[18] === "~")
    await screen.enter(":wq")
    await ended(screen)
    expect(await readFile(file, "utf8")).toBe("one grüße\ntwo\nthree\n")
  })

  test("less pages forth and back, searches and quits", async () => {
    const screen = await shell()
    await screen.enter("seq 1 5000 | less")
    await screen.until(/^1\n2\n[\s\S]*\n29\n:\n$/)
    await screen.press("Space")
    await screen.until(/^30\n31\n[\s\S]*\n58\n:\n$/)
    await screen.press("b")
    await screen.until(/^1\n2\n/)
    await screen.enter("/4321")
    await screen.until(/^4321\n4322\n/)
    await screen.press("q")
    await ended(screen)
  })

  test("htop, as the shell's own command, draws its meters and processes, shows its help and quits", async () => {
    const screen = await Screen.open(world, 'trunkline shell box -- htop; echo "[exit code $?]"', { cols: 100, rows: 30 })
    await screen.until(/PID +USER[\s\S]*F1Help/)
    expect(await screen.state("#{alternate_on}")).toBe("1")
    await screen.press("F1")
    await screen.until(/^htop \d+\.\d+.*Hisham/m)
    await screen.press("Escape")
    await screen.until(/PID +USER[\s\S]*F1Help/)
    await screen.press("q")
    await screen.until("[exit code 0]")
    await expectPlain(screen)
  })

  test("tmux is attached, detached and attached again with its windows as they were", async () => {
    const screen = await shell()
    const socket = join(world.home, "inner-tmux")
    onTestFinished(async () => void (await world.run(["exec", "box", "--", "tmux", "-S", socket, "kill-server"])))
    await screen.enter(`tmux -f /dev/null -S ${socket} new-session -s inner 'PS1="inner> " exec sh'`)
    await screen.until(/^inner>[\s\S]*\[inner\] 0:/m)
    await screen.enter("echo inside-$((1 + 1))")
    await screen.until(/^inside-2$/m)
    await screen.press("C-b", "d")
    await screen.until(/\[detached \(from session inner\)\]/)
    await ended(screen)
    await screen.enter(`tmux -S ${socket} attach -t inner`)
    await screen.until(/^inside-2$[\s\S]*\[inner\] 0:/m)
    await screen.enter("exit")
    await screen.until(/\[exited\]/)
    await ended(screen)
  })
})
