import { describe, expect, test } from "vitest"
import {
  checkBody,
  InvalidBody,
  processDescriptionSchema,
  processesOpenSchema,
  processListSchema,
  processNoticeSchema,
  signalNames,
} from "../../src/index.ts"

describe("[KL1] questions about processes", () => {
  test.each([
    { type: "list" },
    { type: "list", idempotencyKey: "k".repeat(256) },
    { type: "get", processId: "p" },
    ...signalNames.map((signal) => ({ type: "kill", processId: "p", signal })),
  ])("%j is one", (body) => {
    expect(checkBody(processesOpenSchema, body)).toEqual(body)
  })

  test.each([
    {},
    { type: "list", idempotencyKey: "" },
    { type: "list", idempotencyKey: "k".repeat(257) },
    { type: "get" },
    { type: "get", processId: "a b" },
    { type: "kill", processId: "p" },
    { type: "kill", processId: "p", signal: "SIGNONE" },
    { type: "kill", processId: "p", signal: "TERM" },
    { type: "kill", processId: "p", signal: 9 },
    { type: "stop", processId: "p" },
    "list",
    null,
  ])("%j is none", (body) => {
    expect(() => checkBody(processesOpenSchema, body)).toThrow(InvalidBody)
  })
})

describe("[KL2] a description", () => {
  const running = {
    id: "p",
    kind: "exec",
    argv: ["ls", ""],
    pid: 1,
    state: "running",
    detached: false,
    startedAt: 1,
    output: { from: 0, to: 0 },
    attached: 0,
  }
  const ended = { ...running, state: "ended", endedAt: 2, exit: { type: "code", code: 0 }, durationMs: 1.5, size: { cols: 80, rows: 24 } }

  test("is of what runs or what has ended, alone or in a list", () => {
    expect(checkBody(processDescriptionSchema, running)).toEqual(running)
    expect(checkBody(processListSchema, { processes: [running, ended] })).toEqual({ processes: [running, ended] })
  })

  test.each([
    { id: "a/b" },
    { kind: "tcp" },
    { argv: "ls" },
    { pid: 0 },
    { state: "starting" },
    { startedAt: -1 },
    { output: { from: 0 } },
    { attached: -1 },
    { exit: { type: "code" } },
  ])("with %j is none", (wrong) => {
    expect(() => checkBody(processDescriptionSchema, { ...ended, ...wrong })).toThrow(InvalidBody)
    expect(() => checkBody(processListSchema, { processes: [{ ...ended, ...wrong }] })).toThrow(InvalidBody)
  })
})

describe("[KP6] [KP7] what an agent says beside the output", () => {
  test.each([
    { type: "truncated", from: 0, to: 5, repaintBytes: 0 },
    { type: "size", cols: 80, rows: 24, driver: true },
  ])("%j", (body) => {
    expect(checkBody(processNoticeSchema, body)).toEqual(body)
  })

  test.each([
    { type: "truncated", from: 0, to: 5 },
    { type: "truncated", from: -1, to: 5, repaintBytes: 0 },
    { type: "size", cols: 80, rows: 0, driver: true },
    { type: "size", cols: 80, rows: 24 },
    { type: "bell" },
  ])("but not %j", (body) => {
    expect(() => checkBody(processNoticeSchema, body)).toThrow(InvalidBody)
  })
})
