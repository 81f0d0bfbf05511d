/** The agent from its first dial to its end, against a gateway that says what the test wants. */
import { byteOffset, endpointName, type LinkHello, type Logger, limits, silentLogger, streamId } from "@trunkline/protocol"
import { ScriptedPeer } from "@trunkline/protocol/testing"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { type ServeOptions, type ServeOutcome, serve } from "../../src/agent/serve.ts"
import { answer, errorBody, type Leg, LoopbackGateway } from "./loopback-gateway.ts"
import { hello, owner } from "./slots.ts"

let gateway: LoopbackGateway
let abort: AbortController
let outcome: Promise<ServeOutcome> | undefined

beforeEach(async () => {
  gateway = await LoopbackGateway.start()
  abort = new AbortController()
})
afterEach(async () => {
  abort.abort()
  await gateway.stop()
  await outcome
})

function run(more: Partial<ServeOptions> = {}): Promise<ServeOutcome> {
  const name = endpointName("box")
  if (name === undefined) throw new Error("not a name")
  outcome = serve(
    { name, gateway: gateway.url, secret: "secret", labels: { role: "ci" }, logger: silentLogger, version: "1.2.3", ...more },
    abort.signal,
  )
  return outcome
}

async function up(): Promise<Leg> {
  const leg = await gateway.leg()
  await leg.welcome()
  return leg
}

/** A client at a slot of the leg, whose link is welcomed. */
async function client(leg: Leg, greeting: LinkHello = hello(), number = 1): Promise<ScriptedPeer> {
  const peer = new ScriptedPeer()
  leg.socket.on("message", (data, binary) => {
    if (binary && data instanceof Buffer && data.readUInt32BE(0) === number) peer.transport.send(data)
  })
  peer.attach({
    message(bytes) {
      const addressed = Buffer.from(bytes)
      addressed.writeUInt32BE(number, 0)
      leg.socket.send(addressed)
    },
    drained() {},
    closed() {},
  })
  leg.say({ type: "attached", slot: number, principal: owner })
  peer.sayControl(greeting)
  await leg.until(() => peer.controls.length > 0)
  return peer
}

const openExec = (peer: ScriptedPeer, argv: readonly string[], id = 1, more: object = {}) =>
  peer.sayFrames([
    { type: "open", stream: streamId(id), body: new TextEncoder().encode(JSON.stringify({ kind: "exec", body: { argv, ...more } })) },
  ])
const pidOf = (peer: ScriptedPeer): number => {
  const accept = heardOf(peer, "accept")
  if (accept?.type !== "accept") throw new Error("nothing was started")
  return JSON.parse(new TextDecoder().decode(accept.body)).pid
}
const heardOf = (peer: ScriptedPeer, type: string) => peer.frames.find((frame) => frame.type === type)

describe("online", () => {
  test("it introduces itself, below the gateway's path, with its secret in a header", async () => {
    let onlines = 0
    void run({ gateway: new URL("below/here", gateway.url), onOnline: () => (onlines += 1) })
    const leg = await up()
    expect(leg.request.url).toBe("/below/here/ws/connect?name=box")
    expect(leg.request.headers.authorization).toBe("Bearer secret")
    expect(leg.controls[0]).toMatchObject({ type: "hello", version: "1.2.3", labels: { role: "ci" }, protocol: { min: 1, max: 1 } })
    await client(leg)
    expect(onlines).toBe(1)
  })

  test("it is the same instance on every connection, and its links go on", async () => {
    void run()
    const first = await up()
    const peer = await client(first)
    openExec(peer, ["cat"], 1, { stdin: true })
    await first.until(() => heardOf(peer, "accept") !== undefined)
    first.socket.terminate()
    const second = await up()
    expect(second.controls[0]?.instance).toBe(first.controls[0]?.instance)
    const again = await client(second, hello({ attempt: 2, received: byteOffset(0) }), 7)
    expect(again.controls[0]).toMatchObject({ type: "welcome", resumed: true })
    await second.until(() => heardOf(again, "accept") !== undefined)
  })

  test("a second connection is not made while one lasts", async () => {
    void run()
    const leg = await up()
    await client(leg)
    expect(gateway.dials).toBe(1)
  })
})

describe("it gives up", () => {
  test.each([
    [4001, "unauthorised"],
    [4003, "unauthorised"],
    [4009, "agent-replaced"],
    [4010, "agent-replaced"],
    [4026, "unsupported-version"],
  ])("[RC1] when it is closed with %i", async (closeCode, code) => {
    const ended = run()
    ;(await up()).socket.close(closeCode, "")
    expect(await ended).toMatchObject({ type: "refused", error: { code, retryable: false } })
    expect(gateway.dials).toBe(1)
  })

  test.each([
    ["401 Unauthorized", errorBody("unauthorised"), "unauthorised"],
    ["400 Bad Request", errorBody("bad-name"), "bad-name"],
    ["404 Not Found", "<html>", "protocol-error"],
  ])("when its first dial is answered with %s", async (status, body, code) => {
    gateway.upgrade = answer(status, body)
    expect(await run()).toMatchObject({ type: "refused", error: { code } })
    expect(gateway.dials).toBe(1)
  })

  test("when the secret was revoked while it was away", async () => {
    const ended = run()
    const leg = await up()
    gateway.upgrade = answer("401 Unauthorized", errorBody("unauthorised"))
    leg.socket.close(1012)
    expect(await ended).toMatchObject({ type: "refused", error: { code: "unauthorised" } })
  })

  test.each(["", "two\nlines", "ümlaut"])("at once with the secret %j, which no header can carry", async (secret) => {
    expect(await run({ secret })).toMatchObject({ type: "refused", error: { code: "unauthorised" } })
    expect(gateway.dials).toBe(0)
  })

  test("and hangs up what runs for its clients", async () => {
    const ended = run()
    const leg = await up()
    const peer = await client(leg)
    openExec(peer, ["sleep", "1000"])
    await leg.until(() => heardOf(peer, "accept") !== undefined)
    leg.socket.close(4009, "")
    expect(await ended).toMatchObject({ type: "refused" })
  })
})

describe("it dials again", () => {
  test.each([
    ["503 Service Unavailable", errorBody("overloaded")],
    ["500 Internal Server Error", ""],
    ["502 Bad Gateway", "<html>"],
  ])("after the answer %s", async (status, body) => {
    gateway.upgrade = (request, socket) => {
      gateway.upgrade = undefined
      answer(status, body)(request, socket)
    }
    void run()
    await up()
    expect(gateway.dials).toBe(2)
  })

  test("when something answers in the place of a gateway that was there", async () => {
    void run()
    const leg = await up()
    await client(leg)
    gateway.upgrade = (request, socket) => {
      gateway.upgrade = undefined
      answer("404 Not Found", "<html>default backend</html>")(request, socket)
    }
    leg.socket.close(1012)
    await up()
    expect(gateway.dials).toBe(3)
  })

  test("after a gateway that it cannot understand", async () => {
    void run()
    const leg = await up()
    leg.socket.send("garbage")
    await up()
    expect(leg.closed).toMatchObject({ code: 1002 })
  })
})

describe("a stop", () => {
  const stopped = { type: "stopped" }

  test("before the start dials nothing", async () => {
    abort.abort()
    expect(await run()).toEqual(stopped)
    expect(gateway.dials).toBe(0)
  })

  test("while the first dial is not answered", async () => {
    const asked = Promise.withResolvers<void>()
    gateway.upgrade = () => asked.resolve()
    const ended = run()
    await asked.promise
    abort.abort()
    expect(await ended).toEqual(stopped)
  })

  test("before the welcome says bye all the same", async () => {
    const ended = run()
    const leg = await gateway.leg()
    await leg.until(() => leg.texts.length > 0)
    abort.abort()
    expect(await ended).toEqual(stopped)
    expect(leg.controls.map(({ type }) => type)).toEqual(["hello", "bye"])
    expect(leg.closed).toMatchObject({ code: 1000 })
  })

  test("while it waits to dial again", async () => {
    const refused = Promise.withResolvers<void>()
    gateway.upgrade = (request, socket) => {
      socket.on("close", refused.resolve)
      // The longest wait there is: 5 to 35 seconds.
      answer("503 Service Unavailable", "")(request, socket)
    }
    const ended = run()
    await refused.promise
    abort.abort()
    expect(await ended).toEqual(stopped)
  })

  test("tells the gateway and every client, then says bye and closes with 1000", async () => {
    const ended = run()
    const leg = await up()
    const peer = await client(leg)
    abort.abort()
    expect(await ended).toEqual(stopped)
    expect(leg.controls.map(({ type }) => type)).toEqual(["hello", "drain", "detach", "bye"])
    expect(leg.closed).toEqual({ code: 1000, reason: "bye" })
    expect(peer.controls.at(-1)).toMatchObject({ type: "end", code: "agent-stopped" })
  })

  test("lets what runs finish, and starts nothing more", async () => {
    const ended = run()
    const leg = await up()
    const peer = await client(leg)
    openExec(peer, ["cat"], 1, { stdin: true })
    await leg.until(() => heardOf(peer, "accept") !== undefined)
    abort.abort()
    await leg.until(() => heardOf(peer, "goAway") !== undefined)
    openExec(peer, ["true"], 3)
    await leg.until(() => heardOf(peer, "reject") !== undefined)
    peer.sayFrames([{ type: "fin", stream: streamId(1), trailer: new Uint8Array() }])
    await leg.until(() => heardOf(peer, "fin") !== undefined)
    expect(await ended).toEqual(stopped)
  })

  test("ends what does not finish in its time", async () => {
    const ended = run({ drainMs: 50 })
    const leg = await up()
    const peer = await client(leg)
    openExec(peer, ["sleep", "1000"])
    await leg.until(() => heardOf(peer, "accept") !== undefined)
    abort.abort()
    expect(await ended).toEqual(stopped)
    expect(leg.controls.at(-1)).toEqual({ type: "bye" })
  })

  test("that is forced waits for nothing", async () => {
    const force = new AbortController()
    const ended = run({ drainMs: 3_600_000, force: force.signal })
    const leg = await up()
    const peer = await client(leg)
    openExec(peer, ["sh", "-c", "trap '' HUP TERM; echo ready; while :; do sleep 1; done"])
    await leg.until(() => heardOf(peer, "data") !== undefined)
    abort.abort()
    await leg.until(() => heardOf(peer, "goAway") !== undefined)
    force.abort()
    expect(await ended).toEqual(stopped)
    expect(process.kill(-pidOf(peer), "SIGKILL")).toBe(true)
  })

  test("does not wait for a detached process, nor end it", async () => {
    const ends: string[] = []
    const logger: Logger = { ...silentLogger, info: (event) => void ends.push(event) }
    const ended = run({ drainMs: 0, logger })
    const leg = await up()
    const peer = await client(leg)
    openExec(peer, ["sleep", "1000"], 1, { detach: true })
    await leg.until(() => heardOf(peer, "accept") !== undefined)
    abort.abort()
    expect(await ended).toEqual(stopped)
    expect(ends).not.toContain("process.ended")
    expect(process.kill(pidOf(peer), "SIGKILL")).toBe(true)
  })

  test("ends also when the gateway goes away in the middle of it", async () => {
    const ended = run({ drainMs: 3_600_000 })
    const leg = await up()
    const peer = await client(leg)
    openExec(peer, ["sleep", "1000"])
    await leg.until(() => heardOf(peer, "accept") !== undefined)
    abort.abort()
    await leg.until(() => heardOf(peer, "goAway") !== undefined)
    leg.socket.terminate()
    expect(await ended).toEqual(stopped)
  })
})

test("a listener of ours that throws is logged, and the agent serves on", async () => {
  const errors: string[] = []
  void run({
    logger: { ...silentLogger, error: (event) => void errors.push(event) },
    onOnline() {
      throw new Error("broken")
    },
  })
  const leg = await up()
  const peer = await client(leg)
  expect(peer.controls[0]).toMatchObject({ type: "welcome", window: limits.linkWindowBytesMax })
  expect(errors).toEqual(["agent.failed"])
})
