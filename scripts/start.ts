/** `pnpm start`: a gateway and an agent on this machine, until Ctrl-C. What the README's first minute shows. */
import { spawn } from "node:child_process"
import { hostname } from "node:os"
import { parseArgs } from "node:util"
import { connect } from "@trunkline/client"
import { endpointName, TunnelError } from "@trunkline/protocol"
import { findCredential } from "../packages/agent-cli/src/credentials.ts"
import { run } from "./run.ts"

const { values } = parseArgs({ options: { port: { type: "string", default: "8787" }, name: { type: "string" }, data: { type: "string" } } })
/** Milliseconds until gateway and agent must be up; both take well under a second. */
const onlineWithinMs = 15_000

const built = await run("pnpm", ["--silent", "--filter", "@trunkline/gateway", "run", "build"])
if (built !== 0) process.exit(built)

const url = `http://127.0.0.1:${values.port}`
const name = endpointName(values.name ?? hostname().split(".")[0]?.toLowerCase() ?? "") ?? "this-machine"
const stop = new AbortController()
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => stop.abort())

const gateway = start(["gateway", "--port", values.port, ...(values.data === undefined ? [] : ["--data", values.data])])
// Looked up each time: what is kept from an earlier gateway at this address is wrong until the new one has written its own.
const endpoints = async () => connect({ url, token: (await findCredential({ gateway: url })).value }).endpoints
await until(async () => (await endpoints()).list({ limit: 1 }), "the gateway")
const agent = start(["serve", "--gateway", url, "--name", name])
await until(async () => ((await (await endpoints()).get(name)).status === "online" ? true : undefined), "the agent")

const elsewhere = values.port === "8787" ? "" : `TRUNKLINE_GATEWAY=${url} `
console.log(`
"${name}" is online at ${url}. In another terminal of this folder:

  ${elsewhere}npx -y pnpm trunkline ls
  ${elsewhere}npx -y pnpm trunkline exec ${name} -- uname -a
  ${elsewhere}npx -y pnpm trunkline shell ${name}

Ctrl-C stops both.`)

await Promise.race([aborted(stop.signal), agent.ended, gateway.ended])
stop.abort()
agent.child.kill("SIGTERM")
await agent.ended
gateway.child.kill("SIGTERM")
await gateway.ended

function start(args: readonly string[]) {
  // A group of its own, so that Ctrl-C reaches it through us and in order: the agent first.
  const child = spawn("trunkline", args, { stdio: ["ignore", "inherit", "inherit"], detached: true })
  const ended = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      console.error(`cannot start trunkline: ${error.message}`)
      resolve()
    })
    child.once("exit", (code) => {
      if (!stop.signal.aborted) process.exitCode = code ?? 1
      resolve()
    })
  })
  return { child, ended }
}

/** Tries until there is a value; what fails in between is not there yet. */
async function until<T>(look: () => Promise<T | undefined>, what: string): Promise<T> {
  const giveUpAt = performance.now() + onlineWithinMs
  while (!stop.signal.aborted) {
    try {
      const value = await look()
      if (value !== undefined) return value
    } catch (error) {
      if (performance.now() > giveUpAt) throw error
      if (error instanceof TunnelError && error.code === "bad-request") throw error
    }
    if (performance.now() > giveUpAt || process.exitCode !== undefined) {
      console.error(`${what} did not come up; what it said is above`)
      process.exit(1)
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  process.exit(1)
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", () => resolve(), { once: true })))
}
