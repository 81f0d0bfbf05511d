import { describe, expect, test } from "vitest"
import { attachAcceptSchema, attachOpenSchema, checkBody, classOf, InvalidBody } from "../../src/index.ts"

test("[PC2] an attachment is interactive, a question about processes is bulk", () => {
  expect(["attach", "processes"].map(classOf)).toEqual(["interactive", "bulk"])
})

describe("[KA1] attach", () => {
  test.each([0, 2 ** 53 - 1, "screen", "live"])("from %j fills in what is optional", (from) => {
    expect(checkBody(attachOpenSchema, { processId: "p-1_A", from })).toEqual({ processId: "p-1_A", from, readOnly: false, follow: true })
  })

  test("takes a window", () => {
    const body = { processId: "p", from: 0, readOnly: true, follow: false, size: { cols: 100, rows: 10_000 } }
    expect(checkBody(attachOpenSchema, body)).toEqual(body)
  })

  test.each([
    {},
    { processId: "p" },
    { from: 0 },
    { processId: "", from: 0 },
    { processId: "../p", from: 0 },
    { processId: "p".repeat(65), from: 0 },
    { processId: "p", from: -1 },
    { processId: "p", from: 0.5 },
    { processId: "p", from: 2 ** 53 },
    { processId: "p", from: Number.NaN },
    { processId: "p", from: "0" },
    { processId: "p", from: "end" },
    { processId: "p", from: null },
    { processId: "p", from: 0, readOnly: 1 },
    { processId: "p", from: 0, follow: "no" },
    { processId: "p", from: 0, size: { cols: 80 } },
    { processId: "p", from: 0, size: { cols: 0, rows: 24 } },
    { processId: "p", from: 0, size: { cols: 101, rows: 10_000 } },
    null,
  ])("refuses %j", (body) => {
    expect(() => checkBody(attachOpenSchema, body)).toThrow(InvalidBody)
  })

  test("says what a beginning may be", () => {
    expect(() => checkBody(attachOpenSchema, { processId: "p", from: "end" })).toThrow('from: expected an offset, "screen" or "live"')
  })

  test("is answered with where the output begins", () => {
    const answer = { processId: "p", pid: 1, kind: "pty", offset: 7, liveOffset: 9, repaintBytes: 0 }
    expect(checkBody(attachAcceptSchema, answer)).toEqual(answer)
    for (const wrong of [{ pid: 0 }, { kind: "tcp" }, { offset: -1 }, { liveOffset: undefined }, { repaintBytes: 1.5 }]) {
      expect(() => checkBody(attachAcceptSchema, { ...answer, ...wrong })).toThrow(InvalidBody)
    }
  })
})
