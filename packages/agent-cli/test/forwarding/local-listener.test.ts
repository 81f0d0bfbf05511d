import { spawnSync } from "node:child_process"
import { once } from "node:events"
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { ListenAddress } from "@trunkline/protocol"
import { describe, expect, onTestFinished, test } from "vitest"
import { exitCodes } from "../../src/exit-codes.ts"
import { CommandFailure } from "../../src/failure.ts"
import { listenHere } from "../../src/forwarding/local-listener.ts"
import { addressOwner } from "../../src/forwarding/port-owner.ts"
import { listening, portOf } from "./scripted-tunnel.ts"

const isLinux = process.platform === "linux"

function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "listen-"))
  onTestFinished(() => {
    chmodSync(folder, 0o700)
    rmSync(folder, { recursive: true })
  })
  return folder
}

async function listen(address: ListenAddress) {
  const sockets: Socket[] = []
  const listener = await listenHere(address, {
    connected: (socket) => {
      sockets.push(socket)
      onTestFinished(() => void socket.destroy())
    },
    failed() {},
  })
  onTestFinished(() => listener.close())
  return { listener, sockets }
}

const reach = async (target: { readonly host: string; readonly port: number } | { readonly path: string }): Promise<boolean> => {
  const socket = connect(target)
  onTestFinished(() => void socket.destroy())
  try {
    await once(socket, "connect")
    return true
  } catch {
    return false
  }
}

const portIn = (address: ListenAddress): number => ("port" in address ? address.port : 0)

const failureOf = async (promise: Promise<unknown>): Promise<CommandFailure> => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof CommandFailure)) throw new Error(`expected a failure, not ${error}`)
  return error
}

describe("a listener", () => {
  test("takes any free port of both loopback addresses, says which, and gives it back", async () => {
    const { listener, sockets } = await listen({ host: "localhost", port: 0 })
    const port = portIn(listener.address)
    expect(port).toBeGreaterThan(0)
    expect(await reach({ host: "127.0.0.1", port })).toBe(true)
    const six = createServer().listen(0, "::1")
    const hasSix = await once(six, "listening").then(
      () => true,
      () => false,
    )
    six.close()
    expect(await reach({ host: "::1", port })).toBe(hasSix)
    expect(sockets[0]).toMatchObject({ allowHalfOpen: true })
    expect(sockets[0]?.isPaused()).toBe(true)
    listener.close()
    expect(await reach({ host: "127.0.0.1", port })).toBe(false)
    expect(await reach({ host: "::1", port })).toBe(false)
  })

  test("on every address keeps to what was asked for in what it says", async () => {
    const { listener } = await listen({ host: "*", port: 0 })
    expect(listener.address).toMatchObject({ host: "*" })
    expect(await reach({ host: "127.0.0.1", port: portIn(listener.address) })).toBe(true)
  })

  test("on a path is this user's alone, and its file goes with it", async () => {
    const folder = scratchFolder()
    const path = join(folder, "socket")
    const { listener } = await listen({ path })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(await reach({ path })).toBe(true)
    listener.close()
    expect(readdirSync(folder)).toEqual([])
  })

  test("takes the path that a killed program has left", async () => {
    const path = join(scratchFolder(), "socket")
    const left = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`
    expect(spawnSync(process.execPath, ["-e", left]).signal).toBe("SIGKILL")
    expect(statSync(path).isSocket()).toBe(true)
    await listen({ path })
    expect(await reach({ path })).toBe(true)
  })
})

describe("an address that cannot be had is a failure with exit code 1 that says why", () => {
  test("a port that is taken, by whom, and what to do", async () => {
    const server = await listening(createServer())
    const failure = await failureOf(listen({ host: "localhost", port: portOf(server) }))
    expect(failure.exitCode).toBe(exitCodes.failure)
    expect(failure.message).toContain(`127.0.0.1:${portOf(server)} is taken by ${isLinux ? "" : "another program"}`)
    if (isLinux) expect(failure.message).toContain(`(pid ${process.pid})`)
    expect(failure.message).toContain("take another port, or 0 for any free one")
  })

  test("one that is taken on the other loopback address alone leaves nothing behind", async () => {
    const server = createServer().listen(0, "::1")
    const hasSix = await once(server, "listening").then(
      () => true,
      () => false,
    )
    if (!hasSix) return
    onTestFinished(() => void server.close())
    const failure = await failureOf(listen({ host: "localhost", port: portOf(server) }))
    expect(failure.message).toContain("is taken")
    expect(await reach({ host: "127.0.0.1", port: portOf(server) })).toBe(false)
  })

  test("a path where somebody listens, or where a file is", async () => {
    const folder = scratchFolder()
    const [taken, file] = [join(folder, "socket"), join(folder, "file")]
    await listening(createServer(), { path: taken })
    expect((await failureOf(listen({ path: taken }))).message).toMatch(isLinux ? new RegExp(`taken by .*pid ${process.pid}`) : /taken/)
    writeFileSync(file, "precious")
    expect((await failureOf(listen({ path: file }))).message).toContain("taken by another program")
    expect(statSync(file).size).toBe(8)
    expect((await failureOf(listen({ path: join(folder, "none", "socket") }))).message).toContain("directory of yours that exists")
  })

  test("an address of another machine", async () => {
    const { message } = await failureOf(listen({ host: "192.0.2.1", port: 5432 }))
    expect(message).toBe("192.0.2.1 is no address of this machine; to reach it from the agent, write 5432:192.0.2.1:5432")
  })
})

describe.skipIf(!isLinux)("who holds an address", () => {
  test("is found on each address that is in its way, and on no other", async () => {
    const server = await listening(createServer())
    const port = portOf(server)
    const owner = expect.stringContaining(`pid ${process.pid}`)
    expect(await addressOwner({ host: "127.0.0.1", port })).toEqual(owner)
    expect(await addressOwner({ host: "*", port })).toEqual(owner)
    expect(await addressOwner({ host: "localhost", port })).toEqual(owner)
    expect(await addressOwner({ host: "127.0.0.2", port })).toBeUndefined()
    server.close()
    await once(server, "close")
    expect(await addressOwner({ host: "127.0.0.1", port })).toBeUndefined()
  })
})
