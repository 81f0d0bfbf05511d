/** Connecting to real sockets, present, absent, silent and full, within the time there is. */
import { once } from "node:events"
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { limits } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest"
import { connectHops } from "../../src/targets/connect-hops.ts"
import type { Hop } from "../../src/targets/owner-policy.ts"
import { settle } from "../services/settle.ts"
import { StoppedServer } from "../services/stopped-server.ts"

let folder: string
let server: Server
let accepted: Socket[]
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hops-"))
  accepted = []
  server = createServer((socket) => {
    accepted.push(socket.on("error", () => {}))
    socket.write("hello")
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
})
afterEach(async () => {
  vi.useRealTimers()
  for (const socket of accepted) socket.destroy()
  server.close()
  await once(server, "close")
  rmSync(folder, { recursive: true })
})

const tcp = (address: string, port: number): Hop => ({ type: "tcp", host: "db", address, port })
const unix = (path: string): Hop => ({ type: "unix", path })
const here = (): Hop => tcp("127.0.0.1", (server.address() as AddressInfo).port)

/** A port of loopback at which nothing listens. */
async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1")
  await once(probe, "listening")
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, "close")
  return port
}

describe("a place that is there", () => {
  test("gives a socket that nothing has been read of, whose halves end apart", async () => {
    const { socket, hop } = await connectHops([here()], "db:1")
    expect(hop).toEqual(here())
    expect(socket.allowHalfOpen).toBe(true)
    await settle()
    expect([socket.isPaused(), socket.readableLength, socket.bytesRead]).toEqual([true, 0, 0])
    const [hello] = await once(socket.resume(), "data")
    expect(String(hello)).toBe("hello")
    socket.destroy()
  })

  test("is found behind others that refuse", async () => {
    const { socket, hop } = await connectHops([tcp("127.0.0.1", await freePort()), unix(join(folder, "none")), here()], "db:1")
    expect(hop).toEqual(here())
    socket.destroy()
  })
})

describe("[KT1] nobody there", () => {
  test("a port where nothing listens is service-refused, with the name that was asked for and the address", async () => {
    const port = await freePort()
    await expect(connectHops([tcp("127.0.0.1", port)], `db:${port}`)).rejects.toMatchObject({
      code: "service-refused",
      message: `db:${port} (127.0.0.1) refuses connections; is the service running at the agent?`,
    })
  })

  test("a path where nothing is, or something else, is service-refused", async () => {
    const none = join(folder, "none")
    await expect(connectHops([unix(none)], none)).rejects.toMatchObject({ code: "service-refused", message: expect.stringContaining(none) })
    const file = join(folder, "file")
    writeFileSync(file, "")
    await expect(connectHops([unix(file)], file)).rejects.toMatchObject({ code: "service-refused" })
  })

  test("a socket that the agent's user may not use is service-refused, and says so", async () => {
    const path = join(folder, "locked")
    const locked = createServer().listen(path)
    await once(locked, "listening")
    chmodSync(path, 0)
    const superuser = process.getuid?.() === 0
    // Whom nothing is locked for.
    if (superuser) process.seteuid?.(65_534)
    try {
      await expect(connectHops([unix(path)], path)).rejects.toMatchObject({
        code: "service-refused",
        message: expect.stringContaining("agent's user may not use the socket"),
      })
    } finally {
      if (superuser) process.seteuid?.(0)
      locked.close()
    }
  })

  test("an address without a way to it is service-unreachable", async () => {
    // No connection can be made to all of a network.
    await expect(connectHops([tcp("255.255.255.255", 1)], "db:1")).rejects.toMatchObject({ code: "service-unreachable" })
  })

  test("a refusal tells more than an address that cannot be reached", async () => {
    const hops = [tcp("255.255.255.255", 1), tcp("127.0.0.1", await freePort()), tcp("255.255.255.255", 1)]
    await expect(connectHops(hops, "db:1")).rejects.toMatchObject({ code: "service-refused" })
  })
})

// Other systems take in more than their queue was said to hold.
describe.runIf(process.platform === "linux")("a place that takes nobody in", () => {
  let stopped: StoppedServer
  let silent: Hop
  beforeEach(async () => {
    stopped = await StoppedServer.start()
    silent = "port" in stopped.target ? tcp("127.0.0.1", stopped.target.port) : unix(stopped.target.path)
  })
  afterEach(() => stopped.end())

  test("[KT1] is service-timeout after 10 s, whatever the others say", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    let settled = false
    const failed = connectHops([silent, tcp("127.0.0.1", 1)], "db:1")
    failed.finally(() => (settled = true)).catch(() => {})
    vi.advanceTimersByTime(limits.targetConnectMs - 1)
    await settle()
    expect(settled).toBe(false)
    vi.advanceTimersByTime(1)
    await expect(failed).rejects.toMatchObject({ code: "service-timeout", message: expect.stringContaining("db:1 did not take") })
  })

  test("does not keep the next from being tried", async () => {
    const { socket, hop } = await connectHops([silent, here()], "db:1")
    expect(hop).toEqual(here())
    socket.destroy()
  })

  test("is given up at once when the signal says so, with its reason", async () => {
    const abort = new AbortController()
    const failed = connectHops([silent], "db:1", abort.signal)
    failed.catch(() => {})
    await settle()
    abort.abort(new Error("enough"))
    await expect(failed).rejects.toThrow("enough")
  })

  test("is not asked for a caller who has left before", async () => {
    await expect(connectHops([here()], "db:1", AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough")
    await settle()
    expect(accepted).toHaveLength(0)
  })

  test("is asked again while the queue of its unix socket is full", async () => {
    const full = await StoppedServer.start(join(folder, "full"))
    onTestFinished(() => full.end())
    const connecting = connectHops([unix(join(folder, "full"))], "full")
    connecting.catch(() => {})
    await settle()
    full.go()
    const { socket } = await connecting
    socket.destroy()
  })
})
