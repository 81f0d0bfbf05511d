/** How a command without a terminal ends: by itself, by a signal, by its time limit, by a hang-up. */
import { afterEach, describe, expect, it } from "vitest"
import { exec, isDead, isGroupEmpty, kill, killLeftovers, numberIn, until } from "./observed-process.ts"

afterEach(killLeftovers)

describe("the exit of exec", () => {
  it("is the command's code", async () => {
    const run = await exec(["sh", "-c", "exit 42"])
    expect(await run.ended).toEqual({ type: "code", code: 42 })
  })

  it("is the signal that ended it", async () => {
    const run = await exec(["sh", "-c", "kill -USR1 $$"])
    expect(await run.ended).toEqual({ type: "signal", signal: "SIGUSR1" })
  })

  it("is published once", async () => {
    const run = await exec(["true"])
    await run.ended
    run.process.signal("SIGKILL")
    run.process.hangUp()
    run.process.pauseOutput()
    run.process.resumeOutput()
    const later = await exec(["sleep", "0.2"])
    await later.ended
    expect(run.exits).toEqual([{ type: "code", code: 0 }])
  })

  it("does not wait for a background process that keeps the pipes, and leaves it alive", async () => {
    const run = await exec(["sh", "-c", "sleep 1000 & echo $!"])
    expect(await run.ended).toEqual({ type: "code", code: 0 })
    const sleeper = Number(run.stdout())
    expect(isDead(sleeper)).toBe(false)
    kill(sleeper)
  })

  it("does not wait for one that left the group either", async () => {
    const run = await exec(["sh", "-c", "setsid sleep 1000 & echo $!; exit 3"])
    expect(await run.ended).toEqual({ type: "code", code: 3 })
    kill(Number(run.stdout()))
  })

  it("waits for a background process that goes on writing", async () => {
    const times = { graceMs: 1_000, quietMs: 500 }
    const run = await exec(["sh", "-c", "for i in 1 2 3 4 5; do sleep 0.2; echo $i; done & exit 0"], {}, { times })
    expect(await run.ended).toEqual({ type: "code", code: 0 })
    expect(run.stdout()).toBe("1\n2\n3\n4\n5\n")
  })
})

describe("signals to exec", () => {
  it("reach the whole group", async () => {
    const run = await exec(["sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait"])
    await until(() => run.stdout() === "ready\n")
    run.process.signal("SIGTERM")
    expect(await run.ended).toEqual({ type: "signal", signal: "SIGTERM" })
    await until(() => isGroupEmpty(run.process.pid))
  })
})

describe("the time limit of exec", () => {
  it("asks the command to end first", async () => {
    const run = await exec(["sh", "-c", "trap 'echo bye; exit 0' TERM; while :; do sleep 0.01; done"], { timeoutMs: 300 })
    expect(await run.ended).toEqual({ type: "timeout", timeoutMs: 300 })
    expect(run.stdout()).toBe("bye\n")
  })

  it("kills a command that ignores TERM and holds the pipes, with its children", async () => {
    const run = await exec(["sh", "-c", "trap '' TERM; sleep 1000 & echo $!; sleep 1000"], { timeoutMs: 300 })
    expect(await run.ended).toEqual({ type: "timeout", timeoutMs: 300 })
    await until(() => isGroupEmpty(run.process.pid))
    expect(isDead(Number(run.stdout()))).toBe(true)
  })

  it("kills a child that ignores TERM after the command itself has obeyed", async () => {
    const run = await exec(["sh", "-c", "(trap '' TERM; echo ready; exec sleep 1000) & wait"], { timeoutMs: 300 })
    expect(await run.ended).toEqual({ type: "timeout", timeoutMs: 300 })
    expect(run.stdout()).toBe("ready\n")
    await until(() => isGroupEmpty(run.process.pid))
  })

  it("ends a stopped command", async () => {
    const run = await exec(["sh", "-c", "trap 'echo bye; exit 0' TERM; kill -STOP $$; while :; do sleep 0.01; done"], { timeoutMs: 300 })
    expect(await run.ended).toEqual({ type: "timeout", timeoutMs: 300 })
    expect(run.stdout()).toBe("bye\n")
  })

  it("does not wait for a process that left the group and holds the pipes", async () => {
    const run = await exec(["sh", "-c", "setsid sleep 1000 & echo $!; wait"], { timeoutMs: 300 })
    expect(await run.ended).toEqual({ type: "timeout", timeoutMs: 300 })
    kill(numberIn(run.stdout(), /(\d+)/))
  })

  it("does not wait for a process that left the group and never stops writing", async () => {
    const run = await exec(["sh", "-c", "setsid sh -c 'while echo x; do :; done' & echo $! >&2; wait"], { timeoutMs: 300 })
    expect(await run.ended).toEqual({ type: "timeout", timeoutMs: 300 })
    const writer = numberIn(run.stderr(), /(\d+)/)
    // Its pipe is closed, which ends it.
    await until(() => isDead(writer))
  })

  it("ends a member that goes on writing after the command's own end, whose exit it leaves as it was", async () => {
    const run = await exec(["sh", "-c", "while :; do echo x; sleep 0.01; done & exit 5"], { timeoutMs: 300 })
    expect(await run.ended).toEqual({ type: "code", code: 5 })
    await until(() => isGroupEmpty(run.process.pid))
  })

  it("is not reached by a command that ends in time", async () => {
    const run = await exec(["sh", "-c", "exit 1"], { timeoutMs: 60_000 })
    expect(await run.ended).toEqual({ type: "code", code: 1 })
  })
})

describe("a hang-up of exec", () => {
  it("is HUP first", async () => {
    const run = await exec(["sh", "-c", "trap 'echo hup; exit 9' HUP; echo ready; while :; do sleep 0.01; done"])
    await until(() => run.stdout() === "ready\n")
    run.process.hangUp()
    expect(await run.ended).toEqual({ type: "code", code: 9 })
    expect(run.stdout()).toBe("ready\nhup\n")
  })

  it("goes on to TERM and KILL, for the whole group", async () => {
    const run = await exec([
      "sh",
      "-c",
      "trap '' HUP; trap 'echo term' TERM; (trap '' HUP TERM; exec sleep 1000) & echo ready; while :; do sleep 0.01; done",
    ])
    await until(() => run.stdout() === "ready\n")
    run.process.hangUp()
    run.process.hangUp()
    expect(await run.ended).toEqual({ type: "signal", signal: "SIGKILL" })
    expect(run.stdout()).toBe("ready\nterm\n")
    await until(() => isGroupEmpty(run.process.pid))
  })

  it("keeps the command's own exit when its time is up meanwhile", async () => {
    const times = { graceMs: 400, quietMs: 30 }
    const script = "trap '' HUP; trap 'exit 8' TERM; echo ready; while :; do sleep 0.01; done"
    const run = await exec(["sh", "-c", script], { timeoutMs: 300 }, { times })
    await until(() => run.stdout() === "ready\n")
    run.process.hangUp()
    expect(await run.ended).toEqual({ type: "code", code: 8 })
  })
})
