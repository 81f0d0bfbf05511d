/** `trunkline connect` as a process: its stdin and stdout as one connection. */
import { type ChildProcess, spawn } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { join } from "node:path"
import type { Readable, Writable } from "node:stream"
import { buffer, text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { readTarget } from "../../src/commands/connect.ts"
import { UsageError } from "../../src/usage-error.ts"
import { LinkGateway } from "./link-gateway.ts"

const program = fileURLToPath(new URL("../../bin/trunkline.js", import.meta.url))

let gateway: LinkGateway
let server: Server | undefined
const children: ChildProcess[] = []
const sockets: Socket[] = []
beforeEach(async () => {
  gateway = await LinkGateway.start()
})
afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL")
  for (const socket of sockets.splice(0)) socket.destroy()
  server?.close()
  await gateway.stop()
})

async function listen(serve: (socket: Socket) => void, path?: string): Promise<string> {
  server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket)
    socket.on("error", () => {})
    serve(socket)
  })
  server.listen(path === undefined ? { port: 0, host: "127.0.0.1" } : { path })
  await once(server, "listening")
  return path ?? String((server.address() as AddressInfo).port)
}

interface Connected {
  readonly child: ChildProcess
  readonly stdin: Writable
  readonly stdout: Readable
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>
}

function connect(target: string): Connected {
  const child = spawn(process.execPath, [program, "connect", "box", target], { env: gateway.environment, stdio: "pipe" })
  children.push(child)
  // Who leaves without having read all is right to.
  child.stdin.on("error", () => {})
  const ended = Promise.all([once(child, "exit"), text(child.stderr)]).then(([[code], stderr]) => ({ code: code as number | null, stderr }))
  return { child, stdin: child.stdin, stdout: child.stdout, ended }
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

describe("connect", () => {
  test("passes bytes both ways to the last, and exits with 0 and not a word of its own", async () => {
    const bytes = randomBytes(16_777_216)
    const { stdin, stdout, ended } = connect(await listen((socket) => void socket.pipe(socket)))
    stdin.end(bytes)
    expect(sha256(await buffer(stdout))).toBe(sha256(bytes))
    expect(await ended).toEqual({ code: 0, stderr: "" })
  })

  test("passes the end of stdin on, and what the target says after it", async () => {
    const port = await listen((socket) => {
      let heard = ""
      socket.on("data", (chunk) => {
        heard += chunk
      })
      socket.on("end", () => socket.end(`heard ${heard}`))
    })
    const { stdin, stdout, ended } = connect(`127.0.0.1:${port}`)
    stdin.end("ping")
    expect(await text(stdout)).toBe("heard ping")
    expect(await ended).toEqual({ code: 0, stderr: "" })
  })

  test("ends stdout with the target's half, and still passes stdin", async () => {
    let heard: Promise<string> | undefined
    const port = await listen((socket) => {
      heard = text(socket)
      socket.end("bye")
    })
    const { stdin, stdout, ended } = connect(port)
    expect(await text(stdout)).toBe("bye")
    stdin.end("last words")
    expect(await ended).toEqual({ code: 0, stderr: "" })
    expect(await heard).toBe("last words")
  })

  test("reaches a unix socket", async () => {
    const path = join(gateway.home, "socket")
    gateway.settings = { ...gateway.settings, allow: [`unix:${path}`] }
    const { stdin, stdout, ended } = connect(await listen((socket) => void socket.end("from the socket").resume(), path))
    stdin.end()
    expect(await text(stdout)).toBe("from the socket")
    expect((await ended).code).toBe(0)
  })

  test("reads no faster than its own reader", async () => {
    let target: Socket | undefined
    const port = await listen((socket) => {
      target = socket
      socket.end(Buffer.alloc(67_108_864, 1)).resume()
    })
    const { stdin, stdout, ended } = connect(port)
    await once(stdout, "readable")
    // Until nothing moves any more.
    for (let before = -1; before !== target?.writableLength; await new Promise((resolve) => setTimeout(resolve, 300)))
      before = target?.writableLength ?? 0
    expect(target?.writableLength).toBeGreaterThan(33_554_432)
    stdin.end()
    expect((await buffer(stdout)).byteLength).toBe(67_108_864)
    expect(await ended).toEqual({ code: 0, stderr: "" })
  })

  test("says in a line why there is no connection, and exits with 255", async () => {
    const port = await listen(() => {})
    server?.close()
    const { stdout, ended } = connect(port)
    expect(await text(stdout)).toBe("")
    expect(await ended).toEqual({ code: 255, stderr: expect.stringMatching(/^trunkline: .*refuses connections.*\n$/) })
    const denied = connect("192.0.2.1:22")
    expect(await denied.ended).toMatchObject({ code: 255, stderr: expect.stringContaining("192.0.2.1") })
  })

  test("that the target breaks off is a failure", async () => {
    const port = await listen((socket) => void socket.once("data", () => socket.resetAndDestroy()))
    const { stdin, stdout, ended } = connect(port)
    stdin.write("hello")
    expect(await text(stdout)).toBe("")
    expect(await ended).toEqual({ code: 255, stderr: expect.stringMatching(/^trunkline: .*broke the connection off.*\n$/) })
  })

  test("whose reader leaves ends quietly, and lets the target go", async () => {
    const gone = Promise.withResolvers<void>()
    const port = await listen((socket) => {
      socket.on("close", () => gone.resolve())
      const more = () => {
        while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
      }
      socket.on("drain", more)
      more()
    })
    const { stdout, ended } = connect(port)
    await once(stdout, "readable")
    stdout.destroy()
    expect(await ended).toEqual({ code: 141, stderr: "" })
    await gone.promise
  })

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("ends with %s", async (signal, code) => {
    const gone = Promise.withResolvers<void>()
    const port = await listen((socket) => {
      socket.on("close", () => gone.resolve())
      socket.write("ready")
    })
    const { child, stdout, ended } = connect(port)
    await once(stdout, "readable")
    child.kill(signal)
    expect(await ended).toEqual({ code, stderr: "" })
    await gone.promise
  })
})

describe("the target", () => {
  test.each([
    ["22", { host: "localhost", port: 22 }],
    ["db.internal:5432", { host: "db.internal", port: 5432 }],
    ["[::1]:80", { host: "::1", port: 80 }],
    ["/run/a:b/x.sock", { path: "/run/a:b/x.sock" }],
  ])("%s is %j", (written, target) => {
    expect(readTarget(written)).toEqual(target)
  })

  test.each([
    "",
    "0",
    "65536",
    "host",
    "host:",
    ":22",
    "::1:80",
    "host:22:23",
    "a b:22",
    "host:-1",
    "relative/x.sock",
    "http://host:80",
    "host:22x",
  ])("%j is none", (written) => {
    expect(() => readTarget(written)).toThrow(UsageError)
  })
})
