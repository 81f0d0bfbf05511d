/** The pure parts of the gateway, without sockets. */
import { closeCodes, limits, readOffer, readSlot, slot } from "@trunkline/protocol"
import { describe, expect, test } from "vitest"
import { decodeRole, encodeRole, type SocketRole } from "../src/agent/attachment.ts"
import { statusOf } from "../src/agent/presence.ts"
import { firstFreeSlot, slotAt } from "../src/agent/slots.ts"
import { cutReason, sendableCode } from "../src/agent/sockets.ts"
import { routeFromAgent, routeFromClient } from "../src/agent/switch.ts"
import { offlineKeptMs } from "../src/endpoint.ts"
import { data } from "./peers.ts"

const leg = "the receiving leg"
const never = (): number => 0

describe("the switch", () => {
  test("overwrites the slot in place and nothing else", () => {
    const message = data(0, "body")
    const before = message.slice(4)
    expect(routeFromClient(message, slot(7), leg, never)).toEqual({ type: "forward", to: leg })
    expect(readSlot(message)).toBe(7)
    expect(message.slice(4)).toEqual(before)
    expect(routeFromAgent(message, (to) => (to === 7 ? leg : undefined), never)).toEqual({ type: "forward", to: leg })
    expect(readSlot(message)).toBe(0)
    expect(message.slice(4)).toEqual(before)
  })

  test("drops what is for nobody: the link resends it", () => {
    expect(routeFromClient(data(0, "body"), slot(1), undefined, never)).toEqual({ type: "drop" })
    expect(routeFromAgent(data(9, "body"), () => undefined, never)).toEqual({ type: "drop" })
  })

  test("closes the client that does not read, at one byte more than the limit", () => {
    const at = (bytes: number) =>
      routeFromAgent(
        data(1, "body"),
        () => leg,
        () => bytes,
      )
    expect(at(limits.clientBufferedBytesMax).type).toBe("forward")
    expect(at(limits.clientBufferedBytesMax + 1)).toMatchObject({ type: "close-receiver", to: leg, code: closeCodes.overloaded })
  })

  test("closes the client that sends when the agent does not read, never the agent", () => {
    const at = (bytes: number) => routeFromClient(data(1, "body"), slot(1), leg, () => bytes)
    expect(at(limits.agentBufferedBytesMax).type).toBe("forward")
    expect(at(limits.agentBufferedBytesMax + 1)).toMatchObject({ type: "close-sender", code: closeCodes.overloaded })
  })

  test("closes a sender of a message too short or too long, before looking at anybody else", () => {
    for (const [bytes, code] of [
      [0, 1002],
      [15, 1002],
      [limits.messageBytesMax + 1, 1009],
    ] as const) {
      expect(routeFromClient(new Uint8Array(bytes), slot(1), leg, never)).toMatchObject({ type: "close-sender", code })
      expect(routeFromAgent(new Uint8Array(bytes), () => leg, never)).toMatchObject({ type: "close-sender", code })
    }
  })

  test("gives reasons that fit in a close frame", () => {
    const verdicts = [
      routeFromClient(new Uint8Array(0), slot(1), leg, never),
      routeFromClient(new Uint8Array(limits.messageBytesMax + 1), slot(1), leg, never),
      routeFromClient(data(1, ""), slot(1), leg, () => Number.POSITIVE_INFINITY),
      routeFromAgent(
        data(1, ""),
        () => leg,
        () => Number.POSITIVE_INFINITY,
      ),
    ]
    for (const verdict of verdicts) {
      const reason = "reason" in verdict ? verdict.reason : ""
      expect(cutReason(reason)).toBe(reason)
    }
  })
})

describe("presence", () => {
  const facts = { record: { state: "online", since: 0 }, socketOpen: true, heardAt: 1_000, now: 1_000 } as const

  test("is a lease: online until nothing was heard for longer than the limit", () => {
    expect(statusOf({ ...facts, now: facts.heardAt + limits.pingDeadMs })).toBe("online")
    expect(statusOf({ ...facts, now: facts.heardAt + limits.pingDeadMs + 1 })).toBe("stale")
    expect(statusOf({ ...facts, record: { state: "draining", since: 0 } })).toBe("draining")
  })

  test("is offline without an open socket, whatever the record says, and nothing after a day or a bye", () => {
    expect(statusOf({ ...facts, socketOpen: false })).toBe("offline")
    const offline = { state: "offline", since: 5 } as const
    expect(statusOf({ ...facts, record: offline, now: offlineKeptMs + 4 })).toBe("offline")
    expect(statusOf({ ...facts, record: offline, now: offlineKeptMs + 5 })).toBeUndefined()
    expect(statusOf({ ...facts, record: { state: "stopped", since: 0 } })).toBeUndefined()
  })
})

test("slots start above every taken one and end with u32", () => {
  expect(firstFreeSlot([])).toBe(1)
  expect(firstFreeSlot([slot(3), slot(9), slot(4)])).toBe(10)
  expect(slotAt(0xffff_ffff)).toBe(0xffff_ffff)
  expect(slotAt(0x1_0000_0000)).toBeUndefined()
})

describe("attachments", () => {
  const roles: readonly SocketRole[] = [
    { type: "agent", generation: 3, nextSlot: 12 },
    { type: "client", slot: slot(4), principal: { id: "gateway", scopes: ["exec"] } },
    { type: "retired" },
  ]
  test.each(roles)("of a $type socket survive", (role) => {
    expect(decodeRole(structuredClone(encodeRole(role)))).toEqual(role)
  })

  test.each([
    null,
    undefined,
    7,
    "agent",
    {},
    { type: "retired" },
    { v: 2, type: "retired" },
    { v: 1, type: "toString" },
    { v: 1, type: "agent", generation: -1, nextSlot: 1 },
    { v: 1, type: "client", slot: 1 },
    { v: 1, type: "client", slot: 1, principal: { id: "x", scopes: [1] } },
    { v: 1, type: "pending", name: "NOT", order: 1 },
  ])("that this version did not write are not believed: %j", (value) => {
    expect(decodeRole(value)).toBeUndefined()
  })
})

test("reserved close codes are not sent on", () => {
  for (const code of [1004, 1005, 1006, 1015, 999, 1016, 2999, 5000]) expect(sendableCode(code)).toBe(1000)
  for (const code of [1000, 1001, 1009, 1012, 3000, 4009, 4999]) expect(sendableCode(code)).toBe(code)
})

test("close reasons are cut to 123 bytes between characters", () => {
  expect(cutReason("x".repeat(123))).toBe("x".repeat(123))
  expect(cutReason("x".repeat(124))).toBe("x".repeat(123))
  expect(cutReason("😀".repeat(40))).toBe("😀".repeat(30))
  expect(cutReason(`${"x".repeat(122)}é`)).toBe("x".repeat(122))
})

test.each([
  [null, { answer: undefined, supported: true, ticket: undefined }],
  ["", { answer: undefined, supported: true, ticket: undefined }],
  ["chat", { answer: undefined, supported: true, ticket: undefined }],
  ["trunkline.v1", { answer: "trunkline.v1", supported: true, ticket: undefined }],
  ["trunkline.v3,trunkline.v1 , trunkline.ticket.abc.def", { answer: "trunkline.v1", supported: true, ticket: "abc.def" }],
  ["trunkline.v2, trunkline.v10", { answer: "trunkline.v2", supported: false, ticket: undefined }],
  ["trunkline.ticket.abc", { answer: undefined, supported: true, ticket: "abc" }],
])("the subprotocol list %j is read as %j", (header, offer) => {
  expect(readOffer(header)).toEqual(offer)
})
