/** One workerd child process: its start, the port it reports, its end within a grace, and the tail of what it printed. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createRequire } from "node:module"
import { createInterface } from "node:readline"
import { Readable } from "node:stream"
import { killWithUs } from "./death-watch.ts"
import { GatewayStartError } from "./gateway-start-error.ts"

export interface WorkerdOptions {
  readonly configFile: string
  /** Where the configuration's `embed "/NAME"` is looked for. */
  readonly importPath: string
  /** The whole environment of the child. */
  readonly environment: NodeJS.ProcessEnv
  readonly onOutput?: ((line: string) => void) | undefined
  /** Called at once with the process id; when it throws, workerd is killed and `launchWorkerd` throws the same. */
  readonly onSpawn: (pid: number) => void
}

export interface WorkerdExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** True when `stop` asked for it. */
  readonly requested: boolean
  /** The last lines that workerd printed, at most 4 KiB. */
  readonly outputTail: string
}

export interface WorkerdProcess {
  readonly pid: number
  /** Resolves once it listens; rejects with `GatewayStartError` `workerd-failed`, with nothing left running. */
  readonly port: Promise<number>
  /** Resolves, never rejects, once it has ended. */
  readonly exited: Promise<WorkerdExit>
  /** Runs `drain`, then SIGTERM; SIGKILL when `graceMs` are over, whatever hangs. Never rejects if `drain` does not. */
  stop(drain: () => Promise<void>, graceMs: number): Promise<void>
}

/** workerd is ready in some 40 ms; a machine that needs longer than this is in trouble that waiting does not end. */
const readyTimeoutMs = 10_000
const outputTailLength = 4096

export const launchWorkerd = (options: WorkerdOptions): WorkerdProcess => {
  // KV needs --experimental.
  const child = spawn(workerdBinary(), ["serve", "--experimental", "--control-fd=3", "-I", options.importPath, options.configFile], {
    env: options.environment,
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    // Its own session: Ctrl-C in the terminal reaches only this process, which closes the sockets properly.
    // Windows ends children with their parent only while they are not detached.
    detached: process.platform !== "win32",
  })
  const { pid } = child
  const ended = exitOf(child)
  if (pid === undefined)
    throw new GatewayStartError(
      "workerd-failed",
      "workerd could not be started: its program file is missing or not executable; reinstall trunkline",
    )
  const watch = killWithUs(pid)
  try {
    options.onSpawn(pid)
  } catch (error) {
    child.kill("SIGKILL")
    watch.cancel()
    throw error
  }

  let outputTail = ""
  const output = [child.stdout, child.stderr].map((stream) =>
    eachLine(stream, (line) => {
      outputTail = `${outputTail}${line}\n`.slice(-outputTailLength)
      options.onOutput?.(line)
    }),
  )
  let requested = false
  const exited = ended.then(async ({ code, signal }): Promise<WorkerdExit> => {
    watch.cancel()
    await Promise.all(output)
    return { code, signal, requested, outputTail: outputTail.trimEnd() }
  })
  const stop = async (drain: () => Promise<void>, graceMs: number): Promise<void> => {
    requested = true
    const force = setTimeout(() => child.kill("SIGKILL"), graceMs)
    // Sockets first: after SIGTERM workerd takes no request any more, and with a socket open it does not end.
    await Promise.race([drain(), exited])
    child.kill("SIGTERM")
    await exited
    clearTimeout(force)
  }
  const port = async (): Promise<number> => {
    const control = child.stdio[3]
    const late = once(AbortSignal.timeout(readyTimeoutMs), "abort").then(() => undefined)
    const outcome = await Promise.race([control instanceof Readable ? portFrom(control) : late, exited, late])
    if (typeof outcome === "number") return outcome
    if (outcome !== undefined) {
      throw new GatewayStartError("workerd-failed", `workerd ended while starting (${describeExit(outcome)}):\n${outcome.outputTail}`)
    }
    await stop(() => Promise.resolve(), 0)
    throw new GatewayStartError("workerd-failed", `workerd did not listen within ${readyTimeoutMs} ms`)
  }
  return { pid, port: port(), exited, stop }
}

/** "exit code 1" or "signal SIGKILL". */
const describeExit = (exit: Pick<WorkerdExit, "code" | "signal">): string =>
  exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`

/** The port in the first event that workerd writes when it listens. */
const portFrom = (control: Readable): Promise<number> =>
  new Promise((resolve) => {
    void eachLine(control, (line) => {
      const event: unknown = JSON.parse(line)
      if (typeof event === "object" && event !== null && "port" in event && typeof event.port === "number") resolve(event.port)
    })
  })

/** `exit` and not `close`, so that whatever inherited the pipes cannot delay the verdict. */
const exitOf = (child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null }> =>
  new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }))
    // A failed spawn reports only this, and its pid is absent; a failed kill of a process that has ended is no news.
    child.on("error", () => {})
  })

const eachLine = async (stream: Readable | null, onLine: (line: string) => void): Promise<void> => {
  if (stream === null) return
  const lines = createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })
  lines.on("line", onLine)
  await once(lines, "close")
}

const workerdBinary = (): string => {
  const workerd: { readonly default: string } = createRequire(import.meta.url)("workerd")
  return workerd.default
}
