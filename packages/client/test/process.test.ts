/** A process as its client sees it: reading, writing, leaving and every kind of end. */
import { getEventListeners } from "node:events"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { Agent, type OutputEvent, type Process, TunnelError } from "../src/index.ts"
import { systemClock } from "../src/runtime.ts"
import { MemoryAgent, type Served, settle, stderr, stdout, utf8 } from "./memory-agent.ts"
import { readyText } from "./scripted-dial.ts"

let memory: MemoryAgent
beforeEach(() => {
  memory = new MemoryAgent()
})
afterEach(() => memory.agent.close())

async function start(options: Parameters<MemoryAgent["agent"]["spawn"]>[1] = { stdin: "pipe" }): Promise<[Process, Served]> {
  const started = memory.agent.spawn(["cat"], options)
  const served = await memory.next()
  served.accept()
  return [await started, served]
}

const readAll = async (process: Process): Promise<OutputEvent[]> => {
  const events: OutputEvent[] = []
  for await (const event of process.output()) events.push(event)
  return events
}

/** More than any window: what nobody grants room for does not fit. */
const muchBytes = 4_194_304

describe("start", () => {
  test("gives the agent's ids", async () => {
    const [process] = await start()
    expect(process).toMatchObject({ id: "p1", pid: 42 })
  })

  test("rejects with the agent's refusal", async () => {
    const started = memory.agent.spawn(["nonesuch"])
    ;(await memory.next()).stream.reject(new TunnelError("command-not-found", "no such command"))
    await expect(started).rejects.toMatchObject({ code: "command-not-found", delivered: "no" })
  })

  test("rejects, and ends the process, when the agent's answer is none", async () => {
    const started = memory.agent.spawn(["cat"])
    const served = await memory.next()
    served.accept({ pid: "forty-two" })
    await expect(started).rejects.toMatchObject({ code: "bad-request", delivered: "yes" })
    await served.until(() => served.closed !== undefined)
  })

  test("aborted before the answer rejects with aborted, delivered unknown, and takes the request back", async () => {
    const abort = new AbortController()
    const started = memory.agent.spawn(["cat"], { signal: abort.signal })
    const served = await memory.next()
    abort.abort()
    await expect(started).rejects.toMatchObject({ code: "aborted", delivered: "unknown" })
    await settle()
    expect(served.stream.phase).toBe("closed")
    expect(getEventListeners(abort.signal, "abort")).toHaveLength(0)
  })

  test("aborted in the very turn in which the request leaves is aborted", async () => {
    const abort = new AbortController()
    let sent = 0
    const agent = new Agent("box", {
      gateway: new URL("http://gateway.test/"),
      token: "token",
      clock: systemClock,
      idleMs: 0,
      dial: async (_, events) => {
        events.message(readyText())
        return {
          bufferedBytes: 0,
          send() {
            sent += 1
            // After the greeting.
            if (sent === 2) abort.abort()
          },
          close() {},
        }
      },
    })
    await expect(agent.spawn(["cat"], { signal: abort.signal })).rejects.toMatchObject({ code: "aborted", delivered: "unknown" })
    agent.close()
  })

  test("aborted later ends the process: delivered yes", async () => {
    const abort = new AbortController()
    const [process, served] = await start({ signal: abort.signal })
    abort.abort()
    await expect(process.wait()).rejects.toMatchObject({ code: "aborted", delivered: "yes" })
    await served.until(() => served.closed !== undefined)
    expect(served.closed).toMatchObject({ error: { code: "aborted" } })
  })

  test("leaves no listener on the signal of a process that has ended", async () => {
    const { signal } = new AbortController()
    const [process, served] = await start({ signal })
    served.exit()
    await process.wait()
    await served.until(() => served.closed !== undefined)
    await settle()
    expect(getEventListeners(signal, "abort")).toHaveLength(0)
  })
})

describe("output", () => {
  test("is both sources in order, each with its offset in all of the output, and the exit last", async () => {
    const [process, served] = await start()
    served.say(stdout, "one")
    served.say(stderr, "two")
    served.say(stdout, "three")
    served.exit({ type: "code", code: 3 })
    expect(await readAll(process)).toEqual([
      { type: "stdout", bytes: utf8("one"), offset: 0 },
      { type: "stderr", bytes: utf8("two"), offset: 3 },
      { type: "stdout", bytes: utf8("three"), offset: 6 },
      { type: "exit", exit: { type: "code", code: 3 }, durationMs: 5 },
    ])
  })

  test("that has come before anybody reads is kept in order, the exit too", async () => {
    const [process, served] = await start()
    for (const [tag, text] of [
      [stdout, "one"],
      [stderr, "two"],
      [stdout, "three"],
    ] as const)
      served.say(tag, text)
    served.exit()
    await served.until(() => served.closed !== undefined)
    const texts = (await readAll(process)).map((event) => ("bytes" in event ? new TextDecoder().decode(event.bytes) : event.type))
    expect(texts).toEqual(["one", "two", "three", "exit"])
  })

  test("can be had once, and not after wait", async () => {
    const [process, served] = await start()
    process.output()
    expect(() => process.output()).toThrow(expect.objectContaining({ code: "bad-request" }))
    served.exit()
    const [other, otherServed] = await start()
    const ended = other.wait()
    expect(() => other.output()).toThrow(expect.objectContaining({ code: "bad-request" }))
    otherServed.exit()
    await ended
  })

  test("that is asked for is not discarded by wait", async () => {
    const [process, served] = await start()
    const output = process.output()
    const ended = process.wait()
    served.say(stdout, "kept")
    served.exit()
    await ended
    expect(await output.next()).toMatchObject({ value: { type: "stdout", offset: 0 } })
  })

  test("that nobody reads stops the agent, and reading lets it go on", async () => {
    const [process, served] = await start()
    const bytes = await served.fill(muchBytes)
    expect(bytes).toBeLessThan(1_048_576)
    const output = process.output()
    for (let read = 0; read < bytes / 2; ) {
      const { value } = await output.next()
      if (value?.type === "stdout") read += value.bytes.byteLength
    }
    await served.until(() => served.stream.writableBytes > 0)
    expect(await served.fill(65_536)).toBe(65_536)
  })

  test.each([
    [
      "left by a break",
      async (process: Process) => {
        for await (const _ of process.output()) break
      },
    ],
    ["returned before its start", async (process: Process) => void (await process.output().return?.())],
    [
      "returned while it waits",
      async (process: Process) => {
        const output = process.output()
        await output.next()
        const waiting = output.next()
        await output.return?.()
        expect(await waiting).toMatchObject({ done: true })
      },
    ],
    ["not wanted", async (process: Process) => void process.wait()],
  ])("that is %s does not hold the process up", async (_, leave) => {
    const [process, served] = await start()
    served.say(stdout, "first")
    await leave(process)
    expect(await served.fill(muchBytes)).toBeGreaterThanOrEqual(muchBytes)
    served.exit()
    expect(await process.wait()).toMatchObject({ exit: { type: "code", code: 0 } })
  })

  test("that has stopped the agent and is then not wanted lets it go on", async () => {
    const [process, served] = await start()
    await served.fill(muchBytes)
    const ended = process.wait()
    await served.until(() => served.stream.writableBytes > 0)
    served.exit()
    expect(await ended).toMatchObject({ exit: { type: "code", code: 0 } })
  })

  test("in many small pieces is read in order and grants room for more", async () => {
    const [process, served] = await start()
    const output = process.output()
    let expected = 0
    for (let round = 0; round < 30; round++) {
      for (let piece = 0; piece < 500; piece++) served.say(piece % 2 === 0 ? stdout : stderr, "x")
      for (let read = 0; read < 500; read++) {
        const { value } = await output.next()
        if (value?.type !== "stdout" && value?.type !== "stderr") throw new Error("an end")
        expect(value.offset).toBe(expected++)
      }
    }
    served.exit()
    expect(await output.next()).toMatchObject({ value: { type: "exit" } })
    expect(await output.next()).toMatchObject({ done: true })
  })

  test("ends with the error when the link is lost in the middle, after what had come", async () => {
    const [process, served] = await start()
    served.say(stdout, "some")
    await settle()
    memory.stop()
    const output = process.output()
    expect(await output.next()).toMatchObject({ value: { type: "stdout" } })
    await expect(output.next()).rejects.toMatchObject({ code: "agent-stopped", delivered: "yes" })
    await expect(process.wait()).rejects.toMatchObject({ code: "agent-stopped" })
  })

  test.each([
    ["an unknown tag", (served: Served) => served.say(7, "x"), "bad-request"],
    ["an end without an exit", (served: Served) => served.stream.finish(), "bad-request"],
    ["an exit that is none", (served: Served) => served.stream.finish({ exit: { type: "code", code: 1_000 } }), "bad-request"],
  ])("of an agent that sends %s ends with an error", async (_, wrong, code) => {
    const [process, served] = await start()
    wrong(served)
    await expect(readAll(process)).rejects.toMatchObject({ code })
  })
})

describe("input", () => {
  test("arrives, and its end behind it", async () => {
    const [process, served] = await start()
    await process.write(utf8("hello "))
    await process.write(new Uint8Array(0))
    await process.write(utf8("world"))
    process.closeInput()
    process.closeInput()
    await served.until(() => served.inputEnded)
    expect(served.input).toBe("hello world")
  })

  test("waits for a process that does not read, until it does", async () => {
    const [process, served] = await start()
    served.reading = false
    let writes = 0
    const writing = (async () => {
      for (; writes < 64; writes++) await process.write(new Uint8Array(65_536))
    })()
    await settle()
    expect(writes).toBeLessThan(16)
    served.exit()
    await expect(writing).rejects.toMatchObject({ code: "not-found" })
  })

  test("that waits when it is closed waits no more", async () => {
    const [process, served] = await start()
    served.reading = false
    const written = process.write(new Uint8Array(1_048_576))
    process.closeInput()
    await written
  })

  test.each([
    ["its end", async (process: Process) => process.closeInput(), "bad-request"],
    [
      "the exit",
      async (process: Process, served: Served) => {
        served.exit()
        await process.wait()
      },
      "not-found",
    ],
    ["disconnect", async (process: Process) => process.disconnect(), "aborted"],
    [
      "the loss of the link",
      async (process: Process) => {
        memory.stop()
        await process.wait().catch(() => {})
      },
      "agent-stopped",
    ],
  ])("after %s rejects", async (_, end, code) => {
    const [process, served] = await start()
    await end(process, served)
    await expect(process.write(utf8("late"))).rejects.toMatchObject({ code })
  })

  test("that is not bytes is refused", async () => {
    const [process] = await start()
    await expect(process.write("text" as unknown as Uint8Array)).rejects.toMatchObject({ code: "bad-request" })
  })
})

describe("kill and resize", () => {
  test("reach the agent", async () => {
    const [process, served] = await start()
    process.kill()
    process.kill("SIGINT")
    process.resize(100, 40)
    await served.until(() => served.messages.length === 3)
    expect(served.messages).toEqual([
      { type: "signal", signal: "SIGTERM" },
      { type: "signal", signal: "SIGINT" },
      { type: "resize", cols: 100, rows: 40 },
    ])
  })

  test("refuse nonsense here, and the process goes on", async () => {
    const [process, served] = await start()
    const refusal = expect.objectContaining({ code: "bad-request" })
    expect(() => process.kill("SIGNONE" as "SIGINT")).toThrow(refusal)
    expect(() => process.resize(0, 24)).toThrow(refusal)
    expect(() => process.resize(Number.NaN, 24)).toThrow(refusal)
    served.exit()
    expect(await process.wait()).toMatchObject({ exit: { type: "code", code: 0 } })
  })

  test("of a process that has ended are nothing", async () => {
    const [process, served] = await start()
    served.exit()
    await process.wait()
    process.kill("SIGKILL")
    process.resize(80, 24)
    await settle()
    process.kill("SIGKILL")
  })
})

describe("disconnect", () => {
  test("says so to the agent, still sends the input and its end, and rejects who waits", async () => {
    const [process, served] = await start()
    const ended = process.wait()
    process.write(utf8("last words")).catch(() => {})
    process.disconnect()
    await expect(ended).rejects.toMatchObject({ code: "aborted", delivered: "yes" })
    await served.until(() => served.inputEnded)
    expect(served.input).toBe("last words")
    expect(served.messages).toEqual([{ type: "detach" }])
    expect(await served.fill(muchBytes)).toBeGreaterThanOrEqual(muchBytes)
  })
})

test("a stream that was given back lets its link go", async () => {
  const [process, served] = await start()
  process.disconnect()
  await served.until(() => served.inputEnded)
  served.stream.reset(new TunnelError("aborted", "left"))
  await memory.left
  await start()
  expect(memory.dials).toBe(2)
})
