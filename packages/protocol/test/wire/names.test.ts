import { describe, expect, test } from "vitest"
import { classOf, endpointName, isErrorCode, isKind, TunnelError } from "../../src/index.ts"

describe("names", () => {
  test.each(["a", "7", "build-7", "a--b", "x".repeat(56)])("[CT5] %s is a name", (name) => {
    expect(endpointName(name)).toBe(name)
  })

  test.each(["", "-a", "a-", "A", "a.b", "a_b", "ä", "a b", "x".repeat(57), "a\n"])("[CT5] %j is no name", (name) => {
    expect(endpointName(name)).toBeUndefined()
  })

  test("[PC2] the class follows from the kind, and an unknown kind is bulk", () => {
    expect(["exec", "pty", "toString", "__proto__"].map(classOf)).toEqual(["bulk", "interactive", "bulk", "bulk"])
    expect(isKind("constructor")).toBe(false)
  })

  test("[ER1] inherited names are no error codes", () => {
    expect([isErrorCode("timeout"), isErrorCode("toString"), isErrorCode("__proto__")]).toEqual([true, false, false])
  })

  test("[ER2] an error has its code's defaults unless told otherwise", () => {
    expect(new TunnelError("overloaded", "busy")).toMatchObject({ name: "TunnelError", retryable: true, delivered: "no", message: "busy" })
    const cause = new Error("why")
    expect(new TunnelError("overloaded", "busy", { retryable: false, delivered: "unknown", cause })).toMatchObject({
      retryable: false,
      delivered: "unknown",
      cause,
    })
    expect("cause" in new TunnelError("overloaded", "busy")).toBe(false)
  })
})
