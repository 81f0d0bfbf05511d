import { describe, expect, test } from "vitest"
import { checkBody, httpTargetSchema, InvalidBody, streamTargetSchema, targetText } from "../../src/index.ts"

/** 107 bytes, the most that an address of Linux holds. */
const longestPath = `/${"ä".repeat(53)}`

describe("[KT1] a target", () => {
  test.each([
    { host: "localhost", port: 1 },
    { host: "db_1.internal-net", port: 65_535 },
    { host: "10.0.0.7", port: 22 },
    { host: "::1", port: 22 },
    { host: "fe80::1%eth0", port: 22 },
    { host: "h".repeat(253), port: 22 },
    { path: "/run/a b.sock" },
    { path: longestPath },
  ])("is %j", (target) => {
    expect(checkBody(streamTargetSchema, target)).toEqual(target)
    expect(checkBody(httpTargetSchema, target)).toEqual(target)
  })

  test.each([
    undefined,
    null,
    "localhost:22",
    {},
    { host: "h" },
    { port: 22 },
    { host: "", port: 22 },
    { host: "h".repeat(254), port: 22 },
    { host: "[::1]", port: 22 },
    { host: "a b", port: 22 },
    { host: "a/b", port: 22 },
    { host: "a\0", port: 22 },
    { host: "a@b", port: 22 },
    { host: "h", port: 0 },
    { host: "h", port: 65_536 },
    { host: "h", port: 1.5 },
    { host: "h", port: "22" },
    { path: "" },
    { path: "run/s" },
    { path: "/run/\0" },
    { path: `${longestPath}b` },
  ])("is not %j", (target) => {
    expect(() => checkBody(streamTargetSchema, target)).toThrow(InvalidBody)
    expect(() => checkBody(httpTargetSchema, target)).toThrow(InvalidBody)
  })

  test("that is none is answered with what would be", () => {
    expect(() => checkBody(streamTargetSchema, {})).toThrow("expected a host and a port, or a path")
  })
})

test.each([
  [{ host: "db", port: 5_432 }, "db:5432"],
  [{ host: "::1", port: 80 }, "[::1]:80"],
  [{ path: "/run/s" }, "/run/s"],
  [{ service: 3_000 }, "port 3000"],
])("%j is written %s", (target, text) => {
  expect(targetText(target)).toBe(text)
})
