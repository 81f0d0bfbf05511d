/** Coming back to a process: what an attachment sees, what it misses, and questions about processes. */
import fc from "fast-check"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { type OutputEvent, type Process, TunnelError } from "../src/index.ts"
import { MemoryAgent, type Served, settle, stderr, stdout, utf8 } from "./memory-agent.ts"

let memory: MemoryAgent
beforeEach(() => {
  memory = new MemoryAgent()
})
afterEach(() => memory.agent.close())

const accepted = { processId: "p1", pid: 42, kind: "exec", offset: 0, liveOffset: 0, repaintBytes: 0 }

async function attach(
  answer: Partial<typeof accepted> = {},
  options: Parameters<MemoryAgent["agent"]["processes"]["attach"]>[1] = {},
): Promise<[Process, Served]> {
  const attached = memory.agent.processes.attach("p1", options)
  const served = await memory.next()
  served.accept({ ...accepted, ...answer })
  return [await attached, served]
}

async function readAll(process: Process): Promise<OutputEvent[]> {
  const events: OutputEvent[] = []
  for await (const event of process.output()) events.push(event)
  return events
}

const gap = (from: number, to: number, repaintBytes = 0) => ({ type: "truncated", from, to, repaintBytes })
const textOf = (events: readonly OutputEvent[]) =>
  events.map((event) => ("bytes" in event ? `${event.type}@${event.offset}:${new TextDecoder().decode(event.bytes)}` : event.type))

describe("attach", () => {
  test("asks for the screen, to follow, and to write, unless told otherwise", async () => {
    const [, served] = await attach()
    expect(served.stream.kind).toBe("attach")
    expect(served.body).toEqual({ processId: "p1", from: "screen", readOnly: false, follow: true })
    const [, other] = await attach({}, { from: 7, readOnly: true, follow: false })
    expect(other.body).toEqual({ processId: "p1", from: 7, readOnly: true, follow: false })
  })

  test("counts offsets from where the agent says the output begins", async () => {
    const [process, served] = await attach({ offset: 100, liveOffset: 104 }, { from: 100 })
    served.say(stdout, "four")
    served.say(stderr, "more")
    served.exit()
    expect(process.liveOffset).toBe(104)
    expect(textOf(await readAll(process))).toEqual(["stdout@100:four", "stderr@104:more", "exit"])
  })

  test("gives a repaint apart from the output that follows it, though both come in one piece", async () => {
    const [process, served] = await attach({ offset: 50, liveOffset: 50, repaintBytes: 6 })
    served.say(stdout, "screenafter")
    served.exit()
    expect(textOf(await readAll(process))).toEqual(["repaint@50:screen", "stdout@50:after", "exit"])
  })

  test("tells a gap where it lies, though word of it overtakes the output before it", async () => {
    const [process, served] = await attach()
    served.stream.sendMessage(gap(6, 20, 3))
    served.say(stdout, "beforescrafter")
    served.exit()
    const events = await readAll(process)
    expect(textOf(events)).toEqual(["stdout@0:before", "truncated", "repaint@20:scr", "stdout@20:after", "exit"])
    expect(events[1]).toEqual({ type: "truncated", from: 6, to: 20 })
  })

  test("tells a gap that is all there is", async () => {
    const [process, served] = await attach()
    served.stream.sendMessage(gap(0, 9))
    served.exit()
    expect(await readAll(process)).toEqual([
      { type: "truncated", from: 0, to: 9 },
      { type: "exit", exit: { type: "code", code: 0 }, durationMs: 5 },
    ])
  })

  test("ends without an exit where it was not to follow", async () => {
    const [process, served] = await attach({}, { follow: false })
    served.say(stdout, "so far")
    served.stream.finish()
    const waited = expect(process.wait()).rejects.toMatchObject({ code: "bad-request" })
    await waited
    const [other, otherServed] = await attach({}, { follow: false })
    otherServed.say(stdout, "so far")
    otherServed.stream.finish()
    expect(textOf(await readAll(other))).toEqual(["stdout@0:so far"])
  })

  test("rejects an agent that ends a followed process without saying how", async () => {
    const [process, served] = await attach()
    served.stream.finish()
    await expect(process.wait()).rejects.toBeInstanceOf(TunnelError)
  })

  test("resets the stream of an agent that tells a gap in what it has sent", async () => {
    const [process, served] = await attach()
    served.say(stdout, "twelve bytes")
    await settle()
    served.stream.sendMessage(gap(3, 9))
    await expect(process.wait()).rejects.toMatchObject({ code: "bad-request" })
  })

  test("leaves the process running, and its input open, on disconnect", async () => {
    const [process, served] = await attach()
    process.disconnect()
    await served.until(() => served.inputEnded)
    expect(served.messages).toEqual([{ type: "detach" }])
    await expect(process.wait()).rejects.toMatchObject({ code: "aborted" })
  })

  test("tells the size of a shared terminal and who decides it", async () => {
    const [process, served] = await attach()
    const sizes: unknown[] = []
    process.onSize = (size) => sizes.push(size)
    served.stream.sendMessage({ type: "size", cols: 100, rows: 30, driver: false })
    served.exit()
    await process.wait()
    expect(sizes).toEqual([{ cols: 100, rows: 30, driver: false }])
    expect(process.size).toEqual({ cols: 100, rows: 30, driver: false })
  })

  test.each([
    ["an id", "", {}],
    ["an offset", "p1", { from: -1 }],
    ["an offset", "p1", { from: 1.5 }],
  ])("refuses what is not %s before anything is sent", async (_, id, options) => {
    await expect(memory.agent.processes.attach(id, options)).rejects.toMatchObject({ code: "bad-request", delivered: "no" })
    expect(memory.dials).toBe(0)
  })

  test("gives every byte once and in order around any gaps, however they are cut into pieces", async () => {
    const piece = fc.record({
      bytes: fc.integer({ min: 1, max: 40 }),
      gap: fc.integer({ min: 0, max: 30 }),
      repaint: fc.integer({ min: 0, max: 20 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 64 }), async (pieces, cut) => {
        const [process, served] = await attach()
        const expected: [string, number][] = []
        const wire: number[] = []
        let offset = 0
        for (const { bytes, gap: missing, repaint } of pieces) {
          for (let index = 0; index < bytes; index++) {
            expected.push(["stdout", offset])
            wire.push(offset % 251)
            offset += 1
          }
          if (missing === 0) continue
          served.stream.sendMessage(gap(offset, offset + missing, repaint))
          expected.push(["truncated", offset])
          offset += missing
          for (let index = 0; index < repaint; index++) {
            expected.push(["repaint", offset])
            wire.push(255)
          }
        }
        for (let at = 0; at < wire.length; at += cut) served.say(stdout, Uint8Array.from(wire.slice(at, at + cut)))
        served.exit()
        const seen: [string, number][] = []
        for (const event of await readAll(process)) {
          if (event.type === "truncated") seen.push(["truncated", event.from])
          else if (event.type !== "exit") {
            event.bytes.forEach((byte, index) => {
              const at = event.type === "stdout" ? event.offset + index : event.offset
              expect(byte).toBe(event.type === "stdout" ? at % 251 : 255)
              seen.push([event.type, at])
            })
          }
        }
        expect(seen).toEqual(expected)
      }),
      { numRuns: 40 },
    )
  })
})

describe("a terminal that is come back to", () => {
  test("shows its screen, then what follows, and a repaint where output is missing", async () => {
    const connected = memory.agent.pty.connect("p1", { cols: 80, rows: 24 })
    const served = await memory.next()
    expect(served.body).toMatchObject({ from: "screen", readOnly: false, size: { cols: 80, rows: 24 } })
    served.accept({ ...accepted, kind: "pty", offset: 500, liveOffset: 500, repaintBytes: 6 })
    const terminal = await connected
    served.say(stdout, "screen")
    served.say(stdout, "key")
    served.stream.sendMessage(gap(503, 900, 4))
    served.say(stdout, "newslive")
    served.exit()
    expect(await new Response(terminal.output).text()).toBe("screenkeynewslive")
  })

  test("has both columns and rows or neither", async () => {
    await expect(memory.agent.pty.connect("p1", { cols: 80 })).rejects.toMatchObject({ code: "bad-request" })
  })

  test("is a session unless it is made otherwise", async () => {
    const created = [memory.agent.pty.create({ cols: 80, rows: 24 }), memory.agent.pty.create({ cols: 80, rows: 24, keep: false })]
    for (const terminal of created) terminal.catch(() => {})
    expect([(await memory.next()).body, (await memory.next()).body]).toMatchObject([{ keep: true }, { keep: false }])
  })
})

describe("questions", () => {
  const description = {
    id: "p1",
    kind: "exec",
    argv: ["true"],
    pid: 42,
    state: "running",
    detached: true,
    startedAt: 5,
    output: { from: 0, to: 0 },
    attached: 0,
  }
  const answer = (served: Served, value: unknown) => {
    served.accept({})
    served.say(0, typeof value === "string" ? value : utf8(JSON.stringify(value)))
    served.stream.finish()
  }

  test("list gives every process, however long the answer", async () => {
    const listed = memory.agent.processes.list()
    const served = await memory.next()
    expect(served.body).toEqual({ type: "list" })
    const processes = Array.from({ length: 3_000 }, (_, index) => ({ ...description, id: `p${index}`, argv: ["x".repeat(500)] }))
    answer(served, { processes })
    expect(await listed).toEqual(processes)
  })

  test("kill and get give the description", async () => {
    const killed = memory.agent.processes.kill("p1", "SIGINT")
    const served = await memory.next()
    expect(served.body).toEqual({ type: "kill", processId: "p1", signal: "SIGINT" })
    answer(served, description)
    expect(await killed).toEqual(description)
    const got = memory.agent.processes.get("p1")
    answer(await memory.next(), description)
    expect(await got).toEqual(description)
  })

  test("reject with the agent's refusal", async () => {
    const got = memory.agent.processes.get("p9")
    ;(await memory.next()).stream.reject(new TunnelError("not-found", "process p9 ended at noon"))
    await expect(got).rejects.toMatchObject({ code: "not-found", message: "process p9 ended at noon" })
  })

  test.each(["no JSON", { id: "p1" }])("reject an answer that is none: %j", async (value) => {
    const got = memory.agent.processes.get("p1")
    answer(await memory.next(), value)
    await expect(got).rejects.toMatchObject({ code: "protocol-error", delivered: "yes" })
  })

  test("refuse a signal that is none before anything is sent", async () => {
    await expect(memory.agent.processes.kill("p1", "SIGNONSENSE" as "SIGINT")).rejects.toMatchObject({ code: "bad-request" })
    expect(memory.dials).toBe(0)
  })

  test("can be given up", async () => {
    const abort = new AbortController()
    const got = memory.agent.processes.get("p1", { signal: abort.signal })
    await memory.next()
    abort.abort()
    await expect(got).rejects.toMatchObject({ code: "aborted", delivered: "unknown" })
  })
})
