/** `trunkline shell` as a person uses it: in a real terminal, with a real bash at the other end. */
import { createHash } from "node:crypto"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { Screen, type ScreenSize } from "./tmux.ts"
import { World } from "./world.ts"

let world: World
const bash = { SHELL: "/bin/bash" }
const left = (code: number) => `[exit code ${code}, modes restored]`

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

/** The same under job control: stopped, it waits for Enter and continues. */
const suspendable = (args: string): string => `set -m
trap : INT
before=$(stty -g)
check() { [ "$before" = "$(stty -g)" ] && modes=restored || modes=changed; }
trunkline ${args}
check
echo "[stopped, modes $modes]"
read go
fg
code=$?
check
echo "[exit code $code, modes $modes]"`

async function shell(name = "box", size?: ScreenSize): Promise<Screen> {
  const screen = await open(`shell ${name}`, size)
  await screen.until(promptAtEnd)
  return screen
}
const promptAtEnd = (screen: string): boolean => /remote:\d+>\s*$/.test(screen)

const cliPid = async (screen: Screen): Promise<number> => Number(await readFile(screen.pidFile, "utf8"))

/** A process that has ended may stay listed until somebody reaps it. */
const runs = async (pid: number): Promise<boolean> => {
  const stat = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "")
  return stat !== "" && !/\) [ZX] /.test(stat)
}

beforeAll(async () => {
  world = await World.start()
  await writeFile(join(world.home, ".bash_profile"), "PS1='remote:$?> '\nPROMPT_COMMAND=\nunset HISTFILE\n")
  await world.agent("box", [], bash)
})
afterAll(() => world.stop())

describe("keys and output", () => {
  test("shows a prompt, runs what is typed and ends with the remote shell's exit code", async () => {
    const screen = await shell()
    await screen.enter("echo one-$((1 + 1)); tty")
    await screen.until(/^one-2\n\/dev\/pts\/\d+$/m)
    await screen.enter("exit 7")
    await screen.until(left(7))
  })

  test("the remote terminal has the size of this one, and follows it", async () => {
    const screen = await shell("box", { cols: 97, rows: 31 })
    await screen.enter("stty size")
    await screen.until(/^31 97$/m)
    await screen.enter(`until [ "$(stty size)" = "20 60" ]; do sleep 0.02; done; echo foll''owed`)
    await screen.resize({ cols: 60, rows: 20 })
    await screen.until("followed")
  })

  test("Ctrl-C interrupts the remote program, Ctrl-Z suspends it, and both leave trunkline alone", async () => {
    const screen = await shell()
    await screen.enter("echo run''ning; sleep 1000")
    await screen.until("running")
    await screen.press("C-c")
    await screen.until("remote:130>")
    await screen.enter("echo run''ning-too; sleep 1000")
    await screen.until("running-too")
    await screen.press("C-z")
    await screen.until(/Stopped +sleep 1000/)
    await screen.enter("kill %1; wait; echo sti''ll here")
    await screen.until("still here")
  })

  test("Ctrl-C ends a program that floods the terminal", async () => {
    const screen = await shell()
    await screen.enter("yes flood")
    await screen.until((text) => /^(flood\n){20}/m.test(text))
    await screen.press("C-c")
    await screen.until("remote:130>")
    await screen.enter("echo calm-$((1 + 1))")
    await screen.until("calm-2")
  })

  test("a paste of 200,000 bytes arrives whole", async () => {
    const file = join(world.home, "paste")
    const bytes = Buffer.from(
      Array.from({ length: 200_000 }, (_, index) => (index % 120 === 119 ? 10 : 33 + ((index * 7 + Math.floor(index / 120)) % 93))),
    )
    await writeFile(file, bytes)
    const screen = await shell()
    await screen.enter("stty raw -echo; echo rea''dy; head -c 200000 | sha256sum; stty sane")
    await screen.until("ready")
    await screen.paste(file)
    await screen.until(createHash("sha256").update(bytes).digest("hex").slice(0, 60))
  })

  test("two terminals on one agent never see each other's bytes", async () => {
    const [first, second] = await Promise.all([shell(), shell()])
    const flood = (name: string) => `for i in $(seq 1000); do echo ${name}-$i; done; echo end-of-${name}`
    await Promise.all([first.enter(flood("alpha")), second.enter(flood("omega"))])
    await Promise.all([first.until(/^end-of-alpha$/m), second.until(/^end-of-omega$/m)])
    const lines = (name: string) => Array.from({ length: 1000 }, (_, index) => `${name}-${index + 1}`)
    for (const [screen, own, other] of [
      [first, "alpha", "omega"],
      [second, "omega", "alpha"],
    ] as const) {
      const shown = await screen.history()
      expect(shown).not.toContain(other)
      expect(shown.split("\n").filter((line) => /^\w+-\d+$/.test(line))).toEqual(lines(own))
    }
  })

  test("exec -t gives a program a terminal and loses nothing of its output, run after run", async () => {
    const runs = 30
    // The bytes as trunkline writes them, not as the local terminal changes them.
    const screen = await Screen.open(
      world,
      `read go; stty -opost; for run in $(seq ${runs}); do trunkline exec -t box -- sh -c 'seq 1 20000; tty >&2'; echo "end $?"; done; echo all done`,
    )
    const file = join(world.home, "runs")
    await screen.record(file)
    await screen.press("Enter")
    await screen.until("all done")
    const [echoed = "", ...rest] = (await readFile(file, "latin1")).split("\r\n")
    expect(echoed).toBe("")
    const outputs = rest.join("\n").split("end 0\n")
    expect(outputs).toHaveLength(runs + 1)
    const complete = `${Array.from({ length: 20_000 }, (_, index) => index + 1).join("\n")}\n/dev/pts/N\n`
    for (const [index, output] of outputs.slice(0, runs).entries()) {
      expect(
        output.replace(/\/pts\/\d+/, "/pts/N") === complete,
        `run ${index + 1}: ${output.length} bytes, ending in ${output.slice(-40)}`,
      ).toBe(true)
    }
  })

  test("exec -t without -i: a second Ctrl-C leaves, and what the program did to the terminal is undone", async () => {
    const screen = await open(
      "exec -t box -- sh -c \"trap 'printf caught' INT; printf '\\033[?1049h\\033[?1000hrunning'; while :; do sleep 0.05; done\"",
    )
    await screen.until("running")
    await screen.press("C-c")
    await screen.until("caught")
    await screen.press("C-c")
    await screen.until(left(130))
    expect(await screen.state("#{alternate_on}#{mouse_any_flag}")).toBe("00")
  })

  test("exec -t without -i: after Ctrl-Z and fg the keys are still the terminal's own", async () => {
    const screen = await Screen.open(
      world,
      suspendable(`exec -t box -- sh -c "trap 'echo drawn again' WINCH; echo running; while :; do sleep 0.05; done"`),
    )
    await screen.until("running")
    await screen.press("C-z")
    await screen.until("[stopped, modes restored]")
    await screen.press("Enter")
    await screen.until(/^drawn again$/m)
    await screen.press("C-c")
    await screen.until(left(130))
  })

  test("a window that is resized while the terminal is being opened has the right size", async () => {
    const agent = await world.agent("slow", [], bash)
    agent.child.kill("SIGSTOP")
    const screen = await open("shell slow")
    await screen.until("connecting to slow")
    await screen.resize({ cols: 66, rows: 22 })
    agent.child.kill("SIGCONT")
    await screen.until(promptAtEnd)
    await screen.enter("stty size")
    await screen.until(/^22 66$/m)
  })

  test("without a terminal on stdin it says what to use instead and ends with 2", async () => {
    const refused = await world.run(["shell", "box"])
    expect(refused.code).toBe(2)
    expect(refused.stderr).toContain("stdin is not a terminal")
    expect(refused.stderr).toContain("trunkline exec box")
  })
})

describe("escape keys", () => {
  test("~. leaves with 255, hangs the remote shell up and gives the terminal back", async () => {
    const screen = await shell()
    await screen.enter("echo pid=$$")
    const pid = Number(/^pid=(\d+)$/m.exec(await screen.until(/^pid=\d+$/m))?.[1])
    await screen.type("~.")
    await screen.until(left(255))
    expect(await screen.text()).toContain("left; the remote terminal is hung up")
    await world.until(async () => !(await runs(pid)))
  })

  test("~? shows the keys, ~~ types one tilde, and a tilde within a line is nothing special", async () => {
    const screen = await shell()
    await screen.type("~?")
    await screen.until("~.   leave")
    await screen.enter("echo ca''t; cat")
    await screen.until(/^cat$/m)
    await screen.enter("~~one")
    await screen.until(/^~one\n~one$/m)
    await screen.enter("x~.two")
    await screen.until(/^x~\.two\nx~\.two$/m)
  })

  test("~^Z stops trunkline with the terminal given back; continued, the remote program draws again", async () => {
    const screen = await Screen.open(world, suspendable("exec -it box -- vim -u NONE"))
    await screen.until(/VIM - Vi IMproved/)
    await screen.press("Enter")
    await screen.type("~")
    await screen.press("C-z")
    await screen.until("[stopped, modes restored]")
    expect(await screen.state("#{alternate_on}")).toBe("0")
    await screen.press("Enter")
    await screen.until((text) => (text.match(/^~$/gm)?.length ?? 0) > 10)
    expect(await screen.state("#{alternate_on}")).toBe("1")
    await screen.enter(":q!")
    await screen.until(left(0))
  })

  test("~^Z changes nothing where nobody could continue trunkline", async () => {
    const screen = await shell()
    await screen.type("~")
    await screen.press("C-z")
    await screen.enter("echo still-$((1 + 1))")
    await screen.until("still-2")
  })
})

describe("the terminal is given back", () => {
  test.for([
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("when trunkline is ended by %s, out of the middle of a full-screen program", async ([signal, code]) => {
    const screen = await open("exec -it box -- vim -u NONE -c 'set mouse=a'")
    await screen.until(/VIM - Vi IMproved/)
    await world.until(async () => (await screen.state("#{alternate_on}#{mouse_any_flag}")) === "11")
    process.kill(await cliPid(screen), signal)
    await screen.until(left(code))
    expect(await screen.state("#{alternate_on}#{mouse_any_flag}#{cursor_flag}")).toBe("001")
  })

  test("when the agent and its keeper were killed and the successor does not know the shell", async () => {
    const agent = await world.agent("mortal", [], bash)
    const screen = await shell("mortal")
    process.kill(await world.keeper("mortal"), "SIGKILL")
    agent.child.kill("SIGKILL")
    await agent.finished
    await world.agent("mortal", [], bash)
    await screen.until(left(255))
    expect(await screen.text()).toMatch(/connection lost: the agent does not know this link/)
  })

  test("with ~. while the agent is away", async () => {
    const agent = await world.agent("absent", [], bash)
    const screen = await shell("absent")
    agent.child.kill("SIGKILL")
    await world.until(async () => (await world.endpoint("absent"))?.status === "offline")
    await screen.press("Enter")
    await screen.type("~.")
    await screen.until(left(255))
  })

  test("when the agent is stopped, which is said", async () => {
    const agent = await world.agent("stopping", [], bash)
    const screen = await shell("stopping")
    agent.child.kill("SIGTERM")
    await agent.until(({ stderr }) => stderr.includes("agent.draining"))
    await screen.enter("echo drain''ing")
    await screen.until("draining")
    agent.child.kill("SIGTERM")
    await screen.until(left(255))
    expect(await screen.text()).toContain("the agent was stopped")
  })
})

describe("a gateway that goes away", () => {
  test("killed and started again, it costs a pause: output goes on where it was, and so does what was typed meanwhile", async () => {
    const screen = await shell()
    const { port } = world
    await screen.enter("for i in $(seq 200); do echo n$i; sleep 0.01; done; word=kept")
    await screen.until("n5")
    world.gateway?.child.kill("SIGKILL")
    await world.gateway?.finished
    await screen.enter("echo $word-$((1 + 1))")
    await world.startGateway(port)
    await screen.until("kept-2")
    const numbers = (await screen.history()).split("\n").filter((line) => /^n\d+$/.test(line))
    expect(numbers).toEqual(Array.from({ length: 200 }, (_, index) => `n${index + 1}`))
  })

  test("stopped, the shell waits for it, ~. still leaves, and another shell lives on when it is back", async () => {
    const [impatient, patient] = await Promise.all([shell(), shell()])
    const { port } = world
    world.gateway?.child.kill("SIGTERM")
    await world.gateway?.finished
    await impatient.press("Enter")
    await impatient.type("~.")
    await impatient.until(left(255))
    await world.startGateway(port)
    await patient.enter("echo back-$((1 + 1))")
    await patient.until("back-2")
    await patient.enter("exit 3")
    await patient.until(left(3))
  })
})
