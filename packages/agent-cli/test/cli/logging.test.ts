import { expect, test } from "vitest"
import { redacted } from "../../src/logging.ts"

test("what is named like a secret is not logged, at any depth", () => {
  const fields = { name: "a", secret: "s1", request: { headers: { Authorization: "s2", accept: "x" }, list: [{ agentToken: "s3" }] } }
  expect(redacted(fields)).toEqual({
    name: "a",
    secret: "[redacted]",
    request: { headers: { Authorization: "[redacted]", accept: "x" }, list: [{ agentToken: "[redacted]" }] },
  })
})

test("an error is logged as its message and code, without a trace", () => {
  expect(redacted({ error: Object.assign(new Error("no route"), { code: "EHOSTUNREACH" }) })).toEqual({
    error: { message: "no route", code: "EHOSTUNREACH" },
  })
})
