import { describe, expect, test } from "vitest"
import {
  checkBody,
  execOpenSchema,
  exitSchema,
  InvalidBody,
  processMessageSchema,
  processTrailerSchema,
  ptyOpenSchema,
} from "../../src/index.ts"

describe("[KP1] open bodies", () => {
  test("exec fills in what is optional", () => {
    expect(checkBody(execOpenSchema, { argv: ["ls", ""] })).toMatchObject({ argv: ["ls", ""], env: {}, stdin: false })
  })

  test.each([
    {},
    { argv: [] },
    { argv: [""] },
    { argv: "ls" },
    { argv: ["a\0b"] },
    { argv: ["ls", 7] },
    { argv: ["ls"], env: { "A=B": "1" } },
    { argv: ["ls"], env: { "": "1" } },
    { argv: ["ls"], env: { A: "\0" } },
    { argv: ["ls"], cwd: "\0" },
    { argv: ["ls"], stdin: 1 },
    { argv: ["ls"], timeoutMs: 0 },
    { argv: ["ls"], timeoutMs: 2 ** 31 },
    null,
    "ls",
  ])("exec refuses %j", (body) => {
    expect(() => checkBody(execOpenSchema, body)).toThrow(InvalidBody)
  })

  test("a refusal names the field", () => {
    expect(() => checkBody(execOpenSchema, { argv: ["ls", 7] })).toThrow("argv.1: expected a string")
  })

  test("pty needs a size and no command", () => {
    expect(checkBody(ptyOpenSchema, { cols: 80, rows: 24 })).toMatchObject({ cols: 80, rows: 24, env: {} })
    for (const size of [
      { cols: 0, rows: 24 },
      { cols: 80 },
      { cols: 80.5, rows: 24 },
      { cols: 80, rows: 10_001 },
      { cols: 1_001, rows: 1_000 },
    ]) {
      expect(() => checkBody(ptyOpenSchema, size)).toThrow(InvalidBody)
    }
  })
})

describe("[KP3] messages and [KP4] trailers", () => {
  test("signals have known names, sizes are in range", () => {
    expect(checkBody(processMessageSchema, { type: "signal", signal: "SIGINT" })).toEqual({ type: "signal", signal: "SIGINT" })
    for (const body of [
      { type: "signal", signal: "SIGBUS" },
      { type: "signal", signal: 9 },
      { type: "resize", cols: 0, rows: 1 },
      { type: "resize", cols: 10_000, rows: 101 },
      { type: "shout" },
    ]) {
      expect(() => checkBody(processMessageSchema, body)).toThrow(InvalidBody)
    }
  })

  test.each([
    { type: "code", code: 0 },
    { type: "code", code: 255 },
    { type: "signal", signal: "SIGKILL" },
    { type: "timeout", timeoutMs: 5 },
    { type: "unknown", reason: "restarted" },
  ])("%j is an exit", (exit) => {
    expect(checkBody(exitSchema, exit)).toEqual(exit)
    expect(checkBody(processTrailerSchema, { exit, durationMs: 1.5 })).toEqual({ exit, durationMs: 1.5 })
  })

  test.each([{ type: "code", code: 256 }, { type: "code", code: -1 }, { type: "code" }, {}, undefined])(
    "%j is no exit, and nobody may read it as success",
    (exit) => {
      expect(() => checkBody(processTrailerSchema, { exit, durationMs: 0 })).toThrow(InvalidBody)
    },
  )
})
