import { describe, expect, test } from "vitest"
import { checkBody, classOf, InvalidBody, tcpAcceptSchema, tcpOpenSchema, tcpTag } from "../../src/index.ts"

test("[PC2] connections are bulk", () => {
  expect(["tcp", "listen", "accept"].map(classOf)).toEqual(["bulk", "bulk", "bulk"])
})

test("[KT2] DATA has tag 0", () => {
  expect(tcpTag).toBe(0)
})

describe("[KT1] tcp", () => {
  test("opens with a target", () => {
    const open = { target: { host: "db", port: 5_432 } }
    expect(checkBody(tcpOpenSchema, { ...open, newer: true })).toEqual(open)
    for (const wrong of [undefined, {}, { host: "db", port: 5_432 }, { target: "db:5432" }]) {
      expect(() => checkBody(tcpOpenSchema, wrong)).toThrow(InvalidBody)
    }
  })

  test("is answered with an address, or none", () => {
    for (const answer of [{}, { address: "::1" }]) expect(checkBody(tcpAcceptSchema, answer)).toEqual(answer)
    for (const wrong of [undefined, null, { address: null }, { address: 7 }]) {
      expect(() => checkBody(tcpAcceptSchema, wrong)).toThrow(InvalidBody)
    }
  })
})
