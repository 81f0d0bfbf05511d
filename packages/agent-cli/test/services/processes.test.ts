/** Streams of the kind processes: what is listed to whom, what a kill does, and how much a question may cost. */
import { checkBody, type ProcessDescription, processDescriptionSchema, processListSchema } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { type Asked, type Client, quiet, TableBench } from "./table-bench.ts"

let bench: TableBench
let client: Client
beforeEach(() => {
  bench = new TableBench()
  client = bench.client()
})
afterEach(() => bench.close())

async function answered(body: object, from = client): Promise<Asked> {
  const asked = from.open(body, "processes")
  await bench.until(() => asked.finished || asked.closed !== undefined)
  return asked
}

const list = async (from = client, more: object = {}): Promise<readonly ProcessDescription[]> =>
  checkBody(processListSchema, JSON.parse((await answered({ type: "list", ...more }, from)).output)).processes

const described = async (body: object): Promise<ProcessDescription> =>
  checkBody(processDescriptionSchema, JSON.parse((await answered(body)).output))

async function started(body: object, from = client, kind: "exec" | "pty" = "exec"): Promise<string> {
  const asked = from.open(body, kind)
  await bench.until(() => asked.answer !== undefined)
  return asked.answer?.processId ?? ""
}

describe("[KL2] list", () => {
  test("of nothing is empty", async () => {
    expect(await list()).toEqual([])
  })

  test("has what runs and what has ended, oldest first", async () => {
    const one = await started({ argv: ["sleep", "1000"], detach: true })
    const two = await started({ argv: ["sh", "-c", "echo out; exit 3"] })
    const three = await started({ argv: ["cat"], cols: 90, rows: 30 }, client, "pty")
    await bench.until(() => bench.ends.length === 1)
    const listed = await list()
    expect(new Set(listed.map(({ id }) => id))).toEqual(new Set([one, two, three]))
    const byId = Object.fromEntries(listed.map((each) => [each.id, each]))
    expect(byId[one]).toMatchObject({ kind: "exec", argv: ["sleep", "1000"], state: "running", detached: true, attached: 1 })
    expect(byId[two]).toMatchObject({ state: "ended", exit: { type: "code", code: 3 }, output: { from: 0, to: 4 } })
    expect(byId[three]).toMatchObject({ kind: "pty", size: { cols: 90, rows: 30 }, detached: false })
  })

  test("has one's own, and for the scope admin everybody's", async () => {
    const mine = await started({ argv: ["cat"], stdin: true })
    const yours = await started({ argv: ["cat"], stdin: true }, bench.client("you"))
    expect((await list()).map(({ id }) => id)).toEqual([mine])
    expect((await list(bench.client("boss", ["admin"]))).map(({ id }) => id).sort()).toEqual([mine, yours].sort())
  })

  test("by key has the one run that it names, and never another principal's", async () => {
    const keyed = await started({ argv: ["cat"], stdin: true, idempotencyKey: "k" })
    await started({ argv: ["cat"], stdin: true })
    expect((await list(client, { idempotencyKey: "k" })).map(({ id }) => id)).toEqual([keyed])
    expect(await list(client, { idempotencyKey: "other" })).toEqual([])
    expect(await list(bench.client("boss", ["admin"]), { idempotencyKey: "k" })).toEqual([])
  })

  test("is made as it is read: who asks and does not read holds a stream's queue and no more", async () => {
    // Characters that JSON writes with six.
    const argument = "\u0001".repeat(500)
    for (let count = 0; count < 250; count++) {
      await bench.table.start(
        { kind: "exec", open: { argv: ["true", argument], env: {}, stdin: false, detach: true, timeoutMs: 60_000 } },
        "me",
      )
    }
    let queuedBytesMax = 0
    bench.onOffer = (stream) => {
      queuedBytesMax = Math.max(queuedBytesMax, stream.queuedBytes)
    }
    const asked = client.open({ type: "list" }, "processes")
    asked.reading = false
    await bench.until(() => asked.outputBytes > 100_000)
    await quiet()
    expect(asked.finished).toBe(false)
    expect(queuedBytesMax).toBeGreaterThan(100_000)
    expect(queuedBytesMax).toBeLessThan(300_000)
    asked.reading = true
    asked.stream.consumed(250_000)
    await bench.until(() => asked.finished)
    expect(checkBody(processListSchema, JSON.parse(asked.output)).processes).toHaveLength(250)
  })
})

describe("[KL3] get and kill", () => {
  test("get describes one", async () => {
    const processId = await started({ argv: ["cat"], stdin: true })
    expect(await described({ type: "get", processId })).toMatchObject({ id: processId, state: "running", argv: ["cat"] })
  })

  test("kill signals the process group, and what has ended takes it for nothing", async () => {
    const processId = await started({ argv: ["sh", "-c", "sleep 1000 & wait"] })
    expect(await described({ type: "kill", processId, signal: "SIGKILL" })).toMatchObject({ id: processId })
    await bench.until(() => bench.ends.length === 1)
    expect(bench.ends).toMatchObject([{ exit: { type: "signal", signal: "SIGKILL" } }])
    expect(await described({ type: "kill", processId, signal: "SIGTERM" })).toMatchObject({
      state: "ended",
      exit: { type: "signal", signal: "SIGKILL" },
    })
  })

  test.each([
    [{ type: "kill", signal: "SIGBUS" }],
    [{ type: "kill", signal: 9 }],
    [{ type: "kill" }],
    [{ type: "stop", signal: "SIGTERM" }],
    [{ type: "get", processId: "a/b" }],
  ])("%j is refused and signals nobody", async (body) => {
    const processId = await started({ argv: ["cat"], stdin: true })
    const asked = await answered({ processId, ...body })
    expect(asked.closed).toMatchObject({ error: { code: "bad-request", delivered: "no" } })
    expect(bench.ends).toEqual([])
  })

  test.each(["get", "kill"])("%s is refused for what is not known and what is somebody else's", async (type) => {
    const processId = await started({ argv: ["cat"], stdin: true })
    const body = { type, processId, signal: "SIGKILL" }
    expect((await answered({ ...body, processId: "0123456789ab" })).closed).toMatchObject({ error: { code: "not-found" } })
    expect((await answered(body, bench.client("you"))).closed).toMatchObject({ error: { code: "denied" } })
    await quiet()
    expect(bench.ends).toEqual([])
  })
})
