import { describe, expect, test } from "vitest"
import { EscapeKeys, type KeyAction } from "../../src/terminal/escape-keys.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

/** What the actions mean, with sent bytes that follow each other joined. */
const told = (actions: readonly KeyAction[]): string =>
  actions.map((action) => (action.type === "send" ? new TextDecoder().decode(action.bytes) : `<${action.type}>`)).join("")

const readAll = (...chunks: string[]): string => {
  const keys = new EscapeKeys()
  return chunks.map((chunk) => told(keys.read(bytes(chunk)))).join("")
}

describe("at line start", () => {
  test.each([
    ["at the very beginning", "~.", "<leave>"],
    ["after Enter", "ls\r~.", "ls\r<leave>"],
    ["after a line feed", "ls\n~.", "ls\n<leave>"],
    ["help, after which it is still the start of a line", "~?~.", "<help><leave>"],
    ["suspend, after which it is still the start of a line", "~\u001ax\r", "<suspend>x\r"],
    ["two tildes send one", "~~", "~"],
    ["after ~~ the line has begun", "~~~.", "~~."],
    ["a tilde before another key goes on with it", "~/bin\r", "~/bin\r"],
    ["Enter after a tilde starts a new line", "~\r~.", "~\r<leave>"],
    ["nothing after leave is read", "~.rm -rf\r", "<leave>"],
    ["detach, after which nothing is read either", "ls\r~d~.x", "ls\r<detach>"],
    ["only a small d detaches", "~D", "~D"],
  ])("%s", (_title, typed, expected) => {
    expect(readAll(typed)).toBe(expected)
    expect(readAll(...typed), "one key at a time").toBe(expected)
  })
})

test("in the middle of a line a tilde is a tilde", () => {
  expect(readAll("cd ~. x~d~?~~\r")).toBe("cd ~. x~d~?~~\r")
})

test("only a tilde at line start waits; every other byte leaves in the call that brought it", () => {
  const keys = new EscapeKeys()
  expect(told(keys.read(bytes("a")))).toBe("a")
  expect(told(keys.read(bytes("~")))).toBe("~")
  expect(told(keys.read(bytes("\r")))).toBe("\r")
  expect(told(keys.read(bytes("~")))).toBe("")
  expect(told(keys.read(bytes("b")))).toBe("~b")
})

test("bytes that are no text come through unchanged", () => {
  const all = Uint8Array.from({ length: 256 }, (_, index) => index).filter((byte) => byte !== 0x7e)
  const sent = new EscapeKeys().read(all).flatMap((action) => (action.type === "send" ? [...action.bytes] : []))
  expect(sent).toEqual([...all])
})
