/** `trunkline forward` as users run it: real programs on both sides, real sockets, and what breaks in between. */
import { execFile } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { createServer as createHttpServer } from "node:http"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { type Command, World } from "./world.ts"

const longTestMs = 120_000
let world: World

beforeAll(async () => {
  world = await World.start()
  await world.agent("box", [
    "--allow",
    "loopback:*",
    "--allow",
    `unix:${world.home}/*`,
    "--allow",
    "listen:loopback:*",
    "--allow",
    `listen:unix:${world.home}/*`,
  ])
})
afterAll(() => world.stop())

/** Starts `forward`, and resolves when all of it is ready. */
async function forward(name: string, ...args: readonly string[]): Promise<Command> {
  const command = world.command(["forward", name, ...args])
  onTestFinished(async () => {
    command.child.kill("SIGKILL")
    await command.finished
  })
  await command.until(({ stdout }) => stdout.includes("\n"))
  return command
}

/** The ports that were taken, in the order of the command line. */
const portsOf = ({ stdout }: Command): readonly number[] =>
  stdout
    .toString()
    .trim()
    .split("\n")
    .map((line) => Number(line.split(":").at(-1)))

async function serve(server: Server, place: { readonly path: string } | { readonly port: number } = { port: 0 }): Promise<number> {
  const sockets = new Set<Socket>()
  server.on("connection", (socket: Socket) => sockets.add(socket.on("error", () => {})))
  server.listen("path" in place ? place : { ...place, host: "127.0.0.1" })
  await once(server, "listening")
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return "path" in place ? 0 : (server.address() as AddressInfo).port
}

const echo = (): Server => createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket))

type Target = { readonly port: number; readonly host?: string } | { readonly path: string }

function dial(target: Target): Socket {
  const socket = connect({ allowHalfOpen: true, ...("port" in target ? { host: "127.0.0.1", ...target } : target) })
  onTestFinished(() => void socket.destroy())
  return socket.on("error", () => {})
}

interface Ending {
  readonly bytes: Buffer
  /** Its half was ended in order; else it was reset. */
  readonly ended: boolean
}

/** All that comes. */
function readAll(socket: Socket): Promise<Ending> {
  const chunks: Buffer[] = []
  return new Promise((resolve) => {
    socket.on("data", (chunk: Buffer) => chunks.push(chunk))
    socket.on("end", () => resolve({ bytes: Buffer.concat(chunks), ended: true }))
    socket.on("close", () => resolve({ bytes: Buffer.concat(chunks), ended: false }))
  })
}

/** The first that comes; nothing when it is ended instead. */
const readFirst = (socket: Socket): Promise<Buffer> =>
  new Promise((resolve) => void socket.once("data", resolve).once("close", () => resolve(Buffer.alloc(0))))

/** Sends, ends its half, and reads what comes. */
async function exchange(target: Target, sent: string | Buffer): Promise<Buffer> {
  const socket = dial(target)
  const read = readAll(socket)
  socket.end(sent)
  const { bytes, ended } = await read
  if (!ended) throw new Error(`reset after ${bytes.byteLength} bytes`)
  return bytes
}

/** When it is connected, or is not going to be. */
const settled = (socket: Socket): Promise<void> =>
  new Promise((resolve) => void socket.once("connect", resolve).once("close", () => resolve()))

const refusesConnections = async (port: number): Promise<boolean> => {
  const socket = dial({ port })
  return await new Promise((resolve) => void socket.once("connect", () => resolve(false)).once("close", () => resolve(true)))
}

describe("a port of this machine", () => {
  test("carries bytes both ways and the end of each half to a port of the agent's", async () => {
    const port = await serve(echo())
    const [local = 0] = portsOf(await forward("box", `0:127.0.0.1:${port}`))
    const sent = randomBytes(5_000_000)
    expect((await exchange({ port: local }, sent)).equals(sent)).toBe(true)
    expect((await exchange({ port: local, host: "localhost" }, "x")).toString()).toBe("x")
    expect((await exchange({ port: local }, "")).toString()).toBe("")
  })

  test("passes each half's end alone", async () => {
    const last = await serve(
      createServer({ allowHalfOpen: true }, (socket) => void readAll(socket).then(({ bytes }) => socket.end(`got ${bytes}`))),
    )
    const heard = Promise.withResolvers<Ending>()
    const first = await serve(
      createServer({ allowHalfOpen: true }, (socket) => {
        socket.end("bye")
        void readAll(socket).then(heard.resolve)
      }),
    )
    const [toLast = 0, toFirst = 0] = portsOf(await forward("box", `0:127.0.0.1:${last}`, `0:127.0.0.1:${first}`))
    expect((await exchange({ port: toLast }, "question")).toString()).toBe("got question")
    const socket = dial({ port: toFirst })
    expect(await readAll(socket)).toEqual({ bytes: Buffer.from("bye"), ended: true })
    socket.end("after the end")
    expect(await heard.promise).toEqual({ bytes: Buffer.from("after the end"), ended: true })
  })

  test("passes resets, in both directions", async () => {
    const met = Promise.withResolvers<Socket>()
    const port = await serve(
      createServer({ allowHalfOpen: true }, (socket) => {
        socket.on("data", () => socket.resetAndDestroy())
        met.resolve(socket)
      }),
    )
    const [local = 0] = portsOf(await forward("box", `0:127.0.0.1:${port}`))
    const near = dial({ port: local })
    const reset = readAll(await met.promise)
    near.resetAndDestroy()
    expect(await reset).toMatchObject({ ended: false })
    const other = dial({ port: local })
    other.write("x")
    expect(await readAll(other)).toMatchObject({ ended: false })
  })

  test("carries hundreds of connections at once, on more links than one", { timeout: longTestMs }, async () => {
    const port = await serve(echo())
    const command = await forward("box", `0:127.0.0.1:${port}`)
    const [local = 0] = portsOf(command)
    for (const count of [100, 300]) {
      const sockets = Array.from({ length: count }, () => dial({ port: local }))
      // All of them are there before the first ends.
      const echoed = await Promise.all(
        sockets.map(async (socket, at) => {
          socket.write(`${at} `)
          const [chunk] = (await once(socket, "data")) as [Buffer]
          return chunk.toString()
        }),
      )
      expect(echoed).toEqual(sockets.map((_, at) => `${at} `))
      const rests = sockets.map(readAll)
      for (const socket of sockets) socket.end("end")
      for (const { bytes, ended } of await Promise.all(rests))
        expect({ text: bytes.toString(), ended }).toEqual({ text: "end", ended: true })
    }
    expect(command.stderr.trim().split("\n")).toHaveLength(1)
  })

  test("keeps those beyond its bound waiting, refuses the rest of a flood, and serves whoever comes after it", {
    timeout: longTestMs,
  }, async () => {
    const port = await serve(createServer((socket) => socket.resume().write("hello")))
    const command = await forward("box", `0:127.0.0.1:${port}`)
    const [local = 0] = portsOf(command)
    let [greeted, over] = [0, 0]
    const sockets: Socket[] = []
    // By the hundred: the system itself drops what does not fit in its queue.
    while (sockets.length < 2_300) {
      const hundred = Array.from({ length: 100 }, () =>
        dial({ port: local })
          .once("data", () => (greeted += 1))
          .once("close", () => (over += 1)),
      )
      await Promise.all(hundred.map(settled))
      sockets.push(...hundred)
    }
    await world.until(() => greeted === 1_000 && over === 300)
    expect(command.stderr).toContain("2000 connections are open: a further one was refused")
    for (const socket of sockets) socket.destroy()
    const served = async () => (await readFirst(dial({ port: local }))).toString() === "hello"
    await world.until(served)
    expect(command.child.exitCode).toBeNull()
  })

  test("is a path where that is asked for, on either side or on both", async () => {
    const [here, there] = [join(world.home, "here.sock"), join(world.home, "there.sock")]
    await serve(echo(), { path: there })
    const port = await serve(echo())
    const command = await forward("box", `${here}:${there}`, `0:${there}`, `${here}2:127.0.0.1:${port}`)
    const sent = randomBytes(1_000_000)
    for (const target of [{ path: here }, { port: portsOf(command)[1] ?? 0 }, { path: `${here}2` }]) {
      expect((await exchange(target, sent)).equals(sent)).toBe(true)
    }
    command.child.kill("SIGINT")
    await command.finished
    expect([here, `${here}2`].filter((path) => existsSync(path))).toEqual([])
  })
})

describe("what cannot be connected to", () => {
  test("resets that connection and is said once, and forward goes on", async () => {
    const port = await serve(echo())
    const command = await forward("box", "0:127.0.0.1:1", "0:169.254.169.254:80", `0:127.0.0.1:${port}`)
    const [refused = 0, denied = 0, good = 0] = portsOf(command)
    for (let i = 0; i < 5; i++) {
      expect(await readAll(dial({ port: refused }))).toMatchObject({ ended: false })
      expect(await readAll(dial({ port: denied }))).toMatchObject({ ended: false })
    }
    expect((await exchange({ port: good }, "x")).toString()).toBe("x")
    const lines = command.stderr.split("\n").filter((line) => line.startsWith("trunkline:"))
    expect(lines).toHaveLength(2)
    expect(lines[0]).toMatch(/a connection to 127\.0\.0\.1:1 failed: .*refuse/)
    expect(lines[1]).toMatch(/a connection to 169\.254\.169\.254:80 failed: .*(owner|allow|den)/)
  })
})

describe("-R", () => {
  test("leads from a port of the agent's to one of this machine, for as long as it runs", async () => {
    const port = await serve(echo())
    const command = await forward("box", "-R", `0:127.0.0.1:${port}`)
    const [there = 0] = portsOf(command)
    expect(command.stderr).toBe(`box 127.0.0.1:${there} -> 127.0.0.1:${port}\n`)
    const sent = randomBytes(5_000_000)
    expect((await exchange({ port: there }, sent)).equals(sent)).toBe(true)
    const many = Array.from({ length: 100 }, (_, at) => exchange({ port: there }, `${at}`))
    expect((await Promise.all(many)).map(String)).toEqual(many.map((_, at) => `${at}`))
    command.child.kill("SIGINT")
    expect(await command.finished).toMatchObject({ code: 0 })
    await world.until(() => refusesConnections(there))
  })

  test("resets whoever connects when nothing listens here, and says so once", async () => {
    const command = await forward("box", "-R", "0:127.0.0.1:1")
    const [there = 0] = portsOf(command)
    for (let i = 0; i < 3; i++) expect(await readAll(dial({ port: there }))).toMatchObject({ ended: false })
    expect(command.stderr.match(/127\.0\.0\.1:1 failed: nothing listens there, on this side/g)).toHaveLength(1)
  })

  test("takes paths on either side", async () => {
    const [here, there] = [join(world.home, "r-here.sock"), join(world.home, "r-there.sock")]
    await serve(echo(), { path: here })
    await forward("box", "-R", `${there}:${here}`)
    expect((await exchange({ path: there }, "x")).toString()).toBe("x")
  })

  test("is refused at once, with what to do, where the port is taken or the owner does not allow it", async () => {
    const port = await serve(echo())
    const local = await serve(createServer())
    const taken = await world.run(["forward", "box", "0:localhost:80", "-R", `${port}:localhost:80`])
    expect(taken).toMatchObject({ code: 1, stdout: Buffer.alloc(0), stderr: expect.stringMatching(/taken at the agent.*port 0/) })
    const denied = await world.run(["forward", "box", "-R", `0.0.0.0:0:localhost:${local}`])
    expect(denied).toMatchObject({ code: 255, stdout: Buffer.alloc(0), stderr: expect.stringContaining("owner") })
  })

  test("of a client that was killed is there at once for whoever starts it again", async () => {
    const clients = async () => (await world.client().endpoints.get("box")).clients ?? 0
    const port = await serve(echo())
    const before = await clients()
    const command = await forward("box", "-R", `0:127.0.0.1:${port}`)
    const [there = 0] = portsOf(command)
    expect(await clients()).toBeGreaterThan(before)
    command.child.kill("SIGKILL")
    await command.finished
    await world.until(async () => (await clients()) <= before)
    const again = await forward("box", "-R", `${there}:127.0.0.1:${port}`)
    expect(portsOf(again)).toEqual([there])
    expect((await exchange({ port: there }, "again")).toString()).toBe("again")
  })
})

describe("-D", () => {
  const run = promisify(execFile)
  const curl = async (...args: readonly string[]): Promise<{ readonly stdout: string; readonly code: number }> => {
    try {
      return { stdout: (await run("curl", ["-sS", "--noproxy", "", ...args])).stdout, code: 0 }
    } catch (error) {
      return { stdout: "", code: error instanceof Error && "code" in error ? Number(error.code) : -1 }
    }
  }

  async function socks(): Promise<{ readonly command: Command; readonly proxy: number; readonly web: number }> {
    const web = await serve(createHttpServer((request, response) => response.end(`${request.method} ${request.headers.host}`)))
    const command = await forward("box", "-D", "0")
    return { command, proxy: portsOf(command)[0] ?? 0, web }
  }

  test("serves curl by name, by address and in versions 4 and 4a, names resolved at the agent", async () => {
    const { command, proxy, web } = await socks()
    expect(command.stderr).toBe(`127.0.0.1:${proxy} -> box, SOCKS5\n`)
    const flags = ["--socks5-hostname", "--socks5", "--socks4a", "--socks4"]
    for (const flag of flags) {
      const { stdout } = await curl(flag, `127.0.0.1:${proxy}`, `http://127.0.0.1:${web}/`)
      expect(stdout, flag).toBe(`GET 127.0.0.1:${web}`)
    }
    // Its own resolver would be asked for neither.
    for (const flag of ["--socks5-hostname", "--socks4a"]) {
      expect((await curl(flag, `127.0.0.1:${proxy}`, `http://localhost:${web}/`)).stdout).toBe(`GET localhost:${web}`)
    }
  })

  test("tells clients why: refused, denied, unknown, no UDP, no password, no HTTP", async () => {
    const { command, proxy } = await socks()
    const answers = async (...sent: readonly (readonly number[])[]) => {
      const socket = dial({ port: proxy })
      const read = readAll(socket)
      for (const part of sent) socket.write(Buffer.from(part))
      return [...(await read).bytes]
    }
    const connectTo = (address: readonly number[], port: number) => [5, 1, 0, ...address, port >> 8, port & 255]
    const ending = [0, 1, 0, 0, 0, 0, 0, 0]
    expect(await answers([5, 1, 0], connectTo([1, 127, 0, 0, 1], 1))).toEqual([5, 0, 5, 5, ...ending])
    expect(await answers([5, 1, 0], connectTo([1, 169, 254, 169, 254], 80))).toEqual([5, 0, 5, 2, ...ending])
    const unknown = Buffer.from("no-such-name.invalid")
    expect((await answers([5, 1, 0], connectTo([3, unknown.byteLength, ...unknown], 80))).slice(0, 3)).toEqual([5, 0, 5])
    expect(await answers([5, 1, 0], [5, 3, 0, 1, 0, 0, 0, 0, 0, 0])).toEqual([5, 0, 5, 7, ...ending])
    expect(await answers([5, 1, 2])).toEqual([5, 255])
    expect(await answers([0x16, 3, 1, 2, 0])).toEqual([])
    const http = await curl("--proxy", `http://127.0.0.1:${proxy}`, "http://example.com/")
    expect(http.stdout).toContain("SOCKS5 proxy")
    expect(command.stderr.match(/UDP ASSOCIATE/g)).toHaveLength(1)
  })

  test("passes on what a client sends along with its request", async () => {
    const { proxy } = await socks()
    const port = await serve(echo())
    const socket = dial({ port: proxy })
    const read = readAll(socket)
    socket.end(Buffer.concat([Buffer.of(5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255), Buffer.from("early")]))
    expect((await read).bytes.subarray(12).toString()).toBe("early")
  })
})

describe("a port that is taken", () => {
  test("fails at once with exit code 1, names its owner, and leaves nothing listening", async () => {
    const taken = await serve(createServer())
    const free = await serve(createServer())
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, "close")
    const failed = await world.run(["forward", "box", `${port}:localhost:${free}`, `${taken}:localhost:${free}`, "-D", "0"])
    expect(failed).toMatchObject({ code: 1, stdout: Buffer.alloc(0) })
    expect(failed.stderr).toContain(`127.0.0.1:${taken} is taken by`)
    expect(failed.stderr).toContain(`(pid ${process.pid})`)
    expect(await refusesConnections(port)).toBe(true)
  })
})

describe("the end", () => {
  test("by Ctrl-C or SIGTERM is 0, and no port is left, neither here nor at the agent", async () => {
    const port = await serve(echo())
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      const command = await forward("box", `0:127.0.0.1:${port}`, "-D", "0", "-R", `0:127.0.0.1:${port}`)
      const ports = portsOf(command)
      expect(ports).toHaveLength(3)
      expect((await exchange({ port: ports[0] ?? 0 }, "x")).toString()).toBe("x")
      command.child.kill(signal)
      expect(await command.finished).toMatchObject({ code: 0, signal: null })
      for (const port of ports) await world.until(() => refusesConnections(port))
    }
  })

  test("waits a moment for open connections, of which it says how many, and a second Ctrl-C does not", async () => {
    const met = Promise.withResolvers<Socket>()
    const port = await serve(createServer({ allowHalfOpen: true }, (socket) => met.resolve(socket)))
    const command = await forward("box", `0:127.0.0.1:${port}`)
    const [local = 0] = portsOf(command)
    const socket = dial({ port: local })
    const [nearEnd, farEnd] = [readAll(socket), readAll(await met.promise)]
    command.child.kill("SIGINT")
    await command.until(({ stderr }) => stderr.includes("1 open connection ends in 5 s at the latest"))
    expect(await refusesConnections(local)).toBe(true)
    socket.write("still")
    await once(await met.promise, "data")
    command.child.kill("SIGINT")
    expect(await command.finished).toMatchObject({ code: 130 })
    expect(await farEnd).toMatchObject({ ended: false })
    expect(await nearEnd).toMatchObject({ ended: false })
  })

  test("comes at once while the agent is still being asked for", async () => {
    const silent = createServer()
    const port = await serve(silent)
    const command = world.command(["forward", "box", "0:localhost:80"], {
      env: { TRUNKLINE_GATEWAY: `http://127.0.0.1:${port}`, TRUNKLINE_SECRET: "s" },
    })
    await once(silent, "connection")
    command.child.kill("SIGINT")
    expect(await command.finished).toMatchObject({ code: 130, stdout: Buffer.alloc(0) })
  })

  test("comes as soon as the last of them is over", async () => {
    const port = await serve(echo())
    const command = await forward("box", `0:127.0.0.1:${port}`)
    const socket = dial({ port: portsOf(command)[0] ?? 0 })
    socket.write("x")
    await once(socket, "data")
    command.child.kill("SIGINT")
    await command.until(({ stderr }) => stderr.includes("1 open connection"))
    const read = readAll(socket)
    socket.end("y")
    expect((await read).bytes.toString()).toBe("y")
    expect(await command.finished).toMatchObject({ code: 0 })
  })
})

describe("what is said", () => {
  test("-o json is a document for each forward, with the ports that were taken", async () => {
    const command = await forward("box", "0:db.internal:5432", "-D", "0", "-R", "0:localhost:80", "-o", "json")
    const documents = command.stdout
      .toString()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    const listen = { host: "127.0.0.1", port: expect.any(Number) }
    expect(documents).toEqual([
      { type: "local", agent: "box", listen, target: { host: "db.internal", port: 5432 } },
      { type: "socks", agent: "box", listen },
      { type: "reverse", agent: "box", listen, target: { host: "localhost", port: 80 } },
    ])
    expect(documents.every(({ listen }) => listen.port > 0)).toBe(true)
    expect(command.stderr).toBe("")
  })

  test("others who can connect are worth a line", async () => {
    const command = await forward("box", "0.0.0.0:0:localhost:80", "0:localhost:80")
    expect(command.stderr.match(/can be used by everybody on its network/g)).toHaveLength(1)
  })

  test("an agent or a credential that there is not ends it before anything listens", async () => {
    const unknown = await world.run(["forward", "nobody", "0:localhost:80"])
    expect(unknown).toMatchObject({ code: 255, stdout: Buffer.alloc(0), stderr: expect.stringContaining("nobody") })
    const wrong = await world.run(["forward", "box", "0:localhost:80"], { env: { TRUNKLINE_SECRET: "this-is-not-the-secret-of-anything" } })
    expect(wrong).toMatchObject({ code: 255, stdout: Buffer.alloc(0), stderr: expect.stringContaining("secret") })
  })
})

describe("what breaks in between", () => {
  const transferBytes = 50_000_000

  test("a gateway that is killed in the middle of a transfer loses nothing", { timeout: longTestMs }, async () => {
    const own = await World.start()
    onTestFinished(() => own.stop())
    await own.agent("box", ["--allow", "loopback:*"])
    const sent = randomBytes(transferBytes)
    const port = await serve(echo())
    const command = own.command(["forward", "box", `0:127.0.0.1:${port}`])
    await command.until(({ stdout }) => stdout.includes("\n"))
    const socket = dial({ port: portsOf(command)[0] ?? 0 })
    const hash = createHash("sha256")
    let [cameBytes, killed] = [0, false]
    const came = new Promise((resolve) => socket.once("end", resolve))
    socket.on("data", (chunk: Buffer) => {
      hash.update(chunk)
      cameBytes += chunk.byteLength
      if (killed || cameBytes < transferBytes / 3) return
      killed = true
      own.gateway?.child.kill("SIGKILL")
      void own.gateway?.finished.then(() => own.startGateway(own.port))
    })
    socket.end(sent)
    await came
    expect(killed).toBe(true)
    expect(hash.digest("hex")).toBe(createHash("sha256").update(sent).digest("hex"))
  })

  test("a serve that is killed is a pause; one that is stopped ends the connections, and the next connection finds the one that follows", {
    timeout: longTestMs,
  }, async () => {
    const args = ["--allow", "loopback:*", "--allow", "listen:loopback:*", "--grace-period", "100ms"]
    const first = await world.agent("comes-and-goes", args)
    const port = await serve(echo())
    const command = await forward("comes-and-goes", `0:127.0.0.1:${port}`, "-R", `0:127.0.0.1:${port}`)
    const [local = 0, there = 0] = portsOf(command)
    const socket = dial({ port: local })
    socket.write("a")
    expect((await once(socket, "data")).toString()).toBe("a")
    first.child.kill("SIGKILL")
    await first.finished
    const resumed = once(socket, "data")
    socket.write("b")
    const second = await world.agent("comes-and-goes", args)
    expect((await resumed).toString()).toBe("b")
    const broken = readAll(socket)
    second.child.kill("SIGTERM")
    await second.finished
    expect(await broken).toMatchObject({ ended: false })
    await command.until(({ stderr }) => /connection to comes-and-goes ended: the agent was stopped/.test(stderr))
    await command.until(({ stderr }) => /127\.0\.0\.1:\d+ does not listen any more/.test(stderr))
    expect(await readAll(dial({ port: local }))).toMatchObject({ ended: false })
    await world.agent("comes-and-goes", args)
    expect((await exchange({ port: local }, "again")).toString()).toBe("again")
    await command.until(({ stderr }) => stderr.includes("listens again"))
    expect((await exchange({ port: there }, "and there")).toString()).toBe("and there")
  })
})
