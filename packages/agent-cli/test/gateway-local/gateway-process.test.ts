import { spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { expect, onTestFinished, test } from "vitest"
import { commandLineOf } from "../../src/gateway-local/process-table.ts"
import { call, openSocket, scratchDirectory, startStub } from "./scratch.ts"

/** Resolves when no process with this id runs (a zombie has no arguments and counts as ended). */
const gone = async (pid: number): Promise<void> => {
  while ((await commandLineOf(pid)) !== "") await new Promise(setImmediate)
}

/** A gateway in a Node process of its own, which can be killed. */
const startInChild = async (dataDirectory: string) => {
  const program = fileURLToPath(new URL("start-stub.ts", import.meta.url))
  const child = spawn(process.execPath, [program, dataDirectory], { stdio: ["ignore", "pipe", "pipe"] })
  onTestFinished(() => {
    child.kill("SIGKILL")
  })
  let printed = ""
  child.stderr.on("data", (chunk) => {
    printed += String(chunk)
  })
  const lines = createInterface({ input: child.stdout })
  lines.on("line", (line) => {
    printed += line
  })
  const [line]: string[] = await once(lines, "line")
  const gateway: { url: string; pid: number; secretFile: string } = JSON.parse(line ?? "")
  return { child, gateway, printed: () => printed }
}

test("the first start makes a secret that only its owner can read, and shows it nowhere", async () => {
  const dataDirectory = join(scratchDirectory(), "data")
  const lines: string[] = []
  const gateway = await startStub({ dataDirectory, onOutput: (line) => lines.push(line) })
  const secret = readFileSync(gateway.secretFile, "utf8").trim()

  expect(gateway.secretCreated).toBe(true)
  expect(Buffer.from(secret, "base64url")).toHaveLength(32)
  expect(statSync(gateway.secretFile).mode & 0o777).toBe(0o600)
  expect(statSync(dataDirectory).mode & 0o777).toBe(0o700)
  expect(await call(gateway, "/bindings")).toEqual({ previous: null, takeover: null, httpDomain: null })

  expect(await commandLineOf(gateway.pid)).toContain(join(dataDirectory, "gateway.capnp"))
  expect(await commandLineOf(gateway.pid)).not.toContain(secret)
  for (const file of readdirSync(dataDirectory, { recursive: true, withFileTypes: true })) {
    if (!file.isFile() || file.name === "secret") continue
    expect(readFileSync(join(file.parentPath, file.name)).includes(secret), file.name).toBe(false)
  }
  await gateway.stop()
  expect(lines.join()).not.toContain(secret)
  expect(JSON.stringify(gateway)).not.toContain(secret)
})

test("the process that runs a gateway prints neither the secret nor warnings", async () => {
  const { child, gateway, printed } = await startInChild(scratchDirectory())
  const secret = readFileSync(gateway.secretFile, "utf8").trim()
  child.kill("SIGTERM")
  await once(child, "close")
  expect(printed()).toMatch(/^\{"url":[^\n]*\}$/)
  expect(printed()).not.toContain(secret)
})

test("the previous secret, the takeover policy and the domain of services reach the Worker, from the environment", async () => {
  const gateway = await startStub({
    dataDirectory: scratchDirectory(),
    previousSecret: "previous-secret",
    takeover: "reject",
    httpDomain: "t.example",
  })
  expect(await call(gateway, "/bindings")).toEqual({ previous: "previous-secret", takeover: "reject", httpDomain: "t.example" })
  expect(await commandLineOf(gateway.pid)).not.toContain("previous-secret")
  expect(readFileSync(join(gateway.dataDirectory, "gateway.capnp"), "utf8")).not.toContain("previous-secret")
})

test("a restart keeps the secret and what the objects and KV have stored", async () => {
  const dataDirectory = scratchDirectory()
  const first = await startStub({ dataDirectory })
  await call(first, "/put?value=one")
  const secret = readFileSync(first.secretFile, "utf8")
  await first.stop()

  const second = await startStub({ dataDirectory })
  expect(second.secretCreated).toBe(false)
  expect(readFileSync(second.secretFile, "utf8")).toBe(secret)
  expect(await call(second, "/get")).toEqual({ registry: ["one"], kv: "one" })
})

test("storage is found below a path with spaces, quotes, backslashes and non-ASCII letters", async () => {
  const gateway = await startStub({ dataDirectory: join(scratchDirectory(), 'a "b" \\c ü') })
  await call(gateway, "/put?value=odd")
  expect(await call(gateway, "/get")).toEqual({ registry: ["odd"], kv: "odd" })
  expect(readdirSync(join(gateway.dataDirectory, "storage", "objects"))).toContain("gateway-Registry")
})

test("killing workerd with SIGKILL loses no stored row, frees the directory and is reported", async () => {
  const dataDirectory = scratchDirectory()
  const first = await startStub({ dataDirectory })
  await call(first, "/put?value=one")
  process.kill(first.pid, "SIGKILL")
  expect(await first.exited).toMatchObject({ code: null, signal: "SIGKILL", requested: false })

  const second = await startStub({ dataDirectory })
  expect(await call(second, "/get")).toEqual({ registry: ["one"], kv: "one" })
})

test("killing the supervising process with SIGKILL ends workerd too, and the next start finds the storage", async () => {
  const dataDirectory = scratchDirectory()
  const { child, gateway } = await startInChild(dataDirectory)
  await call(gateway, "/put?value=one")
  child.kill("SIGKILL")
  await gone(gateway.pid)

  const second = await startStub({ dataDirectory })
  expect(await call(second, "/get")).toEqual({ registry: ["one"], kv: "one" })
})

test("a workerd left over on the data directory is stopped before a new one opens the storage", async () => {
  const dataDirectory = scratchDirectory()
  const first = await startStub({ dataDirectory })
  const record = readFileSync(join(dataDirectory, "running.json"), "utf8")
  const configuration = readFileSync(join(dataDirectory, "gateway.capnp"), "utf8")
  await first.stop()
  // What a crash of everything but workerd leaves behind: a record and a process with our configuration file among its arguments.
  writeFileSync(join(dataDirectory, "gateway.capnp"), configuration)
  const orphan = spawn("sh", ["-c", "echo ready; read -r _", "workerd", join(dataDirectory, "gateway.capnp")], {
    stdio: ["pipe", "pipe", "ignore"],
  })
  const ended = once(orphan, "exit")
  await once(orphan.stdout, "data")
  writeFileSync(join(dataDirectory, "running.json"), JSON.stringify({ ...JSON.parse(record), workerdPid: orphan.pid }))

  await startStub({ dataDirectory })
  expect(await ended).toEqual([null, "SIGKILL"])
})

test("a process that merely has the recorded process id is left alone", async () => {
  const dataDirectory = scratchDirectory()
  const stranger = spawn("sh", ["-c", "echo ready; read -r _"], { stdio: ["pipe", "pipe", "ignore"] })
  const ended = once(stranger, "exit")
  await once(stranger.stdout, "data")
  writeFileSync(join(dataDirectory, "running.json"), JSON.stringify({ pid: 1, workerdPid: stranger.pid }))

  await startStub({ dataDirectory })
  stranger.stdin.end("\n")
  expect(await ended).toEqual([0, null])
})

test("two gateways on one data directory: the second is refused and told who holds it", async () => {
  const dataDirectory = scratchDirectory()
  const { gateway, child } = await startInChild(dataDirectory)
  await expect(startStub({ dataDirectory })).rejects.toMatchObject({
    name: "TunnelError",
    reason: "data-directory-in-use",
    message: expect.stringContaining(`process id ${child.pid}: stop it`),
  })
  expect(await call(gateway, "/healthz")).toEqual({ ok: true })
})

test("a port in use is refused with its address and the way out, and the data directory stays free", async () => {
  const dataDirectory = scratchDirectory()
  const holder = createServer().listen(0, "127.0.0.1")
  await once(holder, "listening")
  onTestFinished(() => {
    holder.close()
  })
  const address = holder.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  await expect(startStub({ dataDirectory, port })).rejects.toMatchObject({
    reason: "address-in-use",
    message: `127.0.0.1:${port} is already in use: choose another port with --port, or --port 0 for any free one`,
  })
  await startStub({ dataDirectory })
})

test("an address that is not of this machine, and a number that is no port, are refused", async () => {
  const dataDirectory = scratchDirectory()
  await expect(startStub({ dataDirectory, host: "192.0.2.1" })).rejects.toMatchObject({ reason: "address-unavailable" })
  await expect(startStub({ dataDirectory, port: 65_536 })).rejects.toMatchObject({ reason: "address-unavailable" })
})

test("a missing bundle, and one that does not compile, are refused with what workerd said", async () => {
  const directory = scratchDirectory()
  await expect(startStub({ dataDirectory: join(directory, "data"), bundle: join(directory, "absent.js") })).rejects.toMatchObject({
    reason: "bundle-missing",
  })
  writeFileSync(join(directory, "broken.js"), "export default {")
  await expect(startStub({ dataDirectory: join(directory, "data"), bundle: join(directory, "broken.js") })).rejects.toMatchObject({
    reason: "workerd-failed",
    message: expect.stringMatching(/exit code 1.*SyntaxError/s),
  })
  await startStub({ dataDirectory: join(directory, "data") })
})

test("stop closes open sockets with 1012 and ends without force", async () => {
  const gateway = await startStub({ dataDirectory: scratchDirectory(), graceMs: 60_000 })
  const socket = await openSocket(gateway)
  const closed = once(socket, "close")
  await gateway.stop()
  const [code] = await closed
  expect(code).toBe(1012)
  expect(await gateway.exited).toMatchObject({ code: 0, signal: null, requested: true })
})

test("stop with a peer that never answers the close ends when its grace is over", async () => {
  const gateway = await startStub({ dataDirectory: scratchDirectory(), graceMs: 300 })
  const socket = await openSocket(gateway)
  socket.pause()
  await gateway.stop()
  expect(await gateway.exited).toMatchObject({ signal: "SIGKILL", requested: true })
  socket.terminate()
})

test("stop ends a workerd that hangs, when its grace is over", async () => {
  const gateway = await startStub({ dataDirectory: scratchDirectory(), graceMs: 300 })
  process.kill(gateway.pid, "SIGSTOP")
  await gateway.stop()
  expect(await gateway.exited).toMatchObject({ signal: "SIGKILL", requested: true })
})

test("stop is idempotent and does nothing once workerd has ended", async () => {
  const gateway = await startStub({ dataDirectory: scratchDirectory() })
  await Promise.all([gateway.stop(), gateway.stop()])
  await gateway.stop()
  expect(await commandLineOf(gateway.pid)).toBe("")
})

test("a secret that others can read, or an empty one, stops the start", async () => {
  const dataDirectory = scratchDirectory()
  const file = join(dataDirectory, "secret")
  writeFileSync(file, "some-secret\n", { mode: 0o640 })
  chmodSync(file, 0o640)
  await expect(startStub({ dataDirectory })).rejects.toMatchObject({
    reason: "secret-unusable",
    message: expect.stringContaining(`${file} can be read by others (mode 0640)`),
  })
  writeFileSync(file, " \n")
  chmodSync(file, 0o600)
  await expect(startStub({ dataDirectory })).rejects.toMatchObject({
    reason: "secret-unusable",
    message: expect.stringContaining(`${file} is empty`),
  })
})
