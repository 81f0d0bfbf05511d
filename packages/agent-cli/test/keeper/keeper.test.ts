/** A keeper and its serves, in memory: who is served, what reaches which gateway connection, and when the keeper is idle. */
import { duplexPair } from "node:stream"
import {
  byteOffset,
  encodeLinkControl,
  type LinkHello,
  limits,
  readSlot,
  type Slot,
  silentLogger,
  slot,
  TunnelError,
} from "@trunkline/protocol"
import { describe, expect, test } from "vitest"
import type { GatewayLeg } from "../../src/agent/connection.ts"
import { Keeper } from "../../src/keeper/keeper.ts"
import { KeeperClient } from "../../src/keeper/keeper-client.ts"
import { hello as linkHello, linkId, owner } from "../agent/slots.ts"

/** A gateway connection that writes down what it is given. */
class Leg implements GatewayLeg {
  readonly sent: Buffer[] = []
  readonly detaches: number[] = []
  readonly readings: boolean[] = []
  bufferedBytes = 0

  send(message: Uint8Array): void {
    this.sent.push(Buffer.from(message))
  }

  detach(at: Slot): void {
    this.detaches.push(at)
  }

  setReading(reading: boolean): void {
    this.readings.push(reading)
  }

  controls(): readonly { readonly type: string; readonly resumed?: boolean; readonly code?: string }[] {
    return this.sent
      .filter((message) => message.readUIntBE(4, 6) === 0xffff_ffff_ffff)
      .map((message) => JSON.parse(message.subarray(16).toString()))
  }
}

class Kept {
  idles = 0
  readonly environments: Readonly<Record<string, string>>[] = []
  readonly keeper = new Keeper({
    version: "1.0.0",
    adoptEnvironment: (environment) => this.environments.push(environment),
    idle: () => {
      this.idles += 1
    },
  })

  /** A serve that has said hello. */
  serve(environment: Readonly<Record<string, string>> = {}): KeeperClient {
    const [near, far] = duplexPair()
    this.keeper.accept(far)
    return KeeperClient.over(near, { logger: silentLogger, version: "1.0.0", environment, outlivesUs: true })
  }
}

const lost = (client: KeeperClient): Promise<void> =>
  new Promise((resolve) => {
    if (client.lost.aborted) resolve()
    client.lost.addEventListener("abort", () => resolve(), { once: true })
  })

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

/** Far more than anything that is going to happen by itself takes. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve))
}

const messageTo = (number: number, greeting: LinkHello): Uint8Array => {
  const message = Buffer.from(encodeLinkControl(greeting, byteOffset(0)))
  message.writeUInt32BE(number, 0)
  return message
}

/** A client's hello at a slot. */
function greet(client: KeeperClient, number: number, greeting: LinkHello = linkHello()): void {
  client.attached(slot(number), owner)
  client.message(messageTo(number, greeting))
}

describe("a serve", () => {
  test("is told which keeper this is, and the next is told the same", async () => {
    const kept = new Kept()
    const first = kept.serve({ A: "1" })
    const welcome = await first.welcomed
    expect(welcome).toMatchObject({ version: "1.0.0", links: 0, processes: 0, pid: process.pid })
    first.close()
    await lost(first)
    const second = kept.serve({ A: "2" })
    await second.welcomed
    expect(second.instance).toBe(first.instance)
    expect(kept.environments).toEqual([{ A: "1" }, { A: "2" }])
  })

  test("that comes later replaces the earlier one, but only once that one has left", async () => {
    const kept = new Kept()
    const first = kept.serve()
    await first.welcomed
    const order: string[] = []
    const second = kept.serve()
    void second.welcomed.then(() => order.push("welcome"))
    await lost(first)
    expect(first.loss).toEqual({ type: "replaced" })
    await turns()
    order.push("closed")
    first.close()
    await second.welcomed
    expect(order).toEqual(["closed", "welcome"])
  })

  test("of several that come at once the last is served, and each of the others is told to leave", async () => {
    const kept = new Kept()
    const clients = [1, 2, 3, 4].map(() => kept.serve())
    const [last, ...others] = clients.toReversed()
    for (const client of others) void lost(client).then(() => client.close())
    await last?.welcomed
    expect(others.map(({ loss }) => loss?.type)).toEqual(["replaced", "replaced", "replaced"])
    expect(last?.lost.aborted).toBe(false)
  })

  test("that does not leave when it is told to is cut off", { timeout: 15_000 }, async () => {
    const kept = new Kept()
    const first = kept.serve()
    await first.welcomed
    expect(await kept.serve().welcomed).toBeDefined()
  })

  test.each([
    ["speaks another version of the protocol", { protocol: { min: 7, max: 9 } }],
    ["has rules that it cannot read", { protocol: { min: 1, max: 1 }, policy: { allow: ["weekdays:*:*:"] } }],
  ])("that %s is told so", async (_, hello) => {
    const kept = new Kept()
    const [near, far] = duplexPair()
    kept.keeper.accept(far)
    const payload = Buffer.from(JSON.stringify({ type: "hello", version: "9", environment: {}, ...hello }))
    const header = Buffer.alloc(5)
    header.writeUInt32BE(payload.byteLength, 0)
    near.write(Buffer.concat([header, payload]))
    let answer = ""
    for await (const chunk of near) answer += chunk
    expect(answer).toContain('{"type":"unsupported","protocol":1,"version":"1.0.0"}')
  })

  test.each([
    ["before its hello", { type: "drain" }],
    ["that is malformed", { type: "hello" }],
  ])("is cut off for a message %s", async (_, message) => {
    const kept = new Kept()
    const [near, far] = duplexPair()
    kept.keeper.accept(far)
    const payload = Buffer.from(JSON.stringify(message))
    const header = Buffer.alloc(5)
    header.writeUInt32BE(payload.byteLength, 0)
    near.write(Buffer.concat([header, payload]))
    near.resume()
    await until(() => far.destroyed)
  })
})

describe("a link", () => {
  test("outlives its serve, and is resumed through the next one", async () => {
    const kept = new Kept()
    const first = kept.serve()
    const leg = new Leg()
    first.connected(leg)
    greet(first, 1)
    await until(() => leg.controls().length > 0)
    expect(leg.controls()[0]).toMatchObject({ type: "welcome", resumed: false })
    first.close()
    await lost(first)
    expect(kept.idles).toBe(0)
    const second = kept.serve()
    expect(await second.welcomed).toMatchObject({ links: 1 })
    const next = new Leg()
    second.connected(next)
    greet(second, 5, linkHello({ attempt: 2 }))
    await until(() => next.controls().length > 0)
    expect(next.controls()[0]).toMatchObject({ type: "welcome", resumed: true })
    expect(next.sent.map(readSlot)).toEqual([5])
  })

  test("never speaks to a later gateway connection through a slot of an earlier one", async () => {
    const kept = new Kept()
    const client = kept.serve()
    const leg = new Leg()
    client.connected(leg)
    greet(client, 1)
    // All of it is on its way before the keeper has answered.
    client.disconnected()
    const next = new Leg()
    client.connected(next)
    greet(client, 2, linkHello({ link: linkId(2) }))
    await until(() => next.sent.length > 0)
    expect(leg.sent).toEqual([])
    expect(next.sent.map(readSlot)).toEqual([2])
    expect(next.detaches).toEqual([])
  })

  test("with a clean end says so before the keeper answers, and then nothing is left", async () => {
    const kept = new Kept()
    const client = kept.serve()
    const leg = new Leg()
    client.connected(leg)
    greet(client, 1)
    await until(() => leg.sent.length > 0)
    await client.drain()
    await client.end(new TunnelError("agent-stopped", "bye"))
    expect(leg.controls().at(-1)).toMatchObject({ type: "end", code: "agent-stopped" })
    await client.gone(undefined)
    client.close()
    await until(() => kept.idles === 1)
  })
})

describe("what waits on the way", () => {
  test("stops the gateway being read when the keeper does not read, and starts it again", async () => {
    const [near, far] = duplexPair()
    const client = KeeperClient.over(near, { logger: silentLogger, version: "1.0.0", environment: {}, outlivesUs: true })
    const leg = new Leg()
    client.connected(leg)
    for (let count = 0; count < 32; count++) client.message(new Uint8Array(65_536))
    expect(leg.readings).toContain(false)
    far.resume()
    await until(() => leg.readings.at(-1) === true)
  })

  test("in the gateway's socket stops the keeper being read, and goes on when it has left", async () => {
    const [near, far] = duplexPair()
    const client = KeeperClient.over(near, { logger: silentLogger, version: "1.0.0", environment: {}, outlivesUs: true })
    const leg = new Leg()
    client.connected(leg)
    const say = (type: number, payload: Uint8Array) => {
      const header = Buffer.alloc(5)
      header.writeUInt32BE(payload.byteLength, 0)
      header[4] = type
      far.write(Buffer.concat([header, payload]))
    }
    say(0, Buffer.from('{"type":"ready","connection":1}'))
    leg.bufferedBytes = 2_000_000
    for (let count = 0; count < 64; count++) say(1, new Uint8Array(limits.dataBytesMax))
    await until(() => leg.sent.length > 0)
    await turns()
    expect(leg.sent.length).toBeLessThan(10)
    leg.bufferedBytes = 0
    client.drained()
    await until(() => leg.sent.length === 64)
  })
})
