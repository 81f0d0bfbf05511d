import type { OutputEvent } from "@trunkline/client"
import { expect, test } from "vitest"
import { shownBytes } from "../../src/terminal/remote-terminal.ts"

const query = "\u001b[6n"

const shown = async (liveOffset: number, ...events: OutputEvent[]): Promise<string> => {
  const process = {
    liveOffset,
    async *output() {
      yield* events
      yield { type: "exit", exit: { type: "code", code: 0 }, durationMs: 1 } as const
    },
  }
  const chunks: Uint8Array[] = []
  for await (const bytes of shownBytes(process)) chunks.push(bytes)
  return Buffer.concat(chunks).toString()
}
const written = (text: string, offset: number): OutputEvent => ({ type: "stdout", bytes: Buffer.from(text), offset })

test("queries from before we came are taken out, those from after are not", async () => {
  expect(await shown(10, written(`12${query}7890${query}`, 0))).toBe(`127890${query}`)
  expect(await shown(10, written(`12${query}`, 4), written(query, 10))).toBe(`12${query}`)
  expect(await shown(0, written(query, 0))).toBe(query)
})

test("a sequence that had been half written is shown whole", async () => {
  expect(await shown(2, written("\u001b[31mred", 0))).toBe("\u001b[31mred")
  expect(await shown(2, written("\u001b[", 0), written("31mred", 2))).toBe("\u001b[31mred")
  expect(await shown(5, written("abc\u001b[", 0))).toBe("abc\u001b[")
})

test("a repaint is shown as it is, and what was begun before a gap is not", async () => {
  const repaint: OutputEvent = { type: "repaint", bytes: Buffer.from("\u001b[H\u001b[2Jscreen"), offset: 90 }
  expect(await shown(90, repaint, written("x", 90))).toBe("\u001b[H\u001b[2Jscreenx")
  expect(await shown(90, written("ab\u001b]0;ti", 0), { type: "truncated", from: 9, to: 90 }, repaint)).toBe("ab\u001b[H\u001b[2Jscreen")
})
