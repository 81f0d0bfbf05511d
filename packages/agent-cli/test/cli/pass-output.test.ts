import type { Exit, OutputEvent } from "@trunkline/client"
import { describe, expect, test } from "vitest"
import { finishOutput, type OutputPiece, type OutputSink, passOutput } from "../../src/commands/pass-output.ts"

const told = (...events: OutputEvent[]) => ({
  async *output() {
    yield* events
  },
})
const piece = (type: "stdout" | "stderr", text: string, offset: number): OutputEvent => ({ type, bytes: Buffer.from(text), offset })
const exit = (code: number): OutputEvent => ({ type: "exit", exit: { type: "code", code }, durationMs: 7 })

class Notes implements OutputSink {
  missingBytes = 0
  readonly noted: string[] = []
  async write({ type, bytes }: OutputPiece): Promise<void> {
    this.noted.push(`${type} ${Buffer.from(bytes)}`)
  }
  gap(bytes: number): void {
    this.missingBytes += bytes
    this.noted.push(`gap ${bytes}`)
  }
  async finish(end: Exit): Promise<void> {
    this.noted.push(`end ${end.type}`)
  }
}

const passed = async (...events: OutputEvent[]): Promise<{ exitCode: number; noted: string[] }> => {
  const sink = new Notes()
  return { exitCode: await finishOutput(await passOutput(told(...events), sink), sink), noted: sink.noted }
}

test("output, gaps and the end reach the sink in order", async () => {
  const events = [
    piece("stdout", "a", 0),
    piece("stderr", "b", 1),
    { type: "truncated", from: 2, to: 42 } as const,
    piece("stdout", "c", 42),
  ]
  expect(await passed(...events, exit(3))).toEqual({ exitCode: 3, noted: ["stdout a", "stderr b", "gap 40", "stdout c", "end code"] })
})

describe("a gap in the output", () => {
  const gap: OutputEvent = { type: "truncated", from: 0, to: 1_000 }

  test("makes an exit code of 0 a failure that says so, after all was shown", async () => {
    const sink = new Notes()
    const ended = await passOutput(told(gap, exit(0)), sink)
    await expect(finishOutput(ended, sink)).rejects.toMatchObject({
      exitCode: 255,
      message: "the command exited with 0, but 1000 bytes of its output are missing",
    })
    expect(sink.noted).toEqual(["gap 1000", "end code"])
  })

  test("leaves any other exit code as it is", async () => {
    expect((await passed(gap, exit(7))).exitCode).toBe(7)
    expect((await passed(gap, { type: "exit", exit: { type: "signal", signal: "SIGKILL" }, durationMs: 1 })).exitCode).toBe(137)
  })
})

test("an end that nobody knows is none, whatever was shown", async () => {
  const unknown: OutputEvent = { type: "exit", exit: { type: "unknown", reason: "the machine went away" }, durationMs: 1 }
  await expect(passed(piece("stdout", "a", 0), unknown)).rejects.toMatchObject({
    exitCode: 255,
    message: expect.stringMatching(/^outcome unknown: the machine went away/),
  })
})

test("output that ends without an exit is an error", async () => {
  await expect(passed(piece("stdout", "a", 0))).rejects.toThrow(/without an exit/)
})
