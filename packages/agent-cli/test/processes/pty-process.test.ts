/** Commands and shells on a terminal: what they read, write, and lose nothing of. */
import { createHash, randomBytes } from "node:crypto"
import { homedir } from "node:os"
import { setTimeout as delay } from "node:timers/promises"
import { afterEach, describe, expect, it } from "vitest"
import type { AgentProcess } from "../../src/processes/process.ts"
import {
  exec,
  isDead,
  isGroupEmpty,
  killLeftovers,
  numberIn,
  pauseEachChunk,
  pty,
  stateOf,
  until,
  untilStable,
  writtenBytesOf,
} from "./observed-process.ts"

afterEach(killLeftovers)

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")
const lines = (count: number): string => Array.from({ length: count }, (_, index) => `${index + 1}\r\n`).join("")

describe("the end of a terminal", () => {
  it("loses nothing in 100 runs", async () => {
    const expected = lines(30_000)
    const whole: boolean[] = []
    for (let run = 0; run < 100; run++) {
      const terminal = await pty(["sh", "-c", "seq 1 30000; exit"])
      expect(await terminal.ended).toEqual({ type: "code", code: 0 })
      whole.push(terminal.stdout() === expected)
    }
    expect(whole.filter((isWhole) => isWhole)).toHaveLength(100)
  }, 60_000)

  it("loses nothing when the process ends while paused, however long", async () => {
    const terminal = await pty(["seq", "1", "2000"])
    terminal.process.pauseOutput()
    await until(() => isDead(terminal.process.pid))
    // The library below closes a terminal 200 ms after the end: only time can show that this one is not closed.
    await delay(300)
    expect([terminal.stdout(), terminal.exits]).toEqual(["", []])
    terminal.process.resumeOutput()
    expect(await terminal.ended).toEqual({ type: "code", code: 0 })
    expect(terminal.stdout()).toBe(lines(2_000))
  })

  it("loses nothing to a reader that pauses after every chunk, before the end and after it", async () => {
    const terminal = await pty(["seq", "1", "4000"], {}, {}, pauseEachChunk)
    expect(await terminal.ended).toEqual({ type: "code", code: 0 })
    expect(terminal.stdout()).toBe(lines(4_000))
  })

  it("loses nothing to a reader that pauses and resumes from within", async () => {
    const pauseWithin = (process: AgentProcess): void => {
      process.pauseOutput()
      process.resumeOutput()
    }
    const terminal = await pty(["seq", "1", "2000"], {}, {}, pauseWithin)
    terminal.process.pauseOutput()
    await until(() => isDead(terminal.process.pid))
    await untilStable(() => terminal.exits.length)
    terminal.process.resumeOutput()
    await terminal.ended
    expect(terminal.stdout()).toBe(lines(2_000))
    expect(terminal.exits).toHaveLength(1)
  })

  it("does not wait for a background process that keeps the terminal, even one that never stops writing", async () => {
    const terminal = await pty(["sh", "-c", "trap '' HUP; yes & echo $! > /dev/stderr; exit 4"])
    expect(await terminal.ended).toEqual({ type: "code", code: 4 })
    const writer = numberIn(terminal.stdout(), /(\d+)/)
    // Its terminal is closed, which ends it.
    await until(() => isDead(writer))
  })

  it("is told with the signal's name", async () => {
    const terminal = await pty(["sleep", "1000"])
    terminal.process.signal("SIGTERM")
    expect(await terminal.ended).toEqual({ type: "signal", signal: "SIGTERM" })
  })

  it("comes by the time limit, HUP first, then by force", async () => {
    const polite = await pty(["sh", "-c", "trap 'echo hup; exit 0' HUP; while :; do sleep 0.01; done"], { timeoutMs: 300 })
    const stubborn = await pty(["sh", "-c", "trap '' HUP TERM; sleep 1000 & sleep 1000"], { timeoutMs: 300 })
    expect(await polite.ended).toEqual({ type: "timeout", timeoutMs: 300 })
    expect(polite.stdout()).toContain("hup\r\n")
    expect(await stubborn.ended).toEqual({ type: "timeout", timeoutMs: 300 })
    await until(() => isGroupEmpty(stubborn.process.pid))
  })

  it("comes by a hang-up, for an interactive shell and its jobs", async () => {
    const terminal = await pty(["bash", "--norc", "--noprofile", "-i"])
    terminal.process.write(Buffer.from("sleep 1001 &\r"), () => {})
    terminal.process.write(Buffer.from("echo background:$!:\r"), () => {})
    await until(() => /background:\d+:/.test(terminal.stdout()))
    const background = numberIn(terminal.stdout(), /background:(\d+):/)
    terminal.process.write(Buffer.from("sh -c 'echo foreground:$$:; exec sleep 1002'\r"), () => {})
    await until(() => /foreground:\d+:/.test(terminal.stdout()))
    const foreground = numberIn(terminal.stdout(), /foreground:(\d+):/)
    terminal.process.hangUp()
    await terminal.ended
    await until(() => isDead(background) && isDead(foreground) && isGroupEmpty(terminal.process.pid))
  })
})

describe("a terminal", () => {
  it("has the size asked for, and each one it is given later", async () => {
    const terminal = await pty(["sh", "-c", "trap 'stty size' WINCH; stty size; while :; do sleep 0.01; done"], { cols: 132, rows: 43 })
    await until(() => terminal.stdout() === "43 132\r\n")
    terminal.process.resize(200, 50)
    await until(() => terminal.stdout() === "43 132\r\n50 200\r\n")
    terminal.process.hangUp()
    await terminal.ended
    expect(() => terminal.process.resize(10, 10)).not.toThrow()
  })

  it("turns a typed ^C into an interrupt", async () => {
    const terminal = await pty(["sh", "-c", "trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.01; done"])
    await until(() => terminal.stdout().includes("ready"))
    terminal.process.write(Buffer.from([3]), () => {})
    expect(await terminal.ended).toEqual({ type: "code", code: 7 })
    expect(terminal.stdout()).toContain("interrupted")
  })

  it("is the command's controlling terminal, and TERM says what it can do", async () => {
    const terminal = await pty(["sh", "-c", "echo $TERM; tty < /dev/tty; ps -o tty= -p $$"])
    await terminal.ended
    const [term, , device] = terminal.stdout().split("\r\n")
    expect(term).toBe("xterm-256color")
    expect(device).toMatch(/^pts\/\d+/)
  })

  it("starts the user's shell as a login shell in the home directory when no command is named", async () => {
    const terminal = await pty(undefined, {}, { agentEnv: { ...process.env, SHELL: "/bin/bash" } })
    terminal.process.write(Buffer.from("shopt -q login_shell; echo login:$?: home:$PWD:; exit 6\r"), () => {})
    expect(await terminal.ended).toEqual({ type: "code", code: 6 })
    expect(terminal.stdout()).toContain(`login:0: home:${homedir()}:`)
  })

  it("takes a large paste whole and gives every byte back", async () => {
    const paste = Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, value) => value)), randomBytes(300_000)])
    const terminal = await pty(["sh", "-c", "stty raw -echo; printf ready; exec cat"])
    await until(() => terminal.stdout() === "ready")
    const { promise: written, resolve } = Promise.withResolvers<void>()
    terminal.process.write(paste, resolve)
    await written
    await until(() => terminal.receivedBytes() >= 5 + paste.length)
    expect(sha256(terminal.stdoutBytes().subarray(5))).toBe(sha256(paste))
    terminal.process.hangUp()
    await terminal.ended
  })

  it("says written in order, and only as far as the process makes room", async () => {
    const terminal = await pty(["sh", "-c", "stty raw -echo; printf ready; kill -STOP $$; exec head -c 640000 > /dev/null"])
    await until(() => terminal.stdout() === "ready" && stateOf(terminal.process.pid) === "T")
    const written: number[] = []
    for (let index = 0; index < 64; index++) terminal.process.write(Buffer.alloc(10_000), () => written.push(index))
    await untilStable(() => written.length)
    expect(written.length).toBeLessThan(32)
    terminal.process.signal("SIGCONT")
    expect(await terminal.ended).toEqual({ type: "code", code: 0 })
    expect(written).toEqual(Array.from({ length: 64 }, (_, index) => index))
    const { promise: late, resolve } = Promise.withResolvers<void>()
    terminal.process.write(Buffer.from("late"), resolve)
    await late
  })

  it("says written for what a dead process can no longer take, read or not", async () => {
    const terminal = await pty(["sh", "-c", "stty raw -echo; printf ready; exec sleep 1000"])
    await until(() => terminal.stdout() === "ready")
    terminal.process.pauseOutput()
    let written = 0
    for (let index = 0; index < 64; index++) terminal.process.write(Buffer.alloc(10_000), () => written++)
    terminal.process.signal("SIGKILL")
    await until(() => written === 64)
    terminal.process.resumeOutput()
    expect(await terminal.ended).toEqual({ type: "signal", signal: "SIGKILL" })
  })

  it("stops a process that is not read", async () => {
    const terminal = await pty(["yes"])
    await until(() => terminal.receivedBytes() > 0)
    terminal.process.pauseOutput()
    const received = terminal.receivedBytes()
    await untilStable(() => writtenBytesOf(terminal.process.pid))
    expect(stateOf(terminal.process.pid)).toBe("S")
    expect(terminal.receivedBytes()).toBe(received)
    terminal.process.resumeOutput()
    await until(() => terminal.receivedBytes() > received + 1_048_576)
    terminal.process.hangUp()
    expect(await terminal.ended).toEqual({ type: "signal", signal: "SIGHUP" })
  })

  it("never sees another terminal's bytes", async () => {
    const terminals = await Promise.all(
      ["one", "two", "three"].map((name) => pty(["sh", "-c", `echo ${name}; read line; echo ${name}-$line`])),
    )
    for (const terminal of terminals) terminal.process.write(Buffer.from("typed\r"), () => {})
    await Promise.all(terminals.map((terminal) => terminal.ended))
    for (const [index, name] of ["one", "two", "three"].entries()) {
      expect(terminals[index]?.stdout().replace("typed\r\n", "")).toBe(`${name}\r\n${name}-typed\r\n`)
    }
  })

  it("leaves no descriptor behind", async () => {
    const descriptors = async (): Promise<string[]> => {
      const run = await exec(["sh", "-c", "ls -l /proc/$PPID/fd"])
      await run.ended
      return run
        .stdout()
        .split("\n")
        .filter((line) => /ptmx|pts/.test(line))
    }
    const before = await descriptors()
    for (let run = 0; run < 5; run++) await (await pty(["true"])).ended
    expect(await descriptors()).toEqual(before)
  })
})
