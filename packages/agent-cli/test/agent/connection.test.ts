/** One connection to the gateway, on real sockets and a clock that the test moves. */
import { type AgentHello, linkHeaderBytes, type Principal, readSlot, type Slot, slot, type TransportEvents } from "@trunkline/protocol"
import { type OpenTransports, registerTransportConformance, VirtualClock } from "@trunkline/protocol/testing"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { AgentConnection, finalError, type SlotEvents } from "../../src/agent/connection.ts"
import { answer, errorBody, type Leg, LoopbackGateway, lingering } from "./loopback-gateway.ts"

/** What is behind the slots, where it only listens. */
class Ear implements SlotEvents {
  readonly heard: unknown[] = []
  events: TransportEvents | undefined

  connected(): void {}

  attached(at: Slot, principal: Principal): void {
    this.heard.push({ attached: at, principal })
  }

  detached(at: Slot): void {
    this.heard.push({ detached: at })
  }

  disconnected(): void {
    this.heard.push("disconnected")
  }

  drained(): void {
    this.events?.drained()
  }

  message(message: Uint8Array): void {
    this.heard.push({ at: readSlot(message), bytes: message.byteLength })
    this.events?.message(message.subarray(16))
  }
}

const hello: AgentHello = {
  type: "hello",
  protocol: { min: 1, max: 1 },
  instance: "i",
  version: "1",
  labels: {},
  host: { hostname: "h", os: "o", arch: "a" },
}

let gateway: LoopbackGateway
let clock: VirtualClock
let slots: Ear
let connection: AgentConnection | undefined

const start = async () => {
  gateway = await LoopbackGateway.start()
  clock = new VirtualClock()
  slots = new Ear()
}
const stop = async () => {
  connection?.close(1000, "over")
  connection = undefined
  await gateway.stop()
}

function dial(): AgentConnection {
  connection = new AgentConnection({ url: new URL("ws/connect?name=box", gateway.url), secret: "secret", hello, clock, slots })
  return connection
}

async function up(): Promise<[AgentConnection, Leg]> {
  const made = dial()
  const leg = await gateway.leg()
  await leg.welcome()
  await made.welcomed
  return [made, leg]
}

describe("messages to the gateway", () => {
  /** The far end is a client's leg behind the gateway: no header, and a close is what the agent asks the gateway for. */
  const open: OpenTransports = async (left, right) => {
    await start()
    const [made, leg] = await up()
    slots.events = left
    let closed = false
    leg.socket.on("message", (data, binary) => {
      if (closed || !(data instanceof Buffer)) return
      if (binary) return right.message(data.subarray(16))
      const { type, code, reason } = JSON.parse(data.toString())
      if (type !== "detach") return
      closed = true
      right.closed(code, reason)
    })
    const framed = (message: Uint8Array) => Buffer.concat([Buffer.alloc(16), message])
    return {
      left: {
        send: (message) => made.send(framed(message)),
        get bufferedBytes() {
          return made.bufferedBytes
        },
        close: (code, reason) => made.detach(slot(3), code, reason),
      },
      right: {
        send: (message) => leg.socket.send(framed(message), () => right.drained()),
        bufferedBytes: 0,
        close: (code, reason) => leg.socket.close(code, reason),
      },
      dispose: stop,
    }
  }
  registerTransportConformance((title, body) => {
    // A mebibyte is a message with its header: the suite's largest has no room for one.
    if (!title.includes("1 MiB")) test(title, body)
  }, open)

  test("are as they were when they were sent, whatever becomes of their bytes, behind a socket that is full", async () => {
    await start()
    const [made, leg] = await up()
    const message = Buffer.alloc(65_536)
    // More than the system's buffers take, so that most of them wait.
    for (let count = 0; count < 256; count++) made.send(message.fill(count))
    expect(made.bufferedBytes).toBeGreaterThan(0)
    message.fill(99)
    await leg.until(() => leg.binaries.length === 256)
    expect(leg.binaries.findIndex((received, count) => !received.equals(Buffer.alloc(65_536, count)))).toBe(-1)
    await stop()
  })
})

describe("a connection", () => {
  beforeEach(start)
  afterEach(stop)

  test("says hello first, and is up with the welcome", async () => {
    const [made, leg] = await up()
    expect(leg.controls).toEqual([hello])
    expect(await made.welcomed).toEqual({ generation: 1 })
    expect(leg.request.headers.authorization).toBe("Bearer secret")
    expect(leg.request.url).not.toContain("secret")
  })

  test("passes on what the gateway says of slots, and their messages", async () => {
    const [, leg] = await up()
    const principal = { id: "me", scopes: ["exec"] }
    leg.say({ type: "attached", slot: 5, principal })
    leg.socket.send(Buffer.from([0, 0, 0, 5, ...new Uint8Array(12)]))
    leg.say({ type: "detached", slot: 5 })
    leg.say({ type: "attached", slot: 6, principal })
    while (slots.heard.length < 4) await new Promise((resolve) => setImmediate(resolve))
    expect(slots.heard).toEqual([{ attached: 5, principal }, { at: 5, bytes: 16 }, { detached: 5 }, { attached: 6, principal }])
  })

  test("reads no messages while it is told not to, and then all of them", async () => {
    const [made, leg] = await up()
    made.setReading(false)
    for (let count = 0; count < 64; count++) leg.socket.send(Buffer.alloc(65_536))
    made.control({ type: "drain" })
    await leg.until(() => leg.controls.length === 2)
    for (let turn = 0; turn < 500; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(slots.heard.length).toBeLessThan(64)
    made.setReading(true)
    while (slots.heard.length < 64) await new Promise((resolve) => setImmediate(resolve))
  })

  test("without a welcome ends after 10 seconds, and its promise of one rejects", async () => {
    const made = dial()
    const leg = await gateway.leg()
    await leg.until(() => leg.texts.length > 0)
    clock.advance(9_999)
    expect(slots.heard).toEqual([])
    clock.advance(1)
    expect(await made.ended).toMatchObject({ code: 1006, reason: "no welcome from the gateway" })
    await expect(made.welcomed).rejects.toMatchObject({ code: "gateway-unreachable" })
    expect(slots.heard).toEqual(["disconnected"])
  })

  test("ends after 10 seconds also when the upgrade is not answered, or refused without end", async () => {
    for (const text of ["", "HTTP/1.1 503 Oh\r\ncontent-length: 99\r\n\r\nhalf"]) {
      const asked = Promise.withResolvers<void>()
      gateway.upgrade = (_, socket) => {
        socket.write(text)
        asked.resolve()
      }
      const made = dial()
      await asked.promise
      clock.advance(10_000)
      expect(await made.ended).toMatchObject({ code: 1006 })
    }
  })

  test.each(["garbage", "{}", '{"type":"attached","slot":-1}', '{"type":"dance"}', "x".repeat(20_000), '{"type":"détaché"}'])(
    "[CT2] closes a gateway that says %.20s with 1002",
    async (text) => {
      const [made, leg] = await up()
      leg.socket.send(text)
      expect(await made.ended).toMatchObject({ code: 1002 })
      await leg.until(() => leg.closed !== undefined)
      expect(leg.closed).toMatchObject({ code: 1002 })
    },
  )

  test("[LH1] closes a gateway that sends less than a header with 1002", async () => {
    const [made, leg] = await up()
    leg.socket.send(Buffer.alloc(15))
    expect(await made.ended).toMatchObject({ code: 1002 })
    await leg.until(() => leg.closed?.code === 1002)
  })

  test("closes a gateway that welcomes twice with 1002", async () => {
    const [made, leg] = await up()
    await leg.welcome()
    expect(await made.ended).toMatchObject({ code: 1002 })
  })

  test("[VR2] takes a welcome in a version it did not offer for a final answer", async () => {
    const made = dial()
    const leg = await gateway.leg()
    leg.say({ type: "welcome", protocol: 2, name: "box", generation: 1 })
    const end = await made.ended
    expect(end).toMatchObject({ code: 4026 })
    expect(finalError(end)).toMatchObject({ code: "unsupported-version", retryable: false })
    await leg.until(() => leg.closed?.code === 4026)
  })

  test("[LM2] ends with a gateway that sends more than a mebibyte", async () => {
    const [made, leg] = await up()
    leg.socket.send(Buffer.alloc(1_048_577))
    expect(await made.ended).toMatchObject({ code: 1006 })
    await leg.until(() => leg.closed?.code === 1009)
  })

  test("[CT1] pings every 30 seconds and is dead after 75 in which nothing came", async () => {
    const [made, leg] = await up()
    const pings = () => leg.texts.filter((text) => text === "ping").length
    const pass = async (seconds: number) => {
      for (let passed = 0; passed < seconds; passed++) clock.advance(1_000)
      const expected = pings()
      await leg.until(() => pings() >= expected)
    }
    await pass(30)
    await leg.until(() => pings() === 1)
    leg.socket.send("pong")
    leg.say({ type: "detached", slot: 9 })
    while (slots.heard.length === 0) await new Promise((resolve) => setImmediate(resolve))
    await pass(74)
    expect(slots.heard).not.toContain("disconnected")
    await pass(1)
    expect(await made.ended).toMatchObject({ code: 1006, reason: "no answer from the gateway" })
  })

  test("[CT8] asks 4 seconds after something sent has had no answer, and is dead 5 seconds later", async () => {
    const [made, leg] = await up()
    const pings = () => leg.texts.filter((text) => text === "ping").length
    made.send(new Uint8Array(linkHeaderBytes))
    clock.advance(3_999)
    expect(pings()).toBe(0)
    clock.advance(1)
    await leg.until(() => pings() === 1)
    clock.advance(4_999)
    expect(slots.heard).not.toContain("disconnected")
    clock.advance(1)
    expect(await made.ended).toMatchObject({ code: 1006, reason: "no answer from the gateway" })
  })

  test.each([
    ["400 Bad Request", errorBody("bad-name"), "bad-name"],
    ["401 Unauthorized", errorBody("unauthorised"), "unauthorised"],
    ["403 Forbidden", errorBody("denied"), "denied"],
    ["404 Not Found", errorBody("not-found"), "not-found"],
    ["426 Upgrade Required", errorBody("unsupported-version"), "unsupported-version"],
    ["404 Not Found", "<html>", "protocol-error"],
    ["200 OK", "<html>", "protocol-error"],
    ["301 Moved Permanently", "", "protocol-error"],
    ["401 Unauthorized", '{"error":{"code":"toString","message":"x"}}', "protocol-error"],
    ["401 Unauthorized", "null", "protocol-error"],
  ])("takes the answer %s %.20s for a refusal: %s", async (status, body, code) => {
    gateway.upgrade = answer(status, body)
    const end = await dial().ended
    expect(end).toMatchObject({ code: 1006, refused: { code, retryable: false } })
    expect(finalError(end)).toMatchObject({ code })
  })

  test.each([
    ["500 Internal Server Error", errorBody("internal")],
    ["502 Bad Gateway", "<html>"],
    ["503 Service Unavailable", errorBody("overloaded")],
    ["429 Too Many Requests", "<html>"],
    ["408 Request Timeout", ""],
    ["404 Not Found", errorBody("agent-offline")],
  ])("takes the answer %s for a moment's trouble", async (status, body) => {
    gateway.upgrade = answer(status, body)
    expect(await dial().ended).not.toHaveProperty("refused")
  })

  test.each([
    [4001, "unauthorised"],
    [4003, "unauthorised"],
    [4009, "agent-replaced"],
    [4010, "agent-replaced"],
    [4026, "unsupported-version"],
  ])("closed with %i says %s", async (closeCode, code) => {
    const [made, leg] = await up()
    leg.socket.close(closeCode, "why")
    const end = await made.ended
    expect(end).toEqual({ code: closeCode, reason: "why" })
    expect(finalError(end)).toMatchObject({ code, retryable: false })
    expect(slots.heard).toEqual(["disconnected"])
  })

  test("closed while dialling ends", async () => {
    gateway.upgrade = () => {}
    const made = dial()
    made.close(1000, "bye")
    expect(await made.ended).toMatchObject({ code: 1006 })
  })

  test("says what it was told to say before it closes", async () => {
    const [made, leg] = await up()
    for (let count = 0; count < 32; count++) made.send(new Uint8Array(65_536))
    made.control({ type: "bye" })
    made.close(1000, "bye")
    await made.ended
    await leg.until(() => leg.closed !== undefined)
    expect(leg.binaries).toHaveLength(32)
    expect(leg.controls.at(-1)).toEqual({ type: "bye" })
    expect(leg.closed).toEqual({ code: 1000, reason: "bye" })
  })

  // Longer than it takes, and shorter than the 30 s after which the library would.
  describe("to a gateway that keeps it for ever", { timeout: 15_000 }, () => {
    test("ends when it is closed here", async () => {
      const ended = Promise.withResolvers<void>()
      gateway.upgrade = lingering(new Uint8Array(), ended.resolve)
      const made = dial()
      made.welcomed.catch(() => {})
      await new Promise<void>((resolve) => {
        const upgrade = gateway.upgrade
        gateway.upgrade = (request, socket) => {
          upgrade?.(request, socket)
          setImmediate(resolve)
        }
      })
      made.close(1000, "bye")
      await made.ended
      await ended.promise
    })

    test("ends when it is closed there, with the code", async () => {
      const ended = Promise.withResolvers<void>()
      gateway.upgrade = lingering(Buffer.of(0x88, 0x02, 0x0f, 0xbd), ended.resolve)
      expect(await dial().ended).toMatchObject({ code: 4029 })
      await ended.promise
    })
  })
})
