/** OpenSSH through `trunkline connect`: everything that people do with ssh, byte for byte, over lines that are cut too. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { freePort } from "./free-port.ts"
import { cuts, Lines, livedMs, seeded } from "./lines.ts"
import { execute, type Sshd, startSshd } from "./local-servers.ts"
import { hashOfFile, type Ran, runProgram } from "./run-program.ts"
import { bin, World } from "./world.ts"

const name = "box"
/** Bytes; the long form is 1 GiB. */
const copiedBytes = Number(process.env.TRUNKLINE_COPIED_BYTES ?? 1_073_741_824)
const longTestMs = 300_000

let world: World
let sshd: Sshd
let folder: string
let big: string
let bigHash: string

beforeAll(async () => {
  world = await World.start()
  sshd = await startSshd(name)
  await world.agent(name)
  folder = await mkdtemp(join(tmpdir(), "trunkline-ssh-"))
  big = join(folder, "big")
  // Nothing on the way can make it smaller, or take one part for another.
  await execute("sh", [
    "-c",
    `openssl enc -aes-128-ctr -nosalt -pass pass:x -pbkdf2 -in /dev/zero 2> /dev/null | head -c ${copiedBytes} > '${big}'`,
  ])
  bigHash = await hashOfFile(big)
}, longTestMs)
afterAll(async () => {
  await sshd?.stop()
  await world?.stop()
  await rm(folder, { recursive: true, force: true })
})

/** Options of ssh that lead to the sshd at the agent. */
const through = (gateway?: string): readonly string[] => {
  const command = `${process.execPath} ${bin} connect ${name} ${sshd.port}${gateway === undefined ? "" : ` --gateway ${gateway}`}`
  return [...sshd.options, "-o", `ProxyCommand=${command}`, "-o", `HostKeyAlias=${name}`]
}

const run = (command: string, args: readonly string[], input?: string): Promise<Ran> =>
  runProgram(command, args, { env: world.env({ TRUNKLINE_SECRET: world.secret }), ...(input === undefined ? {} : { input }) })

const ssh = (...args: readonly string[]): Promise<Ran> => run("ssh", [...through(), `${sshd.user}@${name}`, ...args])
const remote = (path: string): string => `${sshd.user}@${name}:${path}`

describe("ssh", () => {
  test("runs a command, with its output apart from its errors, its input and its exit code", async () => {
    // What else is in stderr is the login shell's own.
    expect(await ssh("echo out; echo err >&2; exit 7")).toEqual({ code: 7, stdout: "out\n", stderr: expect.stringContaining("err\n") })
    const echoed = await run("ssh", [...through(), `${sshd.user}@${name}`, "wc -c"], "x".repeat(300_000))
    expect(echoed).toMatchObject({ code: 0, stdout: "300000\n" })
  })

  test("has a terminal", async () => {
    const { code, stdout } = await run("ssh", ["-tt", ...through(), `${sshd.user}@${name}`, "tty; stty size"])
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^\/dev\/pts\/\d+\r\n0 0\r\n$/) })
  })

  test("says what is wrong when nothing listens, and ends with 255", async () => {
    const port = await freePort()
    const options = [...sshd.options, "-o", `ProxyCommand=${process.execPath} ${bin} connect ${name} ${port}`]
    const refused = await run("ssh", [...options, `${sshd.user}@${name}`, "true"])
    expect(refused).toMatchObject({ code: 255, stdout: "", stderr: expect.stringContaining(`localhost:${port}`) })
  })

  test("shares one connection among many commands", { timeout: longTestMs }, async () => {
    const socket = join(folder, "master")
    const master = spawn("ssh", ["-M", "-N", "-S", socket, ...through(), `${sshd.user}@${name}`], {
      env: world.env({ TRUNKLINE_SECRET: world.secret }),
      stdio: "ignore",
    })
    await world.until(async () => (await run("ssh", ["-S", socket, "-O", "check", name])).code === 0)
    const commands = Array.from({ length: 8 }, (_, index) => run("ssh", ["-S", socket, name, `seq ${index} 20000 | cksum; exit ${index}`]))
    const alone = Array.from({ length: 8 }, (_, index) => run("sh", ["-c", `seq ${index} 20000 | cksum; exit ${index}`]))
    const said = ({ code, stdout }: Ran) => ({ code, stdout })
    expect((await Promise.all(commands)).map(said)).toEqual((await Promise.all(alone)).map(said))
    const ended = once(master, "exit")
    await run("ssh", ["-S", socket, "-O", "exit", name])
    await ended
  })

  test("-D carries 50 streams at once", { timeout: longTestMs }, async () => {
    const body = Buffer.alloc(1_000_000, "0123456789")
    const server = createServer((_request, response) => response.end(body)).listen(0, "127.0.0.1")
    await once(server, "listening")
    const target = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const port = await freePort()
    const proxy = spawn("ssh", ["-N", "-D", `127.0.0.1:${port}`, ...through(), `${sshd.user}@${name}`], {
      env: world.env({ TRUNKLINE_SECRET: world.secret }),
      stdio: "ignore",
    })
    const get = (path: string) => ["-sS", "--socks5-hostname", `127.0.0.1:${port}`, "-o", path, target]
    await world.until(async () => (await run("curl", get("/dev/null"))).code === 0)
    const paths = Array.from({ length: 50 }, (_, index) => join(folder, `socks-${index}`))
    const results = await Promise.all(paths.map((path) => run("curl", get(path))))
    expect(results.filter(({ code }) => code !== 0)).toEqual([])
    for (const path of paths) expect(body.equals(await readFile(path))).toBe(true)
    proxy.kill()
    await once(proxy, "exit")
    server.close()
  })
})

describe("files", () => {
  test(`scp takes ${copiedBytes} bytes there and back`, { timeout: longTestMs }, async () => {
    const [there, back] = [join(folder, "there"), join(folder, "back")]
    expect(await run("scp", ["-q", ...through(), big, remote(there)])).toEqual({ code: 0, stdout: "", stderr: "" })
    expect(await hashOfFile(there)).toBe(bigHash)
    expect(await run("scp", ["-q", ...through(), remote(there), back])).toEqual({ code: 0, stdout: "", stderr: "" })
    expect(await hashOfFile(back)).toBe(bigHash)
    await Promise.all([rm(there), rm(back)])
  })

  test("sftp runs a batch", async () => {
    await writeFile(join(folder, "small"), "small enough\n")
    const batch = [`put ${folder}/small ${folder}/put`, `rename ${folder}/put ${folder}/renamed`, `get ${folder}/renamed ${folder}/got`, ""]
    const { code, stderr } = await run("sftp", ["-q", "-b", "-", ...through(), `${sshd.user}@${name}`], batch.join("\n"))
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(await readFile(join(folder, "got"), "utf8")).toBe("small enough\n")
  })

  test("rsync makes a tree alike, and then sends nothing", async () => {
    const [from, to] = [join(folder, "tree"), join(folder, "copy")]
    for (let index = 0; index < 50; index++) {
      await mkdir(join(from, String(index % 7)), { recursive: true })
      await writeFile(join(from, String(index % 7), `file ${index}`), "x".repeat(index * 1_000))
    }
    const shell = ["ssh", ...through()].map((word) => `'${word}'`).join(" ")
    const sync = () => run("rsync", ["-a", "--stats", "-e", shell, `${from}/`, remote(to)])
    expect(await sync()).toMatchObject({ code: 0, stderr: "", stdout: expect.stringContaining("Number of regular files transferred: 50") })
    expect(await run("diff", ["-r", from, to])).toMatchObject({ code: 0, stdout: "" })
    expect(await sync()).toMatchObject({ code: 0, stdout: expect.stringContaining("Number of regular files transferred: 0") })
  })

  test.each(["client", "agent", "both"] as const)(
    "scp over a line whose %s leg is cut arrives whole",
    { timeout: longTestMs },
    async (leg) => {
      const random = seeded(leg.length)
      const lines = await Lines.open(world, `cut-${leg}`, 8_000_000)
      const [part, there] = [join(folder, `part-${leg}`), join(folder, `there-${leg}`)]
      await execute("head", ["-c", "40000000", big], { encoding: "buffer", maxBuffer: 50_000_000 }).then(({ stdout }) =>
        writeFile(part, stdout),
      )
      const options = through(lines.clientLine.url).map((each) => each.replace(`connect ${name} `, `connect ${lines.name} `))
      const copy = run("scp", ["-q", ...options, part, remote(there)])
      lines.over = copy.then(({ code, stderr }) => Promise.reject(new Error(`ended too early with ${code}: ${stderr}`)))
      lines.over.catch(() => {})
      await world.until(async () => (await readFile(there).catch(() => Buffer.alloc(0))).byteLength > 0)
      for (let cut = 0; cut < 3; cut++) {
        await new Promise((resolve) => setTimeout(resolve, livedMs(random)))
        await lines.cut(leg, cuts[cut % cuts.length] ?? { how: "rst" }, () => Promise.resolve())
      }
      lines.setRate(undefined)
      expect(await copy).toEqual({ code: 0, stdout: "", stderr: "" })
      expect(await hashOfFile(there)).toBe(await hashOfFile(part))
      await lines.stop()
    },
  )
})
