/** Streams of the kind attach: several clients of one real process, who may, and what comes too late. */
import { TunnelError } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { type Asked, type Client, quiet, TableBench } from "./table-bench.ts"

let bench: TableBench
let client: Client
beforeEach(() => {
  bench = new TableBench()
  client = bench.client()
})
afterEach(() => bench.close())

const started = async (body: object, kind: "exec" | "pty" = "exec"): Promise<Asked & { readonly processId: string }> => {
  const asked = client.open(body, kind)
  await bench.until(() => asked.answer !== undefined)
  return Object.assign(asked, { processId: asked.answer?.processId ?? "" })
}

describe("[KA3] [KA5] several clients of a command", () => {
  test("each see all of it from where they asked, and any may write", async () => {
    const starter = await started({ argv: ["sh", "-c", "cat; echo oh >&2"], stdin: true })
    starter.write("one ")
    await bench.until(() => starter.output === "one ")
    const early = bench.client().open({ processId: starter.processId, from: 0 }, "attach")
    const live = bench.client().open({ processId: starter.processId, from: "live" }, "attach")
    await bench.until(() => live.answer !== undefined && early.output === "one ")
    live.write("two")
    await bench.until(() => [starter, early].every(({ output }) => output === "one two"))
    early.stream.finish()
    await bench.until(() => [starter, early, live].every(({ exit }) => exit !== undefined))
    expect(live).toMatchObject({ answer: { kind: "exec", offset: 4, liveOffset: 4, repaintBytes: 0 }, output: "two", errorOutput: "oh\n" })
  })

  test("keep it running when its starter leaves, and one that does not read holds up nobody", async () => {
    const starter = await started({ argv: ["sh", "-c", "read go; seq 1 200000"], stdin: true })
    const reader = bench.client().open({ processId: starter.processId, from: 0 }, "attach")
    const stuck = bench.client().open({ processId: starter.processId, from: 0 }, "attach")
    stuck.reading = false
    await bench.until(() => reader.answer !== undefined && stuck.answer !== undefined)
    starter.stream.reset(new TunnelError("aborted", "left"))
    reader.write("go\n")
    await bench.until(() => reader.exit !== undefined)
    expect(reader.exit).toEqual({ type: "code", code: 0 })
    expect(reader.output).toBe(Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join(""))
    expect(stuck.exit).toBeUndefined()
    stuck.reading = true
    stuck.stream.consumed(250_000)
    await bench.until(() => stuck.exit !== undefined)
    const lostBytes = stuck.notices.reduce((sum, notice) => sum + (notice.type === "truncated" ? notice.to - notice.from : 0), 0)
    expect(stuck.outputBytes + lostBytes).toBe(reader.outputBytes)
  })

  test("end when they leave only themselves", async () => {
    const starter = await started({ argv: ["cat"], stdin: true })
    const other = bench.client()
    const viewer = other.open({ processId: starter.processId, from: 0 }, "attach")
    await bench.until(() => viewer.answer !== undefined)
    other.leave()
    await quiet()
    expect(bench.ends).toEqual([])
    starter.write("still")
    await bench.until(() => starter.output === "still")
  })
})

describe("[KP7] a shared terminal", () => {
  test("shows its screen, has the size of who types, and ends for all at once", async () => {
    const starter = await started({ argv: ["sh", "-c", "echo hello; read x; stty size; read x"], cols: 80, rows: 24 }, "pty")
    await bench.until(() => starter.output.includes("hello\r\n"))
    const { processId } = starter
    const viewer = bench.client().open({ processId, from: "screen", size: { cols: 60, rows: 20 } }, "attach")
    const reader = bench.client().open({ processId, from: "screen", readOnly: true, size: { cols: 10, rows: 10 } }, "attach")
    await bench.until(() => reader.answer !== undefined && viewer.output === "<hello\r\n>")
    viewer.write("\r")
    await bench.until(() => [starter, viewer, reader].every(({ output }) => output.includes("20 60\r\n")))
    await bench.until(() => [starter, reader].every(({ notices }) => notices.length > 0))
    expect(starter.notices).toEqual([{ type: "size", cols: 60, rows: 20, driver: false }])
    expect(viewer.notices).toEqual([
      { type: "size", cols: 80, rows: 24, driver: false },
      { type: "size", cols: 60, rows: 20, driver: true },
    ])
    starter.write("\r")
    await bench.until(() => [starter, viewer, reader].every(({ exit }) => exit !== undefined))
  })

  test("that is a session stays when its client was lost, and ends when it leaves", async () => {
    const session = await started({ argv: ["cat"], cols: 80, rows: 24, keep: true }, "pty")
    session.stream.reset(new TunnelError("link-lost", "gone for too long"))
    await quiet()
    expect(bench.ends).toEqual([])
    const back = bench.client().open({ processId: session.processId, from: "screen" }, "attach")
    back.write("again\r")
    await bench.until(() => back.output.includes("again\r\nagain\r\n"))
    const left = await started({ argv: ["cat"], cols: 80, rows: 24, keep: true }, "pty")
    left.stream.reset(new TunnelError("aborted", "done"))
    await bench.until(() => bench.ends.length === 1)
    expect(bench.ends).toMatchObject([{ exit: { type: "signal", signal: "SIGHUP" } }])
  })
})

describe("[KA4] a read-only attachment", () => {
  test.each([
    ["write", (viewer: Asked) => viewer.write("x\n")],
    ["kill", (viewer: Asked) => viewer.stream.sendMessage({ type: "signal", signal: "SIGKILL" })],
  ])("cannot %s, and only loses itself by trying", async (_, act) => {
    const starter = await started({ argv: ["cat"], stdin: true })
    const viewer = bench.client().open({ processId: starter.processId, from: 0, readOnly: true }, "attach")
    await bench.until(() => viewer.answer !== undefined)
    act(viewer)
    await bench.until(() => viewer.closed !== undefined)
    expect(viewer.closed).toMatchObject({ error: { code: "denied" } })
    starter.write("mine")
    starter.stream.finish()
    await bench.until(() => starter.exit !== undefined)
    expect(starter).toMatchObject({ output: "mine", exit: { type: "code", code: 0 } })
  })
})

describe("[KA2] an attach is refused", () => {
  const refusal = async (body: object, from = client): Promise<TunnelError | undefined> => {
    const asked = from.open(body, "attach")
    await bench.until(() => asked.closed !== undefined)
    return asked.closed?.error
  }

  test.each([[{}], [{ processId: "a b", from: 0 }], [{ processId: "p", from: -1 }], [{ processId: "p", from: "end" }]])(
    "%j",
    async (body) => {
      expect(await refusal(body)).toMatchObject({ code: "bad-request", delivered: "no" })
    },
  )

  test("to a process that never was, that is somebody else's, or with an offset in the future", async () => {
    const { processId } = await started({ argv: ["cat"], stdin: true })
    expect(await refusal({ processId: "0123456789ab", from: 0 })).toMatchObject({ code: "not-found" })
    expect(await refusal({ processId, from: 0 }, bench.client("you"))).toMatchObject({ code: "denied" })
    expect(await refusal({ processId, from: 7 })).toMatchObject({ code: "bad-request" })
    const admin = bench.client("you", ["admin"]).open({ processId, from: 0 }, "attach")
    await bench.until(() => admin.answer !== undefined)
  })
})

test("[KA2] what has ended is shown again, with its exit", async () => {
  const starter = await started({ argv: ["sh", "-c", "echo out; exit 3"] })
  await bench.until(() => starter.exit !== undefined)
  const viewer = bench.client().open({ processId: starter.processId, from: 0 }, "attach")
  await bench.until(() => viewer.exit !== undefined)
  expect(viewer).toMatchObject({ output: "out\n", exit: { type: "code", code: 3 } })
})
