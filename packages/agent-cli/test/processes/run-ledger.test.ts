/** What is known of keyed runs, by whom, for how long, and after the worst that can happen to a file. */
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { ExecOpen, PtyOpen } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { ProcessRequest } from "../../src/processes/process-request.ts"
import { RunLedger } from "../../src/processes/run-ledger.ts"

const dayMs = 86_400_000

const exec = (more: Partial<ExecOpen> = {}): ProcessRequest => ({
  kind: "exec",
  open: { argv: ["deploy"], env: {}, stdin: false, detach: false, ...more },
})
const pty = (more: Partial<PtyOpen> = {}): ProcessRequest => ({
  kind: "pty",
  open: { argv: ["deploy"], env: {}, cols: 80, rows: 24, keep: false, ...more },
})
const end = { exit: { type: "code", code: 3 }, durationMs: 5, pid: 7, outputBytes: 11 } as const

let folder: string
let path: string
let nowMs: number
let open: RunLedger[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "trunkline-ledger-"))
  path = join(folder, "runs")
  nowMs = 1_000_000
  open = []
})
afterEach(() => {
  for (const ledger of open) ledger.close()
  rmSync(folder, { recursive: true })
})

/** A ledger as a new agent opens it: the one before is gone. */
const opened = (where: { readonly path?: string } = { path }): RunLedger => {
  for (const ledger of open.splice(0)) ledger.close()
  const ledger = new RunLedger({ ...where, epochMs: () => nowMs })
  open.push(ledger)
  return ledger
}

describe("a ledger", () => {
  test("knows a run from its beginning, by principal and key", async () => {
    const ledger = opened()
    const beginning = ledger.begin("me", "k", exec(), "p1")
    expect(ledger.find("me", "k")).toMatchObject({ processId: "p1", startedAt: 1_000_000 })
    await beginning
    expect(ledger.find("you", "k")).toBeUndefined()
    expect(ledger.find("me", "K")).toBeUndefined()
    ledger.end("p1", end)
    expect(ledger.find("me", "k")).toMatchObject({ processId: "p1", end })
  })

  test("does not take one principal's key for another's, whatever they hold", async () => {
    const ledger = opened({})
    await ledger.begin("a", "b\0c", exec(), "p1")
    expect(ledger.find("a\0b", "c")).toBeUndefined()
  })

  test("ignores the end of a process without a key", () => {
    const ledger = opened()
    ledger.end("p9", end)
    expect(readFileSync(path, "utf8")).toBe("")
  })

  test("frees the key of a run that never began", async () => {
    const ledger = opened()
    await ledger.begin("me", "k", exec(), "p1")
    ledger.withdraw("me", "k")
    expect(ledger.find("me", "k")).toBeUndefined()
    await ledger.begin("me", "k", exec({ argv: ["other"] }), "p2")
    const next = opened()
    expect(next.find("me", "k")).toMatchObject({ processId: "p2" })
    next.withdraw("me", "k")
    expect(opened().find("me", "k")).toBeUndefined()
  })
})

describe("a command", () => {
  test.each([
    ["another argument", exec({ argv: ["deploy", ""] })],
    ["another folder", exec({ cwd: "/" })],
    ["another environment", exec({ env: { A: "1" } })],
    ["another time limit", exec({ timeoutMs: 1 })],
    ["input", exec({ stdin: true })],
    ["a terminal", pty()],
  ])("with %s is another", async (_, request) => {
    const ledger = opened({})
    await ledger.begin("me", "k", exec(), "p1")
    const run = ledger.find("me", "k")
    if (run === undefined) throw new Error("the run is not known")
    expect(() => ledger.check(run, request)).toThrow("another command")
  })

  test("is the same however its environment is ordered, its client leaves and its window is sized", async () => {
    const ledger = opened({})
    await ledger.begin("me", "k", exec({ env: { A: "1", B: "2" } }), "p1")
    await ledger.begin("me", "t", pty({ cols: 80 }), "p2")
    const [command, terminal] = [ledger.find("me", "k"), ledger.find("me", "t")]
    if (command === undefined || terminal === undefined) throw new Error("the runs are not known")
    ledger.check(command, exec({ env: { B: "2", A: "1" }, detach: true, idempotencyKey: "k" }))
    ledger.check(terminal, pty({ cols: 90, keep: true }))
  })
})

describe("after a restart", () => {
  test("runs and their ends are known, and that of one that had not ended is not", async () => {
    const ledger = opened()
    await ledger.begin("me", "ended", exec(), "p1")
    await ledger.begin("me", "running", exec(), "p2")
    ledger.end("p1", end)
    const next = opened()
    expect(next.find("me", "ended")).toMatchObject({ processId: "p1", startedAt: 1_000_000, end })
    expect(next.find("me", "running")).toMatchObject({ processId: "p2" })
    expect(next.find("me", "running")?.end).toBeUndefined()
    // Whoever still knows the process may say how it ended.
    next.end("p2", end)
    expect(opened().find("me", "running")?.end).toEqual(end)
  })

  test("keys are in the file as digests only, and the file is its owner's", async () => {
    await opened().begin("me", "secret-key", exec({ argv: ["secret-command"] }), "p1")
    expect(readFileSync(path, "utf8")).not.toMatch(/secret/)
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  test("a line cut short is none, and the next is whole", async () => {
    const ledger = opened()
    await ledger.begin("me", "k1", exec(), "p1")
    const [line = ""] = readFileSync(path, "utf8")
      .split("\n")
      .filter((each) => each !== "")
    // As a full disk leaves it while the agent runs.
    appendFileSync(path, line.replace("p1", "p2").slice(0, 40))
    await ledger.begin("me", "k3", exec(), "p3")
    // As a crash leaves it.
    appendFileSync(path, line.slice(0, -5))
    const next = opened()
    expect(next.find("me", "k1")).toMatchObject({ processId: "p1" })
    expect(next.find("me", "k3")).toMatchObject({ processId: "p3" })
    await next.begin("me", "k4", exec(), "p4")
    expect(opened().find("me", "k4")).toMatchObject({ processId: "p4" })
  })

  test.each(["", "\n\n", "{}\n[]\nnull\n1\n", '{"processId":"../x","keyHash":"a","commandHash":"b","startedAt":1}\n', "\u0000\u0001\n"])(
    "a file of %j holds no run",
    async (content) => {
      writeFileSync(path, content)
      const ledger = opened()
      expect(readFileSync(path, "utf8")).toBe("")
      await ledger.begin("me", "k", exec(), "p1")
      expect(opened().find("me", "k")).toBeDefined()
    },
  )

  test("what is older than a day is gone, from the file too", async () => {
    const ledger = opened()
    await ledger.begin("me", "old", exec(), "p1")
    ledger.end("p1", end)
    nowMs += dayMs
    await ledger.begin("me", "new", exec(), "p2")
    nowMs += 1
    const next = opened()
    expect([next.find("me", "old"), next.find("me", "new")?.processId]).toEqual([undefined, "p2"])
    expect(readFileSync(path, "utf8").trim().split("\n")).toHaveLength(1)
  })
})

describe("a ledger that cannot be written", () => {
  test("refuses the run and leaves the key free, and keeps an end in mind", async () => {
    const ledger = opened()
    await ledger.begin("me", "k1", exec(), "p1")
    // The next line has the file written anew, which has no place any more.
    for (let line = 1; line < 40_000; line++) ledger.end("p1", end)
    rmSync(folder, { recursive: true })
    await expect(ledger.begin("me", "k2", exec(), "p2")).rejects.toMatchObject({ code: "spawn-failed", delivered: "no" })
    expect(ledger.find("me", "k2")).toBeUndefined()
    expect(() => ledger.end("p1", { ...end, durationMs: 9 })).toThrow("ENOENT")
    expect(ledger.find("me", "k1")?.end).toMatchObject({ durationMs: 9 })
    mkdirSync(folder)
    await ledger.begin("me", "k2", exec(), "p2")
    expect(opened().find("me", "k2")).toMatchObject({ processId: "p2" })
  })
})

describe("ten thousand keys", () => {
  const begin = async (ledger: RunLedger, from: number, to: number): Promise<void> => {
    for (let number = from; number < to; number++) await ledger.begin("me", `k${number}`, exec(), `p${number}`)
  }

  test("are known; one more forgets the oldest that has ended", async () => {
    const ledger = opened({})
    await begin(ledger, 0, 10_000)
    ledger.end("p1", end)
    ledger.end("p2", end)
    await begin(ledger, 10_000, 10_001)
    expect(ledger.find("me", "k0")).toBeDefined()
    expect(ledger.find("me", "k1")).toBeUndefined()
    expect(ledger.find("me", "k2")).toBeDefined()
    expect(ledger.find("me", "k10000")).toBeDefined()
  })

  test("of runs that have not ended are the limit, and none is forgotten, however old", async () => {
    const ledger = opened({})
    await begin(ledger, 0, 10_000)
    nowMs += 2 * dayMs
    await expect(begin(ledger, 10_000, 10_001)).rejects.toMatchObject({ code: "overloaded", delivered: "no" })
    expect(ledger.find("me", "k0")).toBeDefined()
    expect(ledger.find("me", "k10000")).toBeUndefined()
  })

  test("that nobody knows the end of are forgotten after a day", async () => {
    const before = opened()
    await before.begin("me", "lost", exec(), "p1")
    nowMs += 1
    const ledger = opened()
    nowMs += dayMs
    await ledger.begin("me", "next", exec(), "p2")
    expect(ledger.find("me", "lost")).toBeUndefined()
  })

  test("and many more do not make the file grow for ever", async () => {
    const ledger = opened()
    await ledger.begin("me", "kept", exec(), "kept")
    for (let round = 0; round < 45_000; round++) ledger.end("kept", { ...end, durationMs: round })
    expect(statSync(path).size).toBeLessThan(42_000 * 300)
    expect(
      readFileSync(path, "utf8")
        .split("\n")
        .filter((line) => line !== "").length,
    ).toBeLessThan(6_000)
    expect(opened().find("me", "kept")?.end).toMatchObject({ durationMs: 44_999 })
  })
})
