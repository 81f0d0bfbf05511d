import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { TunnelError } from "@trunkline/protocol"
import { describe, expect, onTestFinished, test } from "vitest"
import { pipeSockets } from "../../src/forwarding/pipe-sockets.ts"
import { closing, readAll, ScriptedTunnel, socketPair, until } from "./scripted-tunnel.ts"

/** More than the kernel and both bounds take together. */
const muchBytes = 33_554_432
const pieceBytes = 65_536

function scratchPath(): string {
  const folder = mkdtempSync(join(tmpdir(), "pipe-"))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return join(folder, "socket")
}

describe.each([
  ["TCP", () => undefined],
  ["unix", scratchPath],
])("a %s connection joined to one through the tunnel", (kind, path) => {
  async function joined() {
    const { near, far } = await socketPair(path())
    const tunnel = new ScriptedTunnel()
    return { near, far, tunnel, done: pipeSockets(near, tunnel.socket) }
  }

  test("passes bytes both ways, and the end of the program's half while it still reads", async () => {
    const { far, tunnel, done } = await joined()
    const read = readAll(far)
    far.end("question")
    await until(() => tunnel.receivedEnd)
    expect(tunnel.receivedText).toBe("question")
    tunnel.send("answer")
    tunnel.end()
    expect((await read).toString()).toBe("answer")
    await done
    expect(tunnel.brokenOff).toBeUndefined()
  })

  test("passes the end of the tunnel's half while the program still writes", async () => {
    const { far, tunnel, done } = await joined()
    tunnel.send("greeting")
    tunnel.end()
    expect((await readAll(far)).toString()).toBe("greeting")
    far.end("late")
    await done
    expect(tunnel.receivedText).toBe("late")
    expect(tunnel.brokenOff).toBeUndefined()
  })

  test("ends the program's connection when the tunnel breaks, whichever half was idle", async () => {
    const { near, far, tunnel, done } = await joined()
    const failed = closing(far)
    far.resume().once("end", () => far.destroy())
    tunnel.fail(new TunnelError("link-lost", "gone"))
    // A unix socket has no reset.
    expect(await failed).toBe(kind === "TCP")
    await done
    expect(near.destroyed).toBe(true)
  })

  test("does so after the tunnel's half has ended as well", async () => {
    const { near, far, tunnel, done } = await joined()
    tunnel.send("x")
    tunnel.end()
    expect((await readAll(far)).toString()).toBe("x")
    tunnel.fail(new TunnelError("link-lost", "gone"))
    await done
    expect(near.destroyed).toBe(true)
  })

  test("reads no more of the program than the tunnel takes, and loses nothing", async () => {
    const { near, far, tunnel, done } = await joined()
    const release = tunnel.hold()
    far.end(Buffer.alloc(muchBytes, "a"))
    await until(() => near.isPaused())
    expect(near.bytesRead).toBeLessThan(4 * pieceBytes)
    release()
    await until(() => tunnel.receivedEnd)
    expect(Buffer.concat(tunnel.received).equals(Buffer.alloc(muchBytes, "a"))).toBe(true)
    tunnel.end()
    far.resume()
    await done
  })

  test("asks the tunnel for no more than the program reads, and loses nothing", async () => {
    const { near, far, tunnel, done } = await joined()
    tunnel.give(Array.from({ length: muchBytes / pieceBytes }, (_, at) => Buffer.alloc(pieceBytes, at)))
    await until(() => near.writableLength >= 2 * pieceBytes)
    const waitingBytes = near.writableLength
    await new Promise((resolve) => setImmediate(resolve))
    expect(near.writableLength).toBe(waitingBytes)
    expect(waitingBytes).toBeLessThanOrEqual(3 * pieceBytes)
    expect(tunnel.pulledBytes).toBeLessThan(muchBytes)
    const read = readAll(far)
    await until(() => tunnel.pulledBytes === muchBytes)
    tunnel.end()
    expect(
      (await read).equals(Buffer.concat(Array.from({ length: muchBytes / pieceBytes }, (_, at) => Buffer.alloc(pieceBytes, at)))),
    ).toBe(true)
    far.end()
    await done
  })
})

describe("a program that resets its connection", () => {
  test("breaks the tunnel off", async () => {
    const { near, far } = await socketPair()
    const tunnel = new ScriptedTunnel()
    const done = pipeSockets(near, tunnel.socket)
    far.resetAndDestroy()
    await done
    expect(tunnel.brokenOff).toBeDefined()
  })

  test("breaks it off too when that was before the tunnel was there", async () => {
    const { near } = await socketPair()
    near.destroy()
    await once(near, "close")
    const tunnel = new ScriptedTunnel()
    await pipeSockets(near, tunnel.socket)
    expect(tunnel.brokenOff).toBeDefined()
  })

  test("breaks it off while the tunnel takes nothing", async () => {
    const { near, far } = await socketPair()
    const tunnel = new ScriptedTunnel()
    tunnel.hold()
    const done = pipeSockets(near, tunnel.socket)
    far.write("a")
    await until(() => near.bytesRead > 0)
    far.resetAndDestroy()
    await until(() => near.destroyed)
    tunnel.fail(new Error("reset"))
    await done
  })
})
