import { expect, test } from "vitest"
import { TerminalModes } from "../../src/terminal/terminal-modes.ts"

const plainText = "\u001b[0m\u001b(B\u001b>"

const modesAfter = (...chunks: string[]): TerminalModes => {
  const modes = new TerminalModes()
  for (const chunk of chunks) modes.read(Buffer.from(chunk))
  return modes
}

test("what a full-screen program switched on is switched off, and its cursor is shown again", () => {
  const modes = modesAfter("\u001b[?1049h\u001b[?1h\u001b=\u001b[?25l\u001b[?1002;1006h\u001b[?2004hhello")
  expect(modes.reset()).toBe(`\u001b[?1049l\u001b[?1l\u001b[?25h\u001b[?1002l\u001b[?1006l\u001b[?2004l${plainText}`)
  expect(modes.restore()).toBe("\u001b[?1049h\u001b[?1h\u001b[?25l\u001b[?1002h\u001b[?1006h\u001b[?2004h")
})

test("what the program has put back itself is left alone", () => {
  expect(modesAfter("\u001b[?1049h\u001b[?25l", "text", "\u001b[?25h\u001b[?1049l").reset()).toBe(plainText)
})

test("a sequence cut anywhere is read all the same", () => {
  const sequence = "\u001b[?1003;1006h"
  for (let cut = 1; cut < sequence.length; cut++) {
    expect(modesAfter(`x${sequence.slice(0, cut)}`, `${sequence.slice(cut)}y`).reset(), `cut at ${cut}`).toBe(
      `\u001b[?1003l\u001b[?1006l${plainText}`,
    )
  }
})

test.each([
  ["cursor's shape", "\u001b[5 q", "\u001b[0 q", "\u001b[5 q"],
  ["way of reporting keys (xterm)", "\u001b[>4;2m", "\u001b[>4;0m", "\u001b[>4;2m"],
  ["way of reporting keys (kitty, pushed)", "\u001b[>31u", "\u001b[<99u\u001b[=0u", "\u001b[>31u"],
  ["way of reporting keys (kitty, set)", "\u001b[=5;1u", "\u001b[<99u\u001b[=0u", "\u001b[>5u"],
])("the %s that a program chose is taken back, and given back to it", (_, said, reset, restore) => {
  for (let cut = 1; cut <= said.length; cut++) {
    const modes = modesAfter(`x${said.slice(0, cut)}`, `${said.slice(cut)}y`)
    expect(modes.reset(), `cut at ${cut}`).toBe(`${reset}${plainText}`)
    expect(modes.restore()).toBe(restore)
  }
})

test("a full reset of the terminal forgets all modes", () => {
  expect(modesAfter("\u001b[?1049h\u001bc").reset()).toBe(plainText)
})

test("other sequences and unknown modes are not taken for modes", () => {
  expect(modesAfter("\u001b[4h\u001b[?9999h\u001b[38;5;25m\u001b]0;?25l\u0007[?1049h").reset()).toBe(plainText)
})

test("an endless unfinished sequence is not collected", () => {
  const modes = modesAfter("\u001b[?")
  for (let round = 0; round < 100; round++) modes.read(Buffer.from("1;".repeat(50)))
  modes.read(Buffer.from("25l"))
  expect(modes.reset()).toBe(plainText)
})
