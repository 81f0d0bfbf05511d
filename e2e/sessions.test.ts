/** Terminals that outlive their clients: detach and come back, watch, share, and what an old question must not do. */
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { Screen, type ScreenSize } from "./tmux.ts"
import { World } from "./world.ts"

let world: World
const left = (code: number) => `[exit code ${code}, modes restored]`
const promptAtEnd = (screen: string): boolean => /remote:\d+>\s*$/.test(screen)

/** Runs it and says how it ended and whether the terminal's modes are what they were. */
const open = (args: string, size?: ScreenSize): Promise<Screen> =>
  Screen.open(
    world,
    `trap : INT
before=$(stty -g)
trunkline ${args}
code=$?
[ "$before" = "$(stty -g)" ] && modes=restored || modes=changed
echo "[exit code $code, modes $modes]"`,
    size,
  )

async function shell(size?: ScreenSize): Promise<Screen> {
  const screen = await open("shell box", size)
  await screen.until(promptAtEnd)
  return screen
}

const cliPid = async (screen: Screen): Promise<number> => Number(await readFile(screen.pidFile, "utf8"))
const runs = async (pid: number): Promise<boolean> => {
  const stat = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "")
  return stat !== "" && !/\) [ZX] /.test(stat)
}
const remotePid = async (screen: Screen): Promise<number> => {
  await screen.enter("echo pid=$$")
  return Number(/^pid=(\d+)$/m.exec(await screen.until(/^pid=\d+$/m))?.[1])
}

interface Listed {
  readonly id: string
  readonly pid: number
  readonly state: "running" | "ended"
  readonly attached: number
}
const listed = async (): Promise<Listed[]> => JSON.parse((await world.run(["ps", "box", "-o", "json"])).stdout.toString()).processes
const described = async (pid: number): Promise<Listed | undefined> => (await listed()).find((each) => each.pid === pid)
const idOf = async (pid: number): Promise<string> => (await described(pid))?.id ?? "unknown"

/** The command that a screen which was left shows. */
const comeBackOf = async (screen: Screen): Promise<string> =>
  /to come back: trunkline ([^\n]+)/.exec((await screen.history()).replaceAll(/\s*\n(?=\S*\b(?:--session|[0-9a-f]{12}))/g, " "))?.[1] ?? ""

beforeAll(async () => {
  world = await World.start()
  await writeFile(join(world.home, ".bash_profile"), "PS1='remote:$?> '\nPROMPT_COMMAND=\nunset HISTFILE\nexport LC_ALL=C.UTF-8\n")
  await world.agent("box", [], { SHELL: "/bin/bash" })
})
afterAll(() => world.stop())

describe("~d", () => {
  test("detaches; the command it prints comes back to the same shell, with its screen", async () => {
    const screen = await shell()
    const pid = await remotePid(screen)
    await screen.enter("word=kept; echo on the scr''een")
    await screen.until("on the screen")
    await screen.type("~d")
    await screen.until(left(255))
    const comeBack = await comeBackOf(screen)
    expect(comeBack).toBe(`shell box --session ${await idOf(pid)}`)
    const again = await open(comeBack)
    await again.until((text) => text.includes("on the screen") && promptAtEnd(text))
    await again.enter("echo $word-$$")
    await again.until(`kept-${pid}`)
    await again.enter("exit 4")
    await again.until(left(4))
  })

  test("out of the middle of vim gives the terminal back, and vim is there again in a window of another size", async () => {
    const screen = await shell()
    const pid = await remotePid(screen)
    await screen.enter("vim -u NONE -N notes")
    await screen.until(/"notes" \[New\]/)
    await screen.type("ione grüße two")
    await screen.press("Enter")
    // The tilde is ours at the start of a line alone, which is where Enter has put it.
    await screen.type("~d")
    await screen.until(left(255))
    expect(await screen.state("#{alternate_on}")).toBe("0")
    const again = await open(await comeBackOf(screen), { cols: 60, rows: 15 })
    await again.until((text) => text.startsWith("one grüße two\n") && text.split("\n")[13] === "~")
    expect(await again.state("#{alternate_on}")).toBe("1")
    await again.press("Escape")
    await again.enter(":q!")
    await again.until(promptAtEnd)
    await again.type("~.")
    await again.until(left(255))
    await world.until(async () => !(await runs(pid)))
  })

  test("of a program that exec -it runs keeps it, and attach comes back to it", async () => {
    const screen = await open("exec -it box -- sh -c 'echo pid=$$; read line; echo got-$line; exit 9'")
    const pid = Number(/^pid=(\d+)$/m.exec(await screen.until(/^pid=\d+$/m))?.[1])
    await screen.type("~d")
    await screen.until(left(255))
    const comeBack = await comeBackOf(screen)
    expect(comeBack).toBe(`attach box ${await idOf(pid)}`)
    const again = await open(comeBack)
    await again.until(/^pid=/m)
    await again.enter("this")
    await again.until("got-this")
    await again.until(left(9))
  })

  test("is listed by ~?", async () => {
    const screen = await shell()
    await screen.type("~?")
    await screen.until("~d   detach")
  })
})

describe("a client that is lost", () => {
  test.for([
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("by %s leaves its shell running and says how to come back", async ([signal, code]) => {
    const screen = await shell()
    const pid = await remotePid(screen)
    process.kill(await cliPid(screen), signal)
    await screen.until(left(code))
    expect(await comeBackOf(screen)).toBe(`shell box --session ${await idOf(pid)}`)
    expect(await described(pid)).toMatchObject({ state: "running", attached: 0 })
  })

  test("with its window leaves its shell running", async () => {
    const screen = await shell()
    const pid = await remotePid(screen)
    const local = await cliPid(screen)
    await screen.closeWindow()
    await world.until(async () => !(await runs(local)))
    expect(await described(pid)).toMatchObject({ state: "running", attached: 0 })
    const again = await open(`shell box --session ${await idOf(pid)}`)
    await again.until(`pid=${pid}`)
  })

  test("by SIGKILL leaves its shell running, and another client works in it at once", async () => {
    const screen = await shell()
    const pid = await remotePid(screen)
    process.kill(await cliPid(screen), "SIGKILL")
    const again = await open(`shell box --session ${await idOf(pid)}`)
    await again.until(promptAtEnd)
    // More than the one that was killed could have been sent.
    await again.enter("seq 1 200000")
    await again.until(/^200000$/m)
  })
})

describe("~.", () => {
  test("hangs up a shell that was come back to as well", async () => {
    const screen = await shell()
    const pid = await remotePid(screen)
    await screen.type("~d")
    await screen.until(left(255))
    const again = await open(await comeBackOf(screen))
    await again.until(promptAtEnd)
    await again.press("Enter")
    await again.type("~.")
    await again.until(left(255))
    expect(await again.text()).toContain("the remote terminal is hung up")
    await world.until(async () => !(await runs(pid)))
  })

  test("leaves a shell that one is only attached to", async () => {
    const screen = await shell()
    const pid = await remotePid(screen)
    const second = await open(`attach box ${await idOf(pid)}`)
    await second.until(promptAtEnd)
    await second.press("Enter")
    await second.type("~.")
    await second.until(left(255))
    expect(await second.text()).toContain("the remote terminal goes on")
    await screen.enter("echo still-$((1 + 1))")
    await screen.until("still-2")
  })
})

describe("several clients of one terminal", () => {
  test("see the same and both type; it has the size of who typed last", async () => {
    const first = await shell({ cols: 90, rows: 30 })
    const pid = await remotePid(first)
    const second = await open(`attach box ${await idOf(pid)}`, { cols: 60, rows: 20 })
    await world.until(async () => (await described(pid))?.attached === 2)
    await first.enter("stty size")
    await first.until(/^30 90$/m)
    await second.enter("clear; stty size")
    await second.until(/^20 60$/m)
    await first.until(/^20 60$/m)
    await first.enter("clear; stty size")
    await first.until(/^30 90$/m)
    await second.until(/^30 90$/m)
    // A window that changes while another decides is remembered for when its own turn comes.
    await second.resize({ cols: 50, rows: 18 })
    await second.enter("clear; stty size")
    await second.until(/^18 50$/m)
  })

  test("one that is read-only sees all, types nothing, never decides the size, and leaves by Ctrl-C", async () => {
    const first = await shell({ cols: 90, rows: 30 })
    const pid = await remotePid(first)
    const watcher = await open(`attach box ${await idOf(pid)} --read-only`, { cols: 100, rows: 35 })
    await watcher.until(promptAtEnd)
    await watcher.enter("echo never")
    await first.enter("echo seen-$((1 + 1)); stty size")
    await watcher.until(/^seen-2\n30 90$/m)
    expect(await first.text()).not.toContain("never")
    await first.type("~d")
    await first.until(left(255))
    expect(await described(pid)).toMatchObject({ attached: 1, size: { cols: 90, rows: 30 } })
    await watcher.press("C-c")
    await watcher.until(left(130))
    expect(await described(pid)).toMatchObject({ state: "running", attached: 0 })
  })
})

describe("what was written before", () => {
  test("is shown from an offset on, and the questions in it are not answered again", async () => {
    const screen = await shell()
    const pid = await remotePid(screen)
    // Two questions whose answers are typed at the prompt, unless somebody reads them.
    await screen.enter(
      "printf '\\033[6n\\033[c'; IFS= read -rs -d c answer; echo answ''ered; read -rs -t 0.3 rest; echo list''ening; cat -v",
    )
    await screen.until(/answered[\s\S]*listening/)
    const again = await open(`attach box ${await idOf(pid)} --from 0`)
    await again.until(/answered[\s\S]*listening/)
    await again.enter("typed")
    await again.until(/^typed\ntyped$/m)
    expect(await screen.text()).not.toMatch(/\^\[\[/)
  })

  test("without a terminal here goes to stdout as it was", async () => {
    const screen = await shell()
    const pid = await remotePid(screen)
    await screen.enter("printf 'plain-%s\\n' one two; exit 3")
    await screen.until(left(3))
    const whole = await world.run(["attach", "box", await idOf(pid), "--from", "0"])
    expect(whole.code).toBe(3)
    expect(whole.stdout.toString()).toContain("plain-one\r\nplain-two\r\n")
    expect(whole.stderr).toMatch(/ended .*with exit code 3/)
  })
})

describe("shell --session", () => {
  test("of one that has ended shows its last screen and says when it ended", async () => {
    const screen = await shell()
    const pid = await remotePid(screen)
    await screen.enter("echo last words; exit 6")
    await screen.until(left(6))
    const id = await idOf(pid)
    const again = await open(`shell box --session ${id}`)
    const shown = await again.until(left(6))
    expect(shown).toContain("last words")
    expect(shown).toMatch(new RegExp(`process ${id} ended .*with exit code 6`))
  })

  test("refuses a process without a terminal, one that is not known, and a command beside it", async () => {
    const { stdout } = await world.run(["exec", "box", "-d", "--", "true"])
    const id = stdout.toString().trim()
    const plain = await open(`shell box --session ${id}`)
    expect((await plain.until(left(2))).replaceAll("\n", "")).toContain(`trunkline attach box ${id}`)
    const unknown = await open("shell box --session 0123456789ab")
    expect((await unknown.until(left(255))).replaceAll("\n", "")).toContain("no process 0123456789ab is known")
    const both = await open("shell box --session 0123456789ab -- htop")
    expect((await both.until(left(2))).replaceAll("\n", "")).toContain("contradict")
  })
})
