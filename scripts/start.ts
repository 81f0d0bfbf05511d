/** `pnpm start`: a gateway and an agent on this machine, until Ctrl-C. What the README's first minute shows. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { hostname } from "node:os"
import { createInterface } from "node:readline"
import { parseArgs } from "node:util"
import { connect } from "@trunkline/client"
import { endpointName, endpointNameRule } from "@trunkline/protocol"
import { readSecretFile } from "../packages/agent-cli/src/credentials.ts"
import { run } from "./run.ts"

/** Milliseconds until the agent must be online; it takes well under a second. */
const onlineWithinMs = 15_000

const { port, name, data } = readOptions()
const built = await run("pnpm", ["--silent", "--filter", "@trunkline/gateway", "run", "build"])
if (built !== 0) process.exit(built)

const stop = new AbortController()
let agent: Child | undefined
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    // The agent's own rule: a second one stops at once.
    if (stop.signal.aborted) agent?.process.kill("SIGTERM")
    stop.abort()
  })
}
const stopped = once(stop.signal, "abort")

// Its document says where it listens and where its secret is.
const gateway = start(["gateway", "--port", port, "--output", "json", ...(data === undefined ? [] : ["--data", data])])
try {
  const ready = await Promise.race([firstLine(gateway), gateway.ended, stopped])
  if (typeof ready === "string") {
    const { url, secretFile }: { url: string; secretFile: string } = JSON.parse(ready)
    agent = start(["serve", "--gateway", url, "--name", name, "--secret-file", secretFile])
    if (await online(url, secretFile)) {
      announce(url, secretFile)
      await Promise.race([agent.ended, gateway.ended, stopped])
    }
  }
} finally {
  stop.abort()
  // In this order, so that the agent can take its leave of the gateway.
  for (const child of [agent, gateway]) {
    child?.process.kill("SIGTERM")
    await child?.ended
  }
}

function readOptions(): { port: string; name: string; data: string | undefined } {
  try {
    const options = { port: { type: "string", default: "8787" }, name: { type: "string" }, data: { type: "string" } } as const
    const { values } = parseArgs({ options })
    const name = endpointName(values.name ?? hostname().split(".")[0]?.toLowerCase() ?? "")
    if (name === undefined && values.name !== undefined)
      throw new TypeError(`"${values.name}" is not an endpoint name: ${endpointNameRule}`)
    return { port: values.port, name: name ?? "this-machine", data: values.data }
  } catch (error) {
    console.error(
      `start: ${error instanceof Error ? error.message : String(error)}\nusage: pnpm start [--port NUMBER] [--name NAME] [--data DIR]`,
    )
    process.exit(2)
  }
}

type Child = ReturnType<typeof start>

function start(args: readonly string[]) {
  // A group of its own, so that Ctrl-C reaches it through us and in order: the agent first.
  const child = spawn("trunkline", args, { stdio: ["ignore", "pipe", "inherit"], detached: true })
  const ended = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      console.error(`cannot start trunkline: ${error.message}`)
      process.exitCode = 1
      resolve()
    })
    child.once("exit", (code, signal) => {
      if (!stop.signal.aborted) {
        console.error(`trunkline ${args[0]} ended by itself (${signal ?? `exit code ${code}`}), so the other is stopped too`)
        process.exitCode = code ?? 1
      }
      resolve()
    })
  })
  return { process: child, ended }
}

/** Never resolves when it ends without one. */
function firstLine({ process: child }: Child): Promise<string> {
  return new Promise((resolve) => createInterface({ input: child.stdout }).once("line", resolve))
}

/** False when it was stopped, ended, or took too long. */
async function online(url: string, secretFile: string): Promise<boolean> {
  const { endpoints } = connect({ url, token: await readSecretFile(secretFile) })
  const giveUpAt = performance.now() + onlineWithinMs
  while (!stop.signal.aborted && process.exitCode === undefined) {
    // What fails is not there yet.
    const status = await endpoints.get(name).then(
      (endpoint) => endpoint.status,
      () => undefined,
    )
    if (status === "online") return true
    if (performance.now() > giveUpAt) {
      console.error("the agent did not come online; what it said is above")
      process.exitCode = 1
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return false
}

function announce(url: string, secretFile: string): void {
  const elsewhere = url === "http://127.0.0.1:8787" ? "" : `TRUNKLINE_GATEWAY=${url} `
  console.log(`
"${name}" is online at ${url}. In another terminal of this folder:

  ${elsewhere}npx -y pnpm trunkline ls
  ${elsewhere}npx -y pnpm trunkline exec ${name} -- uname -a
  ${elsewhere}npx -y pnpm trunkline shell ${name}

The gateway's secret, for curl and other machines, is in ${secretFile}
Ctrl-C stops both.
`)
}
