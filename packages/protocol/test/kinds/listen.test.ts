import { describe, expect, test } from "vitest"
import { acceptOpenSchema, checkBody, InvalidBody, incomingSchema, listenAcceptSchema, listenOpenSchema } from "../../src/index.ts"

const listener = "Aa0-_".padEnd(22, "x")
const address = { host: "127.0.0.1", port: 8_080 }

describe("[KR1] listen", () => {
  test.each([{ host: "0.0.0.0", port: 0 }, address, { host: "::", port: 65_535 }, { path: "/run/s" }])(
    "opens with the address %j",
    (asked) => {
      expect(checkBody(listenOpenSchema, { address: asked })).toEqual({ address: asked })
    },
  )

  test.each([
    undefined,
    {},
    { address: {} },
    { address: { host: "h", port: -1 } },
    { address: { host: "h", port: 65_536 } },
    { address: { host: "", port: 0 } },
    { address: { port: 0 } },
    { address: { path: "s" } },
  ])("does not open with %j", (body) => {
    expect(() => checkBody(listenOpenSchema, body)).toThrow(InvalidBody)
  })

  test("is answered with a listener and the address taken", () => {
    expect(checkBody(listenAcceptSchema, { listener, address })).toEqual({ listener, address })
    for (const wrong of [{ listener }, { address }, { listener: "x".repeat(15), address }, { listener: "x".repeat(65), address }]) {
      expect(() => checkBody(listenAcceptSchema, wrong)).toThrow(InvalidBody)
    }
    expect(() => checkBody(listenAcceptSchema, { listener: "x".repeat(21).concat("/"), address })).toThrow("not a listener's id")
  })
})

describe("[KR2] those who connect", () => {
  test.each([
    { type: "incoming", connection: 1 },
    { type: "incoming", connection: 2 ** 53 - 1, from: { address: "::1", port: 40_000 } },
  ])("are told of by %j", (incoming) => {
    expect(checkBody(incomingSchema, incoming)).toEqual(incoming)
  })

  test.each([
    null,
    { type: "incoming" },
    { type: "outgoing", connection: 1 },
    { type: "incoming", connection: 0 },
    { type: "incoming", connection: 1.5 },
    { type: "incoming", connection: 1, from: "::1" },
    { type: "incoming", connection: 1, from: { address: "::1" } },
  ])("are not told of by %j", (incoming) => {
    expect(() => checkBody(incomingSchema, incoming)).toThrow(InvalidBody)
  })

  test("are taken by listener and number", () => {
    expect(checkBody(acceptOpenSchema, { listener, connection: 7 })).toEqual({ listener, connection: 7 })
    for (const wrong of [{ listener }, { connection: 7 }, { listener, connection: "7" }, { listener: "", connection: 7 }]) {
      expect(() => checkBody(acceptOpenSchema, wrong)).toThrow(InvalidBody)
    }
  })
})
