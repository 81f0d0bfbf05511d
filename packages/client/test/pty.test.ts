/** A terminal's two streams, and how they end. */
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { Terminal } from "../src/index.ts"
import { MemoryAgent, type Served, settle, stdout, utf8 } from "./memory-agent.ts"

let memory: MemoryAgent
beforeEach(() => {
  memory = new MemoryAgent()
})
afterEach(() => memory.agent.close())

async function open(): Promise<[Terminal, Served]> {
  const created = memory.agent.pty.create({ cols: 80, rows: 24 })
  const served = await memory.next()
  served.accept()
  return [await created, served]
}

const muchBytes = 4_194_304

describe("output", () => {
  test("is what comes, and ends with the shell", async () => {
    const [terminal, served] = await open()
    served.say(stdout, "$ ")
    served.exit()
    expect(await new Response(terminal.output).text()).toBe("$ ")
    expect(await terminal.wait()).toMatchObject({ exit: { type: "code", code: 0 } })
  })

  test("is all there also for one who has waited first", async () => {
    const [terminal, served] = await open()
    const ended = terminal.wait()
    served.say(stdout, "kept")
    served.exit()
    await ended
    expect(await new Response(terminal.output).text()).toBe("kept")
  })

  test("that nobody reads stops the shell", async () => {
    const [, served] = await open()
    expect(await served.fill(muchBytes)).toBeLessThan(1_048_576)
  })

  test.each([
    ["before it was read", async (terminal: Terminal) => terminal.output.cancel()],
    [
      "while a read waits",
      async (terminal: Terminal) => {
        const reader = terminal.output.getReader()
        const waiting = reader.read()
        await settle()
        await reader.cancel()
        expect(await waiting).toMatchObject({ done: true })
      },
    ],
    [
      "by a break",
      async (terminal: Terminal, served: Served) => {
        served.say(stdout, "first")
        for await (const _ of terminal.output) break
      },
    ],
  ])("cancelled %s does not hold the shell up", async (_, cancel) => {
    const [terminal, served] = await open()
    await cancel(terminal, served)
    expect(await served.fill(muchBytes)).toBeGreaterThanOrEqual(muchBytes)
    served.exit()
    expect(await terminal.wait()).toMatchObject({ exit: { type: "code" } })
  })

  test("errors when the link is lost", async () => {
    const [terminal] = await open()
    memory.stop()
    await expect(terminal.output.getReader().read()).rejects.toMatchObject({ code: "agent-stopped" })
  })
})

describe("input", () => {
  test("is typed as text or bytes, through the stream or not", async () => {
    const [terminal, served] = await open()
    const writer = terminal.input.getWriter()
    await writer.write("ls")
    await writer.write(utf8(" -l"))
    await terminal.write("\n")
    await served.until(() => served.input === "ls -l\n")
  })

  test("that is closed or aborted ends nothing: a terminal's end of input is typed", async () => {
    const [terminal, served] = await open()
    await terminal.input.abort("changed my mind")
    await terminal.write("still here")
    await served.until(() => served.input === "still here")
    expect(served.inputEnded).toBe(false)
  })

  test("after the end rejects", async () => {
    const [terminal, served] = await open()
    served.exit()
    await terminal.wait()
    await expect(terminal.input.getWriter().write("late")).rejects.toMatchObject({ code: "not-found" })
  })
})

test("resize and kill reach the agent", async () => {
  const [terminal, served] = await open()
  terminal.resize(132, 43)
  terminal.kill()
  await served.until(() => served.messages.length === 2)
  expect(served.messages).toEqual([
    { type: "resize", cols: 132, rows: 43 },
    { type: "signal", signal: "SIGHUP" },
  ])
})
