/** A user's Worker that binds to the gateway's entrypoint `Agents`, in raw workerd: the calls of docs/http.md, from outside to a real agent. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { WebSocket } from "ws"
import { compatibilityDate, workerdConfig } from "../packages/agent-cli/src/gateway-local/workerd-config.ts"
import { launchWorkerd, type WorkerdProcess } from "../packages/agent-cli/src/gateway-local/workerd-process.ts"
import { freePort } from "./free-port.ts"
import { expectLiveUpload, SmallServices } from "./small-services.ts"
import { World } from "./world.ts"

/** What a user writes. `/fetch/HOST/PATH` passes a request on, `/connect/NAME:PORT` sends the body over TCP and answers with what comes back. */
const source = `
export default {
  async fetch(request, env) {
    const [, binding, call, address, ...path] = new URL(request.url).pathname.split("/")
    const agents = binding === "narrow" ? env.NARROW : env.AGENTS
    if (call === "fetch") return agents.fetch(\`http://\${address}/\${path.join("/")}\`, request)
    const socket = agents.connect(address)
    // Fails where the connection does, perhaps: uncaught, it would take the answer with it.
    const sent = request.body.pipeTo(socket.writable).then(() => true, () => false)
    const text = await new Response(socket.readable).text()
    return Response.json({ text, sent: await sent })
  },
}
`

const agent = "build-7"

let world: World
let services: SmallServices
let folder: string
let workerd: WorkerdProcess
let url = ""

beforeAll(async () => {
  world = await World.start()
  services = await SmallServices.start()
  folder = await mkdtemp(join(tmpdir(), "trunkline-worker-"))
  const objectsDirectory = join(folder, "objects")
  const kvIndexDirectory = join(folder, "kv")
  const kvBlobsDirectory = join(folder, "blobs")
  for (const directory of [objectsDirectory, kvIndexDirectory, kvBlobsDirectory]) await mkdir(directory)
  const gatewayPort = await freePort()
  const gateway = workerdConfig({
    address: `127.0.0.1:${gatewayPort}`,
    bundleName: "gateway.js",
    objectsDirectory,
    kvIndexDirectory,
    kvBlobsDirectory,
    textBindings: ["GATEWAY_SECRET"],
  })
  // Beside the gateway; its socket first, because the first port is the one that is told.
  const together = gateway
    .replace("services = [", 'services = [\n    (name = "user", worker = .user),')
    .replace("sockets = [", 'sockets = [(name = "user", address = "127.0.0.1:0", http = (), service = "user"), ')
  const props = JSON.stringify({ agents: ["build-*"], scopes: [`http:${services.httpPort}`, `tcp:localhost:${services.echoPort}`] })
  const narrow = JSON.stringify({ agents: ["test-*"] })
  await writeFile(join(folder, "gateway.js"), await readFile(createRequire(import.meta.url).resolve("@trunkline/gateway/bundle")))
  await writeFile(join(folder, "user.js"), source)
  await writeFile(
    join(folder, "config.capnp"),
    `${together}
const user :Workerd.Worker = (
  modules = [(name = "user.js", esModule = embed "/user.js")],
  compatibilityDate = "${compatibilityDate}",
  bindings = [
    (name = "AGENTS", service = (name = "gateway", entrypoint = "Agents", props = (json = ${JSON.stringify(props)}))),
    (name = "NARROW", service = (name = "gateway", entrypoint = "Agents", props = (json = ${JSON.stringify(narrow)}))),
  ],
);
`,
  )
  const secret = "secret-of-a-gateway-beside-a-worker"
  workerd = launchWorkerd({
    configFile: join(folder, "config.capnp"),
    importPath: folder,
    environment: { GATEWAY_SECRET: secret },
    onSpawn: () => {},
  })
  url = `http://127.0.0.1:${await workerd.port}`
  const gatewayUrl = `http://127.0.0.1:${gatewayPort}`
  world.command(["serve", "--name", agent], { env: { TRUNKLINE_GATEWAY: gatewayUrl, TRUNKLINE_SECRET: secret } })
  await world.until(async () => {
    const response = await fetch(`${gatewayUrl}/v1/endpoints/${agent}`, { headers: { authorization: `Bearer ${secret}` } })
    return response.ok && ((await response.json()) as { status: string }).status === "online"
  })
})
afterAll(async () => {
  await workerd?.stop(() => Promise.resolve(), 500)
  await world?.stop()
  services?.stop()
  if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 5 })
})

const ask = (path: string, init?: RequestInit): Promise<Response> => fetch(new URL(path, url), init)
const byLabel = (): string => `${services.httpPort}--${agent}`
const byPort = (): string => `${agent}:${services.httpPort}`

describe("fetch", () => {
  test.each([
    ["PORT--NAME", byLabel],
    ["NAME:PORT", byPort],
  ])("reaches a service by %s, with the caller's headers", async (_, host) => {
    const response = await ask(`/wide/fetch/${host()}/json`, { headers: { authorization: "Bearer of-the-service", "x-a": "1" } })
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ method: "GET", headers: { authorization: "Bearer of-the-service", "x-a": "1" } })
  })

  test("streams a body while its answer comes", async () => {
    await expectLiveUpload((init) => ask(`/wide/fetch/${byLabel()}/running`, init))
  })

  test("leaves a gzip answer that gzip", async () => {
    const response = await ask(`/wide/fetch/${byLabel()}/gzip`)
    expect(response.headers.get("content-encoding")).toBe("gzip")
    expect(await response.text()).toBe("hello ".repeat(10_000))
  })

  test("carries a WebSocket", async () => {
    const socket = new WebSocket(`${url.replace("http", "ws")}/wide/fetch/${byPort()}/socket`, ["a", "b"])
    const message = new Promise((resolve) => socket.once("message", (data, binary) => resolve([String(data), binary])))
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject))
    socket.send("grüße")
    expect([socket.protocol, await message]).toEqual(["b", ["grüße", false]])
    const closed = new Promise((resolve) => socket.once("close", resolve))
    socket.close(4321)
    expect(await closed).toBe(4321)
  })

  test("says what is wrong: another agent, another port, nobody", async () => {
    const codeOf = async (path: string) => {
      const response = await ask(path)
      await response.body?.cancel()
      return [response.status, response.headers.get("trunkline-error")]
    }
    expect(await codeOf(`/narrow/fetch/${byPort()}/json`)).toEqual([403, "denied"])
    expect(await codeOf(`/wide/fetch/${agent}:1/`)).toEqual([403, "denied"])
    expect(await codeOf("/wide/fetch/3000--build-8/")).toEqual([404, "agent-unknown"])
  })
})

describe("connect", () => {
  const exchange = async (binding: string, address: string, text: string) =>
    (await (await ask(`/${binding}/connect/${address}`, { method: "POST", body: text })).json()) as { text: string; sent: boolean }

  test("carries TCP, each half with an end of its own", async () => {
    const text = "x".repeat(1_000_000)
    expect(await exchange("wide", `${agent}:${services.echoPort}`, text)).toEqual({ text: `${text} and the end`, sent: true })
  })

  test.each([
    ["that the binding is not for", "narrow", () => `${agent}:${services.echoPort}`],
    ["outside of its scopes", "wide", () => `${agent}:${services.httpPort}`],
    ["that names nobody", "wide", () => `nobody:${services.echoPort}`],
  ])("to a place %s ends without a byte", async (_, binding, address) => {
    expect(await exchange(binding, address(), "hello")).toMatchObject({ text: "" })
  })
})
