import type { Exit } from "@trunkline/client"
import { expect, test } from "vitest"
import { commandText, endText, stateText } from "../../src/commands/process-text.ts"

const exits: readonly (readonly [exit: Exit, state: string, end: string])[] = [
  [{ type: "code", code: 0 }, "exit 0", "with exit code 0"],
  [{ type: "signal", signal: "SIGKILL" }, "SIGKILL", "by SIGKILL"],
  [{ type: "timeout", timeoutMs: 30_000 }, "timeout", "because its 30s were over"],
  [{ type: "unknown", reason: "lost" }, "unknown", "in a way that nobody knows: lost"],
]

test.each(exits)("of an exit %j", (exit, state, end) => {
  expect(stateText({ state: "ended", exit })).toBe(state)
  expect(endText({ id: "p1", endedAt: 0, exit }, 180_000)).toBe(`process p1 ended 3m ago ${end}`)
})

test("of one that runs, and of one that has just ended", () => {
  expect(stateText({ state: "running" })).toBe("running")
  expect(endText({ id: "p1", endedAt: 5, exit: { type: "code", code: 1 } }, 0)).toBe("process p1 ended just now with exit code 1")
})

test("a command line is one that a shell would read as these arguments, on one line, and no longer than a row", () => {
  expect(commandText(["sh", "-c", "ls | wc -l", "it's", ""])).toBe(`sh -c 'ls | wc -l' 'it'\\''s' ''`)
  expect(commandText(["printf", "a\nb\u001b[2J"])).toBe("printf 'a\ufffdb\ufffd[2J'")
  expect(commandText(["echo", "x".repeat(200)])).toMatch(/^echo x{74}…$/)
  expect(commandText([])).toBe("(login shell)")
})
