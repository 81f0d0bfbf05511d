/** The SDK inside a user's own Worker: bundled, in raw workerd beside the gateway, over standard fetch and WebSocket. */
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { afterAll, beforeAll, expect, test } from "vitest"
import { capnpText, compatibilityDate } from "../packages/agent-cli/src/gateway-local/workerd-config.ts"
import { launchWorkerd, type WorkerdProcess } from "../packages/agent-cli/src/gateway-local/workerd-process.ts"
import { World } from "./world.ts"

/** What a user writes. */
const source = `
import { connect, TunnelError } from "@trunkline/client"

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url)
    const { agent, command, options } = await request.json()
    const gateway = connect({ url: env.GATEWAY, token: env.TOKEN })
    try {
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

const post = (path: string, body: unknown): Promise<Response> =>
  fetch(new URL(path, workerUrl), { method: "POST", body: JSON.stringify(body) })

const clients = async (): Promise<number> => {
  const { clients } = (await (await world.fetch("/v1/endpoints/box")).json()) as { clients: number }
  return clients
}

beforeAll(async () => {
  world = await World.start()
  await world.agent("box")
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
