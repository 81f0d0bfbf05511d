/** A gateway, agents and commands as users run them: real processes, real sockets, a home of their own. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { connect, type EndpointDetail, type Gateway } from "@trunkline/client"
import { dialNode } from "@trunkline/client/node"

export const bin = fileURLToPath(new URL("../packages/agent-cli/bin/trunkline.js", import.meta.url))

export interface Finished {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: Buffer
  readonly stderr: string
}

/** A `trunkline` process. */
export class Command {
  readonly child: ChildProcess
  readonly finished: Promise<Finished>
  readonly #waiting = new Set<() => void>()
  #stdout: Buffer[] = []
  #stderr = ""

  constructor(args: readonly string[], env: NodeJS.ProcessEnv, stdin: "pipe" | "ignore") {
    this.child = spawn(process.execPath, [bin, ...args], { env, stdio: [stdin, "pipe", "pipe"] })
    this.child.stdout?.on("data", (chunk: Buffer) => {
      this.#stdout.push(chunk)
      for (const look of this.#waiting) look()
    })
    this.child.stderr?.on("data", (chunk: Buffer) => {
      this.#stderr += chunk.toString()
      for (const look of this.#waiting) look()
    })
    this.finished = once(this.child, "close").then(([code, signal]) => {
      for (const look of this.#waiting) look()
      return { code: code as number | null, signal: signal as NodeJS.Signals | null, stdout: this.stdout, stderr: this.#stderr }
    })
  }

  get stdout(): Buffer {
    return Buffer.concat(this.#stdout)
  }

  get stderr(): string {
    return this.#stderr
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  /** Resolves when the condition holds; rejects with what was printed if the process ends first. */
  until(holds: (command: Command) => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (holds(this)) resolve()
        else if (this.child.exitCode !== null || this.child.signalCode !== null)
          reject(new Error(`ended before: ${this.stdout}${this.#stderr}`))
        else return
        this.#waiting.delete(look)
      }
      this.#waiting.add(look)
      look()
    })
  }
}

export class World {
  readonly home: string
  readonly #commands: Command[] = []
  gateway: Command | undefined
  url = ""
  secret = ""

  private constructor(home: string) {
    this.home = home
  }

  /** With a running gateway. */
  static async start(): Promise<World> {
    if (!existsSync(fileURLToPath(new URL("../packages/gateway/dist/gateway.js", import.meta.url)))) {
      throw new Error("the gateway is not built: run `pnpm build` first")
    }
    const world = new World(await mkdtemp(join(tmpdir(), "trunkline-e2e-")))
    await world.startGateway(0)
    return world
  }

  /** Starts the gateway, again on the same data after it was stopped or killed. */
  async startGateway(port: number): Promise<void> {
    const gateway = this.command(["gateway", "--port", String(port), "--data", join(this.home, "gateway")])
    this.gateway = gateway
    await gateway.until(({ stdout }) => /^http:\/\/\S+$/m.test(stdout.toString()))
    this.url = /^http:\/\/\S+$/m.exec(gateway.stdout.toString())?.[0] ?? ""
    this.secret = (await readFile(join(this.home, "gateway", "secret"), "utf8")).trim()
  }

  /** Where agents keep their keepers; the paths of sockets have little room. */
  get stateHome(): string {
    return join(this.home, "s")
  }

  get port(): number {
    return Number(new URL(this.url).port)
  }

  env(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    const { TRUNKLINE_SECRET: _secret, TRUNKLINE_TOKEN: _token, TRUNKLINE_GATEWAY: _gateway, ...outer } = process.env
    return {
      ...outer,
      HOME: this.home,
      XDG_CONFIG_HOME: join(this.home, ".config"),
      XDG_DATA_HOME: join(this.home, ".data"),
      XDG_STATE_HOME: this.stateHome,
      TRUNKLINE_GATEWAY: this.url,
      ...more,
    }
  }

  /** Starts `trunkline ARGS`. */
  command(args: readonly string[], options: { readonly env?: NodeJS.ProcessEnv; readonly stdin?: "pipe" | "ignore" } = {}): Command {
    const command = new Command(args, this.env(options.env), options.stdin ?? "ignore")
    this.#commands.push(command)
    return command
  }

  /** Runs `trunkline ARGS` to its end. */
  run(
    args: readonly string[],
    options: { readonly env?: NodeJS.ProcessEnv; readonly input?: Uint8Array | string } = {},
  ): Promise<Finished> {
    const command = this.command(args, {
      ...(options.env === undefined ? {} : { env: options.env }),
      stdin: options.input === undefined ? "ignore" : "pipe",
    })
    // A command that ends without reading its input closes the pipe: that is its right.
    command.child.stdin?.on("error", () => {})
    command.child.stdin?.end(options.input)
    return command.finished
  }

  /** Starts an agent and waits until the listing says online. */
  async agent(name: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Command> {
    const agent = this.command(["serve", "--name", name, ...args], { env })
    await this.until(async () => (await this.endpoint(name))?.status === "online")
    return agent
  }

  /** The SDK against this gateway. Links are kept, so that calls after the first measure nothing but themselves. */
  client(): Gateway {
    return connect({ url: this.url, token: this.secret, dial: dialNode, idleMs: 60_000 })
  }

  async endpoint(name: string): Promise<EndpointDetail | undefined> {
    const { endpoints } = await this.client().endpoints.list()
    return endpoints.find((endpoint) => endpoint.name === name)
  }

  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(new URL(path, this.url), { ...init, headers: { authorization: `Bearer ${this.secret}`, ...init.headers } })
  }

  /** Looks again and again at something that tells nobody when it changes; the test's own time limit ends it. */
  async until(holds: () => Promise<boolean> | boolean): Promise<void> {
    while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20))
  }

  /** Process ids of the keepers that run for this world's agents. */
  async keepers(): Promise<readonly number[]> {
    const files = await readdir(this.home, { recursive: true }).catch(() => [])
    const pids = files
      .filter((file) => /keeper-[^/]*\.pid$/.test(file))
      .map((file) => readFile(join(this.home, file), "utf8").catch(() => ""))
    return (await Promise.all(pids)).filter((pid) => pid !== "").map(Number)
  }

  /** The process id of one agent's keeper. */
  async keeper(name: string): Promise<number> {
    for (const pid of await this.keepers()) {
      const [title] = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0")
      if (title === `trunkline keeper ${name}`) return pid
    }
    throw new Error(`${name} has no keeper`)
  }

  async stop(): Promise<void> {
    for (const command of this.#commands) if (command !== this.gateway) command.child.kill("SIGKILL")
    this.gateway?.child.kill("SIGTERM")
    await Promise.all(this.#commands.map(({ finished }) => finished))
    for (const keeper of await this.keepers()) {
      // Each of what it runs leads a group of its own, and nobody would end it after the keeper.
      const groups = await childrenOf(keeper)
      for (const target of [keeper, ...groups.map((pid) => -pid)]) {
        try {
          process.kill(target, "SIGKILL")
        } catch {
          // It has ended by itself.
        }
      }
    }
    // Something that was just killed may still be writing.
    await rm(this.home, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Process ids of the children of a process. */
export async function childrenOf(parent: number): Promise<readonly number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name))
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, "utf8").catch(() => "")))
  // The name of a program may hold spaces and brackets; what follows the last bracket is state and parent.
  return stats
    .filter((stat) => Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === parent)
    .map((stat) => Number.parseInt(stat, 10))
}
