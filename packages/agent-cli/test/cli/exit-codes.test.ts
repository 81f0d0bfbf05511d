import { errorCodes, isErrorCode, TunnelError } from "@trunkline/protocol"
import { expect, test } from "vitest"
import { exitCodeOf, exitCodeOfSignal } from "../../src/exit-codes.ts"
import { failureOf, unknownOutcome } from "../../src/failure.ts"
import { UsageError } from "../../src/usage-error.ts"

test("a remote exit keeps its code, and each other ending has its own", () => {
  expect(exitCodeOf({ type: "code", code: 0 })).toBe(0)
  expect(exitCodeOf({ type: "code", code: 255 })).toBe(255)
  expect(exitCodeOf({ type: "signal", signal: "SIGKILL" })).toBe(137)
  expect(exitCodeOf({ type: "signal", signal: "SIGINT" })).toBe(130)
  expect(exitCodeOf({ type: "timeout", timeoutMs: 1 })).toBe(124)
  expect(exitCodeOf({ type: "unknown", reason: "" })).toBe(255)
  expect(exitCodeOfSignal("SIGNEW")).toBe(255)
})

test("errors: 127 not found, 126 cannot run, 2 usage, 1 a check that failed or an address in use, and 255 for all else", () => {
  const codes = Object.keys(errorCodes).filter(isErrorCode)
  const byExitCode = Map.groupBy(codes, (code) => failureOf(new TunnelError(code, "")).exitCode)
  expect(byExitCode.get(127)).toEqual(["command-not-found"])
  expect(byExitCode.get(126)).toEqual(["too-large", "not-executable", "cwd-not-found", "spawn-failed"])
  expect(byExitCode.get(2)).toEqual(["bad-request", "bad-name"])
  expect(byExitCode.get(1)).toEqual(["command-failed", "address-in-use"])
  expect([...byExitCode.keys()].sort()).toEqual([1, 126, 127, 2, 255])
})

test("an unknown outcome says so and is never success", () => {
  const failure = failureOf(unknownOutcome(new TunnelError("link-lost", "the cable is cut", { delivered: "unknown" })))
  expect(failure.message).toMatch(/^outcome unknown: the cable is cut/)
  expect(failure.exitCode).toBe(255)
})

test("a usage error exits with 2, and a fault of our own with 255", () => {
  expect(failureOf(new UsageError("no")).exitCode).toBe(2)
  expect(failureOf(new TypeError("x is not a function"))).toMatchObject({ exitCode: 255, message: "unexpected error: x is not a function" })
})
