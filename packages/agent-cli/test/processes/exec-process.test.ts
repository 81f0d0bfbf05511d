/** What a command without a terminal reads and writes. How it ends is in exec-ending.test.ts. */
import { createHash, randomBytes } from "node:crypto"
import { homedir } from "node:os"
import { afterEach, describe, expect, it } from "vitest"
import { exec, isDead, killLeftovers, pauseEachChunk, pty, stateOf, until, untilStable, writtenBytesOf } from "./observed-process.ts"

afterEach(killLeftovers)

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")
const everyByte = Buffer.from(Array.from({ length: 256 }, (_, value) => value))

describe("output of exec", () => {
  it("gives stdout and stderr apart", async () => {
    const run = await exec(["sh", "-c", "echo out; echo err >&2"])
    expect(await run.ended).toEqual({ type: "code", code: 0 })
    expect([run.stdout(), run.stderr()]).toEqual(["out\n", "err\n"])
  })

  it("passes argv on as it is, without a shell", async () => {
    const run = await exec(["printf", "%s|", "a b", "$HOME", "*", "", "é"])
    await run.ended
    expect(run.stdout()).toBe("a b|$HOME|*||é|")
  })

  it("lets the command see the name it was called by", async () => {
    const run = await exec(["sh", "-c", "echo $0"])
    await run.ended
    expect(run.stdout()).toBe("sh\n")
  })

  it("runs in the user's home unless told otherwise, with PWD to match", async () => {
    const home = await exec(["printenv", "PWD"])
    const elsewhere = await exec(["printenv", "PWD"], { cwd: "/usr/bin" })
    const relative = await exec(["/bin/pwd"], { cwd: "." })
    await Promise.all([home.ended, elsewhere.ended, relative.ended])
    expect(home.stdout()).toBe(`${homedir()}\n`)
    expect(elsewhere.stdout()).toBe("/usr/bin\n")
    expect(relative.stdout()).toBe(`${homedir()}\n`)
  })

  it("stops a command that is not read, with a bounded part of its output under way", async () => {
    const run = await exec(["cat", "/dev/zero"])
    await until(() => run.receivedBytes() > 0)
    run.process.pauseOutput()
    const received = run.receivedBytes()
    await untilStable(() => writtenBytesOf(run.process.pid))
    expect(stateOf(run.process.pid)).toBe("S")
    expect(run.receivedBytes()).toBe(received)
    expect(writtenBytesOf(run.process.pid) - received).toBeLessThan(1_048_576)
    run.process.resumeOutput()
    await until(() => run.receivedBytes() > received + 4_194_304)
    run.process.signal("SIGKILL")
    expect(await run.ended).toEqual({ type: "signal", signal: "SIGKILL" })
  })

  it("keeps everything of a command that ends while paused, and its exit until the resume", async () => {
    const run = await exec(["seq", "1", "10000"])
    run.process.pauseOutput()
    await until(() => isDead(run.process.pid))
    await untilStable(() => run.receivedBytes() + run.exits.length)
    expect([run.stdout(), run.exits]).toEqual(["", []])
    run.process.resumeOutput()
    expect(await run.ended).toEqual({ type: "code", code: 0 })
    expect(run.stdout()).toBe(Array.from({ length: 10_000 }, (_, index) => `${index + 1}\n`).join(""))
  })

  it("loses nothing to a reader that pauses after every chunk", async () => {
    const run = await exec(["seq", "1", "100000"], {}, {}, pauseEachChunk)
    expect(await run.ended).toEqual({ type: "code", code: 0 })
    expect(run.stdout()).toBe(Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join(""))
  })

  it("gives a command no descriptor of an open terminal", async () => {
    const terminal = await pty(["sh", "-c", "echo ready; exec cat"])
    await until(() => terminal.stdout().includes("ready"))
    const run = await exec(["ls", "-l", "/proc/self/fd"])
    await run.ended
    expect(run.stdout()).toContain("/dev/null")
    expect(run.stdout()).not.toContain("/dev/ptmx")
    terminal.process.hangUp()
    await terminal.ended
  })
})

describe("input of exec", () => {
  it("is at its end from the start unless asked for", async () => {
    const run = await exec(["cat"])
    expect(await run.ended).toEqual({ type: "code", code: 0 })
  })

  it("arrives and returns byte for byte", async () => {
    const sent = Buffer.concat([everyByte, randomBytes(4 * 1_048_576), everyByte])
    const run = await exec(["cat"], { stdin: true })
    run.process.write(sent, () => run.process.endInput())
    expect(await run.ended).toEqual({ type: "code", code: 0 })
    expect(sha256(run.stdoutBytes())).toBe(sha256(sent))
  })

  it("ends when ended, after what was written", async () => {
    const run = await exec(["wc", "-c"], { stdin: true })
    run.process.write(Buffer.from("four"), () => {})
    run.process.endInput()
    await run.ended
    expect(run.stdout().trim()).toBe("4")
  })

  it("says written in order, and only as far as the command makes room", async () => {
    const run = await exec(["wc", "-c"], { stdin: true })
    run.process.signal("SIGSTOP")
    await until(() => stateOf(run.process.pid) === "T")
    const written: number[] = []
    for (let index = 0; index < 64; index++) run.process.write(Buffer.alloc(65_536), () => written.push(index))
    await untilStable(() => written.length)
    expect(written.length).toBeGreaterThan(0)
    expect(written.length).toBeLessThan(32)
    run.process.endInput()
    run.process.signal("SIGCONT")
    await run.ended
    expect(written).toEqual(Array.from({ length: 64 }, (_, index) => index))
    expect(run.stdout().trim()).toBe("4194304")
  })

  it("says written for what a dead command can no longer take", async () => {
    const run = await exec(["sleep", "1000"], { stdin: true })
    let written = 0
    for (let index = 0; index < 64; index++) run.process.write(Buffer.alloc(65_536), () => written++)
    run.process.signal("SIGKILL")
    await run.ended
    run.process.write(Buffer.from("late"), () => written++)
    run.process.endInput()
    await until(() => written === 65)
  })

  it("is dropped, and said written, for a command that was given none", async () => {
    const run = await exec(["sleep", "1000"])
    const { promise, resolve } = Promise.withResolvers<void>()
    run.process.write(Buffer.from("x"), resolve)
    await promise
    run.process.hangUp()
    expect(await run.ended).toEqual({ type: "signal", signal: "SIGHUP" })
  })
})
