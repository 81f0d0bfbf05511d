/** Which processes an agent knows, for how long, within which bounds, and which requests are the same run. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type ExecOpen, type Logger, type PtyOpen, silentLogger, TunnelError } from "@trunkline/protocol"
import { VirtualClock } from "@trunkline/protocol/testing"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { endText, ProcessTable, type ProcessTableOptions, type Started } from "../../src/processes/process-table.ts"
import { RunLedger } from "../../src/processes/run-ledger.ts"
import type { TrackedProcess } from "../../src/processes/tracked-process.ts"
import { FakeModel, FakeProcess } from "./tracked-bench.ts"

const epochAtStart = Date.UTC(2030, 0, 1)

let clock: VirtualClock
let spawned: FakeProcess[]
let models: FakeModel[]
let errors: string[]
let table: ProcessTable
let ledger: RunLedger
let spawn: ProcessTableOptions["spawn"]

const epochMs = (): number => epochAtStart + clock.now()

function newTable(more: Partial<ProcessTableOptions> = {}): ProcessTable {
  const logger: Logger = { ...silentLogger, error: (event) => errors.push(event) }
  const screen = (): FakeModel => {
    const model = new FakeModel()
    models.push(model)
    return model
  }
  return new ProcessTable({ clock, epochMs, logger, spawn: (request, events) => spawn(request, events), screen, ledger, ...more })
}

beforeEach(() => {
  clock = new VirtualClock()
  spawned = []
  models = []
  errors = []
  spawn = (_, events) => {
    const process = new FakeProcess(events)
    spawned.push(process)
    return Promise.resolve(process)
  }
  ledger = new RunLedger({ epochMs })
  table = newTable()
})

const startExec = (more: Partial<ExecOpen> = {}, principal = "me"): Promise<Started> =>
  table.start({ kind: "exec", open: { argv: ["deploy"], env: {}, stdin: false, detach: false, ...more } }, principal)
const startPty = (more: Partial<PtyOpen> = {}): Promise<Started> =>
  table.start({ kind: "pty", open: { env: {}, cols: 80, rows: 24, keep: false, ...more } }, "me")

/** Starts a process that runs: what the table knows of it, and the operating system's. */
async function running(more: Partial<ExecOpen> = {}): Promise<{ readonly tracked: TrackedProcess; readonly process: FakeProcess }> {
  const started = await startExec(more)
  const process = spawned.at(-1)
  if (started.type !== "new" || process === undefined) throw new Error(`${started.type} is no new process`)
  return { tracked: started.process, process }
}

const failure = new TunnelError("command-not-found", "no such command")

describe("a table without a ledger", () => {
  test("refuses to run with an idempotency key what it could run twice, and runs the rest", async () => {
    table = newTable({ ledger: undefined })
    await expect(startExec({ idempotencyKey: "once" })).rejects.toMatchObject({ code: "spawn-failed", delivered: "no" })
    expect(spawned).toHaveLength(0)
    await running()
  })
})

describe("a table", () => {
  test("lists what runs and what has ended, oldest first", async () => {
    const one = await running()
    clock.advance(1)
    const two = await running()
    clock.advance(1)
    const three = await running()
    two.process.exit()
    expect(table.list()).toEqual([one.tracked, two.tracked, three.tracked])
    expect(table.runningCount).toBe(2)
    expect(table.get(two.tracked.id)).toBe(two.tracked)
    expect(new Set(table.list().map(({ id }) => id)).size).toBe(3)
  })

  test("names those that were told to end and have not", async () => {
    const one = await running()
    await running()
    one.tracked.hangUp()
    expect(table.hungUp()).toEqual([one.tracked])
    one.process.exit()
    expect(table.hungUp()).toEqual([])
  })

  test.each([
    ["a command", {}, false],
    ["a detached command", { detach: true }, true],
  ])("knows that %s ends with its client, or not", async (_, more, detached) => {
    expect((await running(more)).tracked.describe()).toMatchObject({ kind: "exec", detached })
  })

  test.each([
    ["a terminal", {}, false],
    ["a session", { keep: true }, true],
  ])("knows that %s ends with its client, or not", async (_, more, detached) => {
    const started = await startPty(more)
    expect(started.type === "new" && started.process.describe()).toMatchObject({ kind: "pty", detached, size: { cols: 80, rows: 24 } })
  })

  test("rejects as the start does, and keeps nothing of it", async () => {
    spawn = () => Promise.reject(failure)
    await expect(startPty()).rejects.toBe(failure)
    expect(table.runningCount).toBe(0)
    expect(table.list()).toEqual([])
    expect(models.map(({ disposed }) => disposed)).toEqual([true])
  })
})

describe("a process that has ended", () => {
  test("is kept for five minutes with its output, then only its end is known", async () => {
    const { tracked, process } = await running()
    process.output(1_000)
    process.exit({ type: "code", code: 3 })
    clock.advance(299_999)
    expect(table.get(tracked.id).journal.read(0, 10)).toBeDefined()
    clock.advance(1)
    expect(table.list()).toEqual([])
    expect(() => table.get(tracked.id)).toThrow(
      `process ${tracked.id} ended at 2030-01-01T00:00:00.000Z with exit code 3; it is not kept any more`,
    )
    expect(tracked.heldBytes).toBe(0)
  })

  test("is kept as long as its agent was told to", async () => {
    table = newTable({ keepEndedMs: 1_000 })
    const { tracked, process } = await running()
    clock.advance(5_000)
    process.exit()
    const second = await running()
    clock.advance(999)
    second.process.exit()
    expect(table.list()).toHaveLength(2)
    clock.advance(1)
    expect(table.list()).toEqual([second.tracked])
    clock.advance(999)
    expect(table.list()).toEqual([])
    expect(() => table.get(tracked.id)).toThrow("not kept any more")
  })

  test("is kept for its time whatever is done to the time of day", async () => {
    let jumpMs = 0
    table = newTable({ epochMs: () => epochMs() + jumpMs })
    const { tracked, process } = await running()
    process.exit()
    jumpMs = -3_600_000
    clock.advance(299_999)
    expect(table.get(tracked.id)).toBe(tracked)
    clock.advance(1)
    expect(() => table.get(tracked.id)).toThrow("not kept any more")
  })

  test("and an id that never was is told apart", () => {
    expect(() => table.get("0123456789ab")).toThrow("no process 0123456789ab is known")
  })

  test("is forgotten sooner when 4,096 others have ended after it, and remembered until 10,000 have", async () => {
    const ids: string[] = []
    const end = async (count: number): Promise<void> => {
      for (let index = 0; index < count; index++) {
        const { tracked, process } = await running()
        ids.push(tracked.id)
        process.exit()
      }
    }
    const why = (index: number): string => {
      try {
        table.get(ids[index] ?? "")
        return "kept"
      } catch (error) {
        return String(error).includes("not kept any more") ? "remembered" : "unknown"
      }
    }
    await end(4_096)
    expect(why(0)).toBe("kept")
    await end(1)
    expect([why(0), why(1)]).toEqual(["remembered", "kept"])
    await end(10_000)
    expect([why(0), why(1), why(10_000), why(10_001)]).toEqual(["unknown", "remembered", "remembered", "kept"])
    expect(table.list()).toHaveLength(4_096)
  })

  test("is forgotten sooner when more than 64 MiB of output are kept", async () => {
    const ids: string[] = []
    for (let index = 0; index < 70; index++) {
      const { tracked, process } = await running()
      ids.push(tracked.id)
      for (let count = 0; count < 20; count++) process.output(65_536)
      process.exit()
    }
    expect(table.list().length).toBeGreaterThan(55)
    expect(table.list().length).toBeLessThan(64)
    expect(() => table.get(ids[0] ?? "")).toThrow("not kept any more")
    expect(table.get(ids[69] ?? "").journal.from).toBeGreaterThan(0)
  })

  test("is forgotten when the table is closed", async () => {
    const { tracked, process } = await running()
    process.output(100)
    process.exit()
    table.close()
    expect(table.list()).toEqual([])
    expect(tracked.heldBytes).toBe(0)
    expect(clock.run()).toBe(true)
  })
})

describe("bounds of what runs", () => {
  test("the 1,025th process is refused, also while others are being started, until one ends", async () => {
    for (let count = 0; count < 1_023; count++) await running()
    const starting = startExec()
    await expect(startExec()).rejects.toMatchObject({ code: "overloaded", delivered: "no" })
    await starting
    await expect(startExec({ idempotencyKey: "k" })).rejects.toMatchObject({ code: "overloaded" })
    spawned[0]?.exit()
    expect((await startExec({ idempotencyKey: "k" })).type).toBe("new")
  })

  test("journals hold 1 MiB each, and 256 KiB where very many run, those that were there before too", async () => {
    const first = await running()
    for (let count = 0; count < 40; count++) first.process.output(65_536)
    expect(first.process.to - first.tracked.journal.from).toBe(1_048_576)
    for (let count = 0; count < 1_023; count++) await running()
    expect(first.process.to - first.tracked.journal.from).toBe(262_144)
    expect(first.tracked.heldBytes).toBeLessThan(270_000)
  })

  test.each([
    [1, 262_144],
    [500_000, 500_000],
  ])("journals configured to hold %i bytes hold them, and never less than 256 KiB", async (journalBytes, keptBytes) => {
    table = newTable({ journalBytes })
    const { tracked, process } = await running()
    for (let count = 0; count < 40; count++) process.output(65_536)
    const bytes = process.to - tracked.journal.from
    expect(bytes).toBeGreaterThanOrEqual(keptBytes)
    expect(bytes).toBeLessThan(keptBytes + 16_384)
  })
})

describe("an idempotency key", () => {
  const key = { idempotencyKey: "k" }

  test("starts one process however often it is used: while that starts, runs and is kept", async () => {
    const [first, second] = await Promise.all([startExec(key), startExec(key)])
    expect([first.type, second.type, spawned.length]).toEqual(["new", "found", 1])
    const started = first.type === "new" ? first.process : undefined
    expect(second).toEqual({ type: "found", process: started })
    expect(await startExec(key)).toEqual({ type: "found", process: started })
    expect(table.byKey("me", "k")).toBe(started)
    spawned[0]?.exit({ type: "code", code: 3 })
    expect(await startExec(key)).toEqual({ type: "found", process: started })
    expect(spawned).toHaveLength(1)
  })

  test("still starts none when its process is forgotten: then its end is known", async () => {
    const { process } = await running(key)
    process.output(123)
    process.exit({ type: "code", code: 3 })
    clock.advance(300_000)
    const past = { exit: { type: "code", code: 3 }, durationMs: 12, pid: 4_711, outputBytes: 123 }
    expect(await startExec(key)).toMatchObject({ type: "past", run: { end: past } })
    expect(table.byKey("me", "k")).toBeUndefined()
    expect(spawned).toHaveLength(1)
  })

  test("is one principal's", async () => {
    await startExec(key, "me")
    expect((await startExec(key, "you")).type).toBe("new")
    expect(spawned).toHaveLength(2)
  })

  test("of another command is refused", async () => {
    await startExec(key)
    await expect(startExec({ ...key, argv: ["other"] })).rejects.toMatchObject({ code: "bad-request", delivered: "no" })
    await expect(startPty({ ...key, argv: ["deploy"] })).rejects.toMatchObject({ code: "bad-request" })
    expect(spawned).toHaveLength(1)
  })

  test("is free again when the start failed, for all who waited for it", async () => {
    const spawnWell = spawn
    spawn = () => Promise.reject(failure)
    const [one, other] = await Promise.allSettled([startExec(key), startExec(key)])
    expect([one, other]).toEqual([
      { status: "rejected", reason: failure },
      { status: "rejected", reason: failure },
    ])
    spawn = spawnWell
    expect((await startExec({ ...key, argv: ["other"] })).type).toBe("new")
  })

  describe("in a file", () => {
    let folder: string
    let path: string
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), "trunkline-table-"))
      path = join(folder, "runs")
      restart()
    })
    afterEach(() => {
      ledger.close()
      rmSync(folder, { recursive: true, force: true })
    })

    function restart(): void {
      ledger.close()
      ledger = new RunLedger({ path, epochMs })
      table = newTable()
    }

    test("is written before anything is started", async () => {
      const written: string[] = []
      const spawnWell = spawn
      spawn = (request, events) => {
        written.push(readFileSync(path, "utf8").trim())
        return spawnWell(request, events)
      }
      const { tracked } = await running(key)
      expect(written).toHaveLength(1)
      expect(JSON.parse(written[0] ?? "")).toMatchObject({ processId: tracked.id, startedAt: epochAtStart })
    })

    test("outlives the agent: with the end of what has ended, without that of what has not", async () => {
      const ended = await running({ idempotencyKey: "ended" })
      ended.process.exit({ type: "signal", signal: "SIGTERM" })
      await running({ idempotencyKey: "running" })
      restart()
      expect(await startExec({ idempotencyKey: "ended" })).toMatchObject({
        type: "past",
        run: { processId: ended.tracked.id, end: { exit: { type: "signal", signal: "SIGTERM" } } },
      })
      const unknown = await startExec({ idempotencyKey: "running" })
      expect(unknown.type === "past" && "end" in unknown.run).toBe(false)
      expect(unknown.type).toBe("past")
      expect(spawned).toHaveLength(2)
    })

    test("that cannot be written starts nothing, and an end that cannot be ends nothing else", async () => {
      const { tracked, process } = await running(key)
      // The next line has the file written anew, which has no place any more.
      for (let line = 1; line < 40_000; line++)
        ledger.end(tracked.id, { exit: { type: "code", code: 0 }, durationMs: 1, pid: 1, outputBytes: 0 })
      rmSync(folder, { recursive: true })
      await expect(startExec({ idempotencyKey: "other" })).rejects.toMatchObject({ code: "spawn-failed", delivered: "no" })
      expect(spawned).toHaveLength(1)
      process.exit({ type: "code", code: 3 })
      expect(errors).toEqual(["run-ledger.write-failed"])
      expect(table.get(tracked.id).exit).toEqual({ type: "code", code: 3 })
    })
  })
})

test.each([
  [{ type: "code", code: 3 }, "with exit code 3"],
  [{ type: "signal", signal: "SIGKILL" }, "by SIGKILL"],
  [{ type: "timeout", timeoutMs: 5 }, "because its time was up"],
  [{ type: "unknown", reason: "lost" }, "in a way that is not known: lost"],
] as const)("%j reads as a sentence", (exit, text) => {
  expect(endText(exit)).toBe(text)
})
