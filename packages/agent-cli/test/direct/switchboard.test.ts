/** Several ways in over one keeper: what each loses with its own end, and what it never hears of the others. */
import { readSlot, type Slot, slot as toSlot } from "@trunkline/protocol"
import { SeededRandom } from "@trunkline/protocol/testing"
import { beforeEach, expect, test } from "vitest"
import type { GatewayLeg, SlotEvents } from "../../src/agent/connection.ts"
import { Switchboard } from "../../src/agent/switchboard.ts"
import { linkMessage, RecordedKeeper } from "./recorded-keeper.ts"

const principal = { id: "p", scopes: [] }

class Source implements GatewayLeg {
  bufferedBytes = 0
  readonly did: string[] = []

  send(message: Uint8Array): void {
    this.did.push(`send ${Buffer.from(message).readUInt32BE(0)} ${Buffer.from(message.subarray(16)).toString()}`)
  }

  detach(slot: number, code: number): void {
    this.did.push(`detach ${slot} ${code}`)
  }

  setReading(reading: boolean): void {
    this.did.push(`reading ${reading}`)
  }

  close(code: number): void {
    this.did.push(`close ${code}`)
  }
}

let keeper: RecordedKeeper
let board: Switchboard
let slots: SlotEvents
let gateway: Source
let direct: Source

beforeEach(() => {
  keeper = new RecordedKeeper()
  board = new Switchboard(keeper)
  slots = board.gatewaySlots()
  gateway = new Source()
  direct = new Source()
  slots.connected(gateway)
})

test("the keeper sees one leg, and every client at a slot of its own", () => {
  slots.attached(toSlot(9), principal)
  const ours = board.attach(direct, { ...principal, id: "direct" })
  slots.message(linkMessage(9, "from the gateway"))
  board.message(ours, linkMessage(0, "from this machine"))
  keeper.leg.send(linkMessage(1, "to the gateway"))
  keeper.leg.send(linkMessage(2, "to this machine"))
  expect(keeper.told).toEqual([
    "connected",
    "attached 1 p",
    "attached 2 direct",
    "message 1 from the gateway",
    "message 2 from this machine",
  ])
  expect(gateway.did).toEqual(["send 9 to the gateway"])
  expect(direct.did).toEqual(["send 2 to this machine"])
})

test("the gateway's end takes its clients with it, and no others", () => {
  slots.attached(toSlot(1), principal)
  const ours = board.attach(direct, principal)
  slots.disconnected()
  board.message(ours, linkMessage(0, "still here"))
  expect(keeper.told.slice(3)).toEqual(["detached 1", "message 2 still here"])
  // What waited in its socket may have held up the keeper.
  expect(keeper.drains).toBe(1)
})

test("what is on its way to a client who has left reaches nobody who came after", () => {
  slots.attached(toSlot(1), principal)
  slots.disconnected()
  const next = new Source()
  slots.connected(next)
  slots.attached(toSlot(1), principal)
  keeper.leg.send(linkMessage(1, "late"))
  keeper.leg.send(linkMessage(2, "new"))
  expect([gateway.did, next.did]).toEqual([[], ["send 1 new"]])
})

test("a slot that the gateway gives to another is the former's end", () => {
  slots.attached(toSlot(1), principal)
  slots.attached(toSlot(1), { ...principal, id: "q" })
  slots.detached(toSlot(1), false)
  slots.detached(toSlot(1), false)
  slots.message(linkMessage(1, "nobody's"))
  expect(keeper.told.slice(1)).toEqual(["attached 1 p", "detached 1", "attached 2 q", "detached 2"])
})

test("who is asked to leave is closed where he came in, and is not reported as gone", () => {
  slots.attached(toSlot(5), principal)
  const ours = board.attach(direct, principal)
  keeper.leg.detach(toSlot(1), 1000, "")
  keeper.leg.detach(ours, 1002, "")
  slots.detached(toSlot(5), false)
  board.detached(ours, false)
  expect([gateway.did, direct.did]).toEqual([["detach 5 1000"], ["close 1002"]])
  expect(keeper.told.slice(1)).toEqual(["attached 1 p", "attached 2 p"])
})

test("a keeper that does not keep up is waited for by all, also by who comes then", () => {
  board.addSource(direct)
  keeper.leg.setReading(false)
  const next = new Source()
  slots.disconnected()
  slots.connected(next)
  keeper.leg.setReading(true)
  expect([gateway.did, direct.did, next.did]).toEqual([
    ["reading false"],
    ["reading false", "reading true"],
    ["reading false", "reading true"],
  ])
})

test("only what waits for the gateway counts: it is what all its clients share", () => {
  gateway.bufferedBytes = 7
  direct.bufferedBytes = 1_000
  board.addSource(direct)
  expect(keeper.leg.bufferedBytes).toBe(7)
  slots.disconnected()
  expect(keeper.leg.bufferedBytes).toBe(0)
})

/** Who a message is from or for stands in it, so that one that goes astray is seen. */
const textOf = (message: Uint8Array): string => Buffer.from(message.subarray(16)).toString()

test.each([1, 2, 3, 4])("whatever comes and goes, each client hears and is heard as itself alone (seed %d)", (seed) => {
  const random = new SeededRandom(seed)
  /** Below `of`. */
  const any = (of: number): number => random.integer(0, of - 1)
  /** By the keeper's slot: who was let in there, and whether the keeper still thinks so. */
  const known = new Map<Slot, { readonly id: string; here: boolean }>()
  const strays: string[] = []
  let leg: GatewayLeg | undefined
  const board = new Switchboard({
    connected: (to) => {
      leg = to
    },
    disconnected: () => strays.push("disconnected"),
    attached: (slot, { id }) => {
      if (known.has(slot)) strays.push(`${slot} again`)
      known.set(slot, { id, here: true })
    },
    detached: (slot) => {
      const client = known.get(slot)
      if (client?.here !== true) strays.push(`detached ${slot}`)
      else client.here = false
    },
    message: (message) => {
      const client = known.get(readSlot(message))
      if (client?.here !== true || client.id !== textOf(message)) strays.push(`${readSlot(message)} from ${textOf(message)}`)
    },
    drained: () => {},
  })
  const slots = board.gatewaySlots()
  const direct = new Map<string, Slot>()
  const theirs = new Map<number, string>()
  let names = 0
  const heardAs = (id: string | undefined, message: Uint8Array) => {
    if (textOf(message) !== id) strays.push(`${id} heard ${textOf(message)}`)
  }
  const actions: readonly (() => void)[] = [
    // A gateway's connection that is lost, and the next, whose slots begin anew.
    () => {
      slots.disconnected()
      theirs.clear()
      slots.connected({
        send: (message) => heardAs(theirs.get(readSlot(message)), message),
        bufferedBytes: 0,
        detach: () => {},
        setReading: () => {},
      })
    },
    () => {
      const id = `gateway ${++names}`
      const slot = any(8)
      theirs.set(slot, id)
      slots.attached(toSlot(slot), { id, scopes: [] })
    },
    () => {
      const slot = any(8)
      theirs.delete(slot)
      slots.detached(toSlot(slot), false)
    },
    () => {
      const slot = any(8)
      slots.message(linkMessage(slot, theirs.get(slot) ?? "nobody"))
    },
    () => {
      const id = `direct ${++names}`
      direct.set(id, board.attach({ send: (message) => heardAs(id, message), close: () => {} }, { id, scopes: [] }))
    },
    ...[...Array(3)].map(() => () => {
      const [id, slot] = [...direct][any(direct.size + 1)] ?? []
      // Also of those who have left.
      if (id !== undefined && slot !== undefined) board.message(slot, linkMessage(any(8), id))
    }),
    () => {
      const [, slot] = [...direct][any(direct.size + 1)] ?? []
      if (slot !== undefined) board.detached(slot, false)
    },
    // The keeper, also to those who have left without its knowing yet.
    () => {
      const slot = toSlot(1 + any(known.size + 2))
      leg?.send(linkMessage(slot, known.get(slot)?.id ?? "nobody"))
    },
    () => {
      const slot = toSlot(1 + any(known.size + 2))
      const client = known.get(slot)
      if (client !== undefined) client.here = false
      leg?.detach(slot, 1000, "")
    },
  ]
  actions[0]?.()
  for (let step = 0; step < 5_000; step++) actions[any(actions.length)]?.()
  expect(strays).toEqual([])
  expect(known.size).toBeGreaterThan(500)
})
