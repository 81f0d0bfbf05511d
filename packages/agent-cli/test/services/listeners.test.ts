/** Listeners on real ports and unix sockets: who is told of whom, who may take whom, and when it all ends. */
import { once } from "node:events"
import { chmodSync, existsSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { networkInterfaces } from "node:os"
import { join } from "node:path"
import { type ListenAddress, limits, TunnelError } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { settle } from "./settle.ts"
import { type Asked, type Client, SocketBench } from "./socket-bench.ts"

let bench: SocketBench
let client: Client
beforeEach(() => {
  bench = new SocketBench()
  client = bench.client()
})
afterEach(async () => {
  vi.useRealTimers()
  await bench.close()
})

const loopback: ListenAddress = { host: "127.0.0.1", port: 0 }

const listening = async (address: ListenAddress = loopback): Promise<Asked> => {
  const asked = await client.opened("listen", { address })
  expect(asked.closed).toBeUndefined()
  return asked
}

/** Connects, and waits until the client has been told of it. */
async function waiting(listener: Asked): Promise<{ readonly socket: Socket; readonly body: object }> {
  const told = listener.incoming.length
  const socket = await bench.dial(listener.listening.address)
  await bench.until(() => listener.incoming.length > told)
  return { socket, body: { listener: listener.listening.listener, connection: listener.incoming[told]?.connection } }
}

const broken = (socket: Socket): Promise<void> => bench.until(() => socket.errored !== null || socket.readableEnded)

describe("a listener", () => {
  test.each(["tcp", "unix"])("[KR1] [KR2] on a %s address tells of who connects, and joins who is taken", async (type) => {
    const path = join(bench.folder, "l")
    const listener = await listening(type === "tcp" ? loopback : { path })
    expect(listener.listening).toEqual({
      listener: expect.stringMatching(/^[\w-]{22}$/),
      address: type === "tcp" ? { host: "127.0.0.1", port: expect.any(Number) } : { path },
    })
    const { socket, body } = await waiting(listener)
    const from = { address: "127.0.0.1", port: socket.localPort }
    expect(listener.incoming).toEqual([{ type: "incoming", connection: 1, ...(type === "tcp" ? { from } : {}) }])
    socket.write("hello")
    const asked = await client.opened("accept", body)
    expect(asked.answer).toEqual({})
    await bench.until(() => asked.received.toString() === "hello")
    asked.write("welcome")
    asked.stream.finish()
    const [welcome] = await once(socket, "data")
    expect(String(welcome)).toBe("welcome")
    socket.end("bye")
    await bench.until(() => asked.closed !== undefined)
    expect([asked.received.toString(), asked.closed]).toEqual(["hellobye", { error: undefined }])
  })

  const hasIpv6 = Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === "::1"))
  test.runIf(hasIpv6)("at localhost is at both of its addresses", async () => {
    const listener = await listening({ host: "localhost", port: 0 })
    const { address } = listener.listening
    expect(address).toMatchObject({ host: "localhost" })
    const port = "port" in address ? address.port : 0
    for (const host of ["127.0.0.1", "::1"]) await bench.dial({ host, port })
    await bench.until(() => listener.incoming.length === 2)
    expect(listener.incoming.map(({ from }) => from?.address)).toEqual(["127.0.0.1", "::1"])
    listener.stream.finish()
    await bench.until(() => listener.closed !== undefined)
    for (const host of ["127.0.0.1", "::1"]) await expect(bench.dial({ host, port })).rejects.toMatchObject({ code: "ECONNREFUSED" })
  })

  test.each([
    ["finishes", (asked: Asked) => asked.stream.finish()],
    ["resets", (asked: Asked) => asked.stream.reset(new TunnelError("aborted", "enough"))],
    ["is lost", () => client.leave()],
  ])("[KR1] ends when its client %s: those who wait are broken off", async (_, end) => {
    const listener = await listening()
    const { socket } = await waiting(listener)
    end(listener)
    await broken(socket)
    expect(socket.errored).toMatchObject({ code: "ECONNRESET" })
    await expect(bench.dial(listener.listening.address)).rejects.toMatchObject({ code: "ECONNREFUSED" })
  })

  test("[KR1] ends, and those who were taken go on", async () => {
    const listener = await listening()
    const { socket, body } = await waiting(listener)
    const asked = await client.opened("accept", body)
    listener.stream.finish()
    await bench.until(() => listener.closed !== undefined)
    expect(listener.closed).toEqual({ error: undefined })
    socket.end("still here")
    await bench.until(() => asked.finished)
    expect(asked.received.toString()).toBe("still here")
  })

  test("whose client left before it was there does not stay", async () => {
    const path = join(bench.folder, "l")
    bench.policy.checkListen = () => client.leave()
    const asked = client.open("listen", { address: { path } })
    await bench.until(() => asked.closed !== undefined)
    await settle()
    expect([asked.answer, existsSync(path)]).toEqual([undefined, false])
  })
})

describe("[KR4] an address that is held for a client that cannot be reached", () => {
  test("is given to the same principal, who is back by another link", async () => {
    const listener = await listening()
    const { address } = listener.listening
    const { socket } = await waiting(listener)
    client.cut()
    await settle()
    const again = await bench.client("me").opened("listen", { address })
    expect(again.listening.address).toEqual(address)
    await broken(socket)
    const { body } = await waiting(again)
    expect(body).toMatchObject({ listener: again.listening.listener, connection: 1 })
    client.reconnect()
    await bench.until(() => listener.closed !== undefined)
    expect(listener.code).toBe("aborted")
  })

  test("is not given to another principal, nor while its client is there", async () => {
    const listener = await listening()
    const { address } = listener.listening
    expect((await bench.client("me").opened("listen", { address })).code).toBe("address-in-use")
    client.cut()
    await settle()
    expect((await bench.client("somebody").opened("listen", { address })).code).toBe("address-in-use")
  })
})

test("an agent that stops ends its listeners, whose connections go on", async () => {
  const listener = await listening()
  const { socket, body } = await waiting(listener)
  const asked = await client.opened("accept", body)
  bench.listeners.end(new TunnelError("agent-stopped", "the agent was stopped"))
  await bench.until(() => listener.closed !== undefined)
  expect(listener.code).toBe("agent-stopped")
  socket.write("still here")
  await bench.until(() => asked.received.toString() === "still here")
})

describe("[KR1] an address that cannot be had", () => {
  test("a port that is taken is address-in-use, named, at once", async () => {
    const taken = await bench.serve("tcp", () => {})
    const asked = await client.opened("listen", { address: taken })
    expect(asked.closed?.error).toMatchObject({
      code: "address-in-use",
      message: expect.stringContaining(`127.0.0.1:${"port" in taken ? taken.port : ""} is taken`),
    })
  })

  test("half of localhost that is taken is address-in-use, and the other half is left alone", async () => {
    const taken = createServer().listen({ host: "::1", port: 0 })
    // Without IPv6 there is no half to be taken.
    const there = await once(taken, "listening").catch(() => undefined)
    if (there === undefined) return
    const address = taken.address()
    const port = address !== null && typeof address === "object" ? address.port : 0
    expect((await client.opened("listen", { address: { host: "localhost", port } })).code).toBe("address-in-use")
    expect((await client.opened("listen", { address: { host: "127.0.0.1", port } })).code).toBeUndefined()
    taken.close()
  })

  test("the owner's denial is denied", async () => {
    bench.policy.checkListen = () => {
      throw new TunnelError("denied", "the owner does not allow it")
    }
    expect((await client.opened("listen", { address: loopback })).code).toBe("denied")
  })

  test("an address of another machine, or a name of none, is bad-request", async () => {
    for (const host of ["203.0.113.7", "no-such-host.invalid"]) {
      const asked = await client.opened("listen", { address: { host, port: 0 } })
      expect(asked.closed?.error).toMatchObject({ code: "bad-request", message: expect.stringContaining(host) })
    }
  })

  test.each([
    undefined,
    {},
    { address: {} },
    { address: { host: "127.0.0.1", port: -1 } },
    { address: { host: "127.0.0.1", port: 65_536 } },
    { address: { host: "", port: 0 } },
    { address: { path: "" } },
    { address: { path: `/${"a".repeat(107)}` } },
  ])("%j is bad-request", async (body) => {
    expect((await client.opened("listen", body)).code).toBe("bad-request")
  })
})

describe("[KR1] a unix socket", () => {
  test("is for the agent's user alone, and gone when the listener ends", async () => {
    const path = join(bench.folder, "l")
    const listener = await listening({ path })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    listener.stream.finish()
    await bench.until(() => listener.closed !== undefined)
    expect(existsSync(path)).toBe(false)
  })

  test("takes the place of one whose listener has died", async () => {
    const path = join(bench.folder, "l")
    const dead = createServer().listen(`${path}-1`)
    await once(dead, "listening")
    renameSync(`${path}-1`, path)
    dead.close()
    await once(dead, "close")
    expect(existsSync(path)).toBe(true)
    const listener = await listening({ path })
    await waiting(listener)
  })

  test("does not take the place of one that lives, nor of a file", async () => {
    const { promise, resolve } = Promise.withResolvers<Socket>()
    const living = await bench.serve("unix", resolve)
    expect((await client.opened("listen", { address: living })).code).toBe("address-in-use")
    // Only the look at whether somebody is there came in.
    ;(await promise).destroy()
    const path = join(bench.folder, "file")
    writeFileSync(path, "precious")
    expect((await client.opened("listen", { address: { path } })).code).toBe("address-in-use")
    expect(readFileSync(path, "utf8")).toBe("precious")
  })

  test("where the agent's user may not make one is denied, where there is no directory bad-request", async () => {
    chmodSync(bench.folder, 0o500)
    const superuser = process.getuid?.() === 0
    // Whom nothing is locked for.
    if (superuser) process.seteuid?.(65_534)
    try {
      expect((await client.opened("listen", { address: { path: join(bench.folder, "l") } })).code).toBe("denied")
    } finally {
      if (superuser) process.seteuid?.(0)
      chmodSync(bench.folder, 0o700)
    }
    const asked = await client.opened("listen", { address: { path: join(bench.folder, "none", "l") } })
    expect(asked.closed?.error).toMatchObject({ code: "bad-request", message: expect.stringContaining("directory does not exist") })
  })
})

describe("those who wait", () => {
  test("[KR2] are broken off after 10 s", async () => {
    const listener = await listening()
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    const { socket, body } = await waiting(listener)
    vi.advanceTimersByTime(limits.listenBacklogMs - 1)
    await settle()
    expect(socket.errored).toBeNull()
    vi.advanceTimersByTime(1)
    await broken(socket)
    expect(socket.errored).toMatchObject({ code: "ECONNRESET" })
    expect((await client.opened("accept", body)).code).toBe("not-found")
  })

  test("[KR2] are 128 at most: the next is broken off, until one of them is taken", async () => {
    const listener = await listening()
    const { body } = await waiting(listener)
    for (let count = 1; count < limits.listenBacklogMax; count++) await waiting(listener)
    const beyond = bench.knock(listener.listening.address)
    await broken(beyond)
    expect([beyond.errored, listener.incoming.length]).toEqual([expect.objectContaining({ code: "ECONNRESET" }), 128])
    expect((await client.opened("accept", body)).answer).toEqual({})
    await waiting(listener)
  })

  test("are broken off when so much was said that their client has not read", async () => {
    const listener = await listening()
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    client.cut()
    for (let messages = 0; messages < limits.queuedMessagesMax; messages += limits.listenBacklogMax) {
      const sockets = await Promise.all(Array.from({ length: limits.listenBacklogMax }, () => bench.dial(listener.listening.address)))
      await settle()
      expect(sockets.every(({ errored }) => errored === null)).toBe(true)
      vi.advanceTimersByTime(limits.listenBacklogMs)
      await Promise.all(sockets.map(broken))
    }
    // None waits any more, and none can be told of.
    await broken(bench.knock(listener.listening.address))
    client.reconnect()
    await bench.until(() => listener.incoming.length === limits.queuedMessagesMax)
    await waiting(listener)
  })

  test("and have gone meanwhile are service-failed when they are taken", async () => {
    const listener = await listening()
    const { socket, body } = await waiting(listener)
    socket.resetAndDestroy()
    await bench.until(() => socket.closed)
    const asked = await client.opened("accept", body)
    await bench.until(() => asked.closed !== undefined)
    expect(asked.code).toBe("service-failed")
  })

  test("[KR3] are for the principal of the listener alone", async () => {
    const listener = await listening()
    const { socket, body } = await waiting(listener)
    expect((await bench.client("somebody").opened("accept", body)).code).toBe("denied")
    const asked = await bench.client("me").opened("accept", body)
    asked.write("hello")
    const [hello] = await once(socket, "data")
    expect(String(hello)).toBe("hello")
  })

  test("[KR3] are taken once, and what does not wait is not-found", async () => {
    const listener = await listening()
    const { body } = await waiting(listener)
    const { listener: id } = listener.listening
    expect((await client.opened("accept", body)).answer).toEqual({})
    expect((await client.opened("accept", body)).code).toBe("not-found")
    expect((await client.opened("accept", { listener: id, connection: 2 })).code).toBe("not-found")
    expect((await client.opened("accept", { listener: "a".repeat(22), connection: 1 })).code).toBe("not-found")
  })

  test.each([undefined, {}, { listener: "short", connection: 1 }, { listener: "a".repeat(22), connection: 0 }, { connection: 1 }])(
    "are not asked for by %j",
    async (body) => {
      expect((await client.opened("accept", body)).code).toBe("bad-request")
    },
  )
})
