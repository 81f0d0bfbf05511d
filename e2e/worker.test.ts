/** The SDK inside a user's own Worker: bundled, in raw workerd beside the gateway, over standard fetch and WebSocket. */
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { afterAll, beforeAll, expect, test } from "vitest"
import { capnpText, compatibilityDate } from "../packages/agent-cli/src/gateway-local/workerd-config.ts"
import { launchWorkerd, type WorkerdProcess } from "../packages/agent-cli/src/gateway-local/workerd-process.ts"
import { expectLiveUpload, SmallServices } from "./small-services.ts"
import { World } from "./world.ts"

/** What a user writes. */
const source = `
import { connect, TunnelError } from "@trunkline/client"

export default {
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url)
    const gateway = connect({ url: env.GATEWAY, token: env.TOKEN })
    if (pathname === "/fetch") return gateway.agent("box").fetch(searchParams.get("url"), { method: request.method, body: request.body })
    const { agent, command, options, port } = await request.json()
    try {
      if (pathname === "/abort") await gateway.agent(agent).fetch(options.url, { signal: AbortSignal.timeout(300) })
      if (pathname === "/connect") {
        const socket = await gateway.agent(agent).connect({ port })
        const writer = socket.writable.getWriter()
        await writer.write(new TextEncoder().encode("from the Worker"))
        await writer.close()
        const text = await new Response(socket.readable).text()
        await socket.closed
        return Response.json({ text, address: socket.address })
      }
      if (pathname === "/listen") {
        const listener = await gateway.agent(agent).listen({ host: "127.0.0.1", port: 0 })
        const caller = await gateway.agent(agent).connect({ port: listener.address.port })
        const { value: incoming } = await listener.connections.next()
        const callee = await incoming.accept()
        const piped = callee.readable.pipeTo(callee.writable)
        const writer = caller.writable.getWriter()
        await writer.write(new TextEncoder().encode("round trip"))
        await writer.close()
        const text = await new Response(caller.readable).text()
        await piped
        listener.close()
        return Response.json({ text, done: (await listener.connections.next()).done })
      }
      if (pathname === "/socket") {
        const socket = await gateway.agent(agent).webSocket({ target: { service: port }, path: "/socket", protocols: ["a", "b"] })
        const reader = socket.messages.getReader()
        await socket.send("grüße")
        const text = (await reader.read()).value
        const [, bytes] = await Promise.all([socket.send(new Uint8Array(1_500_000).fill(7)), reader.read()])
        socket.close(4321, "enough")
        const { done } = await reader.read()
        return Response.json({ protocol: socket.protocol, text, bytes: bytes.value.length, done, close: await socket.closed })
      }
      if (pathname === "/endpoints") return Response.json(await gateway.endpoints.list())
      if (pathname === "/exec") return Response.json(await gateway.agent(agent).exec(command, options))
      const process = await gateway.agent(agent).spawn(command)
      const { readable, writable } = new TransformStream()
      const copy = async () => {
        const writer = writable.getWriter()
        for await (const event of process.output()) {
          if (event.type === "stdout") await writer.write(event.bytes)
        }
        await writer.close()
        gateway.close()
      }
      ctx.waitUntil(copy())
      return new Response(readable)
    } catch (error) {
      if (!(error instanceof TunnelError)) throw error
      return Response.json({ code: error.code, delivered: error.delivered }, { status: 500 })
    } finally {
      if (pathname !== "/stream") gateway.close()
    }
  },
}
`

let world: World
let worker: WorkerdProcess
let workerUrl = ""
let services: SmallServices

const post = (path: string, body: unknown): Promise<Response> =>
  fetch(new URL(path, workerUrl), { method: "POST", body: JSON.stringify(body) })

const clients = async (): Promise<number> => {
  const { clients } = (await (await world.fetch("/v1/endpoints/box")).json()) as { clients: number }
  return clients
}

beforeAll(async () => {
  world = await World.start()
  services = await SmallServices.start()
  await world.agent("box", ["--allow", "listen:127.0.0.1:*"])
  const directory = join(world.home, "worker")
  await mkdir(directory)
  await build({
    stdin: { contents: source, resolveDir: fileURLToPath(new URL(".", import.meta.url)) },
    bundle: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker"],
    outfile: join(directory, "worker.js"),
  })
  const configFile = join(directory, "worker.capnp")
  await writeFile(
    configFile,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "user", worker = .user), (name = "internet", network = (allow = ["local"]))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "user")],
);
const user :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "/worker.js")],
  compatibilityDate = "${compatibilityDate}",
  bindings = [(name = "GATEWAY", text = ${capnpText(world.url)}), (name = "TOKEN", fromEnvironment = "TOKEN")],
);
`,
  )
  worker = launchWorkerd({ configFile, importPath: directory, environment: { TOKEN: world.secret }, onSpawn: () => {} })
  workerUrl = `http://127.0.0.1:${await worker.port}`
})
afterAll(async () => {
  await worker?.stop(() => Promise.resolve(), 500)
  await world?.stop()
  services?.stop()
})

test("a Worker runs a command on an agent and sees how it ended", async () => {
  const response = await post("/exec", {
    agent: "box",
    command: ["sh", "-c", 'cat; printf "%s" "$WORD" >&2; exit 3'],
    options: { stdin: "typed in", env: { WORD: "zwölf" } },
  })
  expect(await response.json()).toMatchObject({ exitCode: 3, stdout: "typed in", stderr: "zwölf", outcome: "exited", truncated: false })
})

test("a Worker hands on output larger than every window, whole", async () => {
  const response = await post("/stream", { agent: "box", command: ["seq", "1", "400000"] })
  const text = await response.text()
  expect(text.length).toBe(2_688_895)
  expect(text.endsWith("\n399999\n400000\n")).toBe(true)
})

test("a Worker's many requests each end their own link", async () => {
  for (let round = 0; round < 5; round++) {
    const answers = await Promise.all(
      Array.from({ length: 5 }, (_, index) => post("/exec", { agent: "box", command: ["echo", `${round}-${index}`] })),
    )
    const outputs = await Promise.all(answers.map(async (answer) => ((await answer.json()) as { stdout: string }).stdout))
    expect(outputs).toEqual([0, 1, 2, 3, 4].map((index) => `${round}-${index}\n`))
  }
  await world.until(async () => (await clients()) === 0)
})

test("a Worker meets the same typed errors as everybody", async () => {
  const refused = async (body: unknown) => (await post("/exec", body)).json()
  expect(await refused({ agent: "nobody", command: ["true"] })).toEqual({ code: "agent-unknown", delivered: "no" })
  expect(await refused({ agent: "box", command: ["no-such-command"] })).toEqual({ code: "command-not-found", delivered: "no" })
  expect(await refused({ agent: "Not_A_Name", command: ["true"] })).toEqual({ code: "bad-name", delivered: "no" })
})

test("a Worker sees the endpoints", async () => {
  expect(await (await post("/endpoints", {})).json()).toMatchObject({ endpoints: [{ name: "box", status: "online" }], cursor: null })
})

const throughFetch = (path: string, init?: RequestInit): Promise<Response> =>
  fetch(new URL(`/fetch?url=${encodeURIComponent(`http://localhost:${services.httpPort}${path}`)}`, workerUrl), init)

test("a Worker hands on what a service answers, a gzip body as one", async () => {
  expect(await (await throughFetch("/json")).json()).toMatchObject({ method: "GET", headers: { host: `localhost:${services.httpPort}` } })
  const gzip = await throughFetch("/gzip")
  expect(gzip.headers.get("content-encoding")).toBe("gzip")
  expect(await gzip.text()).toBe("hello ".repeat(10_000))
})

test("a Worker hands on a body while its answer comes", async () => {
  await expectLiveUpload((init) => throughFetch("/running", init))
})

test("a Worker that aborts a fetch ends the request at the service", async () => {
  const before = services.abandoned
  const url = `http://localhost:${services.httpPort}/silent`
  expect(await (await post("/abort", { agent: "box", options: { url } })).json()).toEqual({ code: "aborted", delivered: "yes" })
  await world.until(() => services.abandoned === before + 1)
})

test("a Worker speaks TCP, each half with an end of its own", async () => {
  const answer = await post("/connect", { agent: "box", port: services.echoPort })
  expect(await answer.json()).toEqual({ text: "from the Worker and the end", address: "127.0.0.1" })
})

test("a Worker listens at the agent, and answers who connects there", async () => {
  expect(await (await post("/listen", { agent: "box" })).json()).toEqual({ text: "round trip", done: true })
})

test("a Worker has a WebSocket to a service: text, bytes, a subprotocol, and a close with its reason", async () => {
  const said = await (await post("/socket", { agent: "box", port: services.httpPort })).json()
  expect(said).toEqual({ protocol: "b", text: "grüße", bytes: 1_500_000, done: true, close: { code: 4321, reason: "enough" } })
})
