/**
 * Runs a command without a shell and without a terminal, in a session and process group of its own.
 *
 * The exit is published once both pipes are read to their end. A process that outlives the command may hold them
 * open: then as soon as they have been quiet for a moment. Such a process is left alive unless the command was hung up
 * or ran out of time, because `nohup server &` is a thing people do.
 *
 * A script without a `#!` line is run by sh, as a shell would (the C library's execvp does it; musl's does not).
 */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import type { Readable } from "node:stream"
import { type ExecOpen, giveBack, type SignalName } from "@trunkline/protocol"
import { execEnvironment, workingDirectory } from "./environment.ts"
import { Lifetime } from "./lifetime.ts"
import { type AgentProcess, type ProcessEvents, type ProcessTimes, processTimes, type StartOptions } from "./process.ts"
import { checkWorkingDirectory, resolveCommand } from "./resolve-command.ts"
import { checkArgumentLengths, spawnError } from "./spawn-error.ts"
import { withoutMasters } from "./terminal-masters.ts"

/** Bytes still read after everybody of ours was killed: more than the kernel keeps of a pipe, so the rest is a stranger's. */
const strayBytesMax = 1_048_576

/**
 * Starts it. Rejects with `cwd-not-found`, `command-not-found`, `not-executable` or `spawn-failed`; then no event is ever
 * called.
 */
export async function startExec(open: ExecOpen, events: ProcessEvents, options: StartOptions = {}): Promise<AgentProcess> {
  const cwd = workingDirectory(open.cwd)
  checkWorkingDirectory(cwd)
  const env = execEnvironment(options.agentEnv ?? process.env, open.env, cwd)
  const [command, ...args] = open.argv
  const file = resolveCommand(command, env.PATH, cwd)
  checkArgumentLengths(open.argv, env)
  const child = (() => {
    try {
      const stdio = withoutMasters([open.stdin ? "pipe" : "ignore", "pipe", "pipe"])
      return spawn(file, args, { argv0: command, cwd, env, stdio, detached: true, windowsHide: true })
    } catch (error) {
      throw spawnError(error as NodeJS.ErrnoException, file, cwd)
    }
  })()
  const { pid, stdout, stderr } = child
  if (pid === undefined || stdout === null || stderr === null) {
    const [error] = (await once(child, "error")) as [NodeJS.ErrnoException]
    throw spawnError(error, file, cwd)
  }
  return new ExecProcess(child, pid, { stdout, stderr }, open.timeoutMs, events, options.times ?? processTimes)
}

class ExecProcess implements AgentProcess {
  readonly pid: number
  readonly #child: ChildProcess
  readonly #pipes: { readonly stdout: Readable; readonly stderr: Readable }
  readonly #events: ProcessEvents
  readonly #lifetime: Lifetime
  readonly #quietMs: number
  #paused = false
  #forced = false
  #published = false
  #openPipes = 2
  #bytesAfterExit = 0
  #quiet: NodeJS.Timeout | undefined

  constructor(
    child: ChildProcess,
    pid: number,
    pipes: { readonly stdout: Readable; readonly stderr: Readable },
    timeoutMs: number | undefined,
    events: ProcessEvents,
    times: ProcessTimes,
  ) {
    this.pid = pid
    this.#child = child
    this.#pipes = pipes
    this.#events = events
    this.#quietMs = times.quietMs
    const forced = (): void => {
      this.#forced = true
    }
    this.#lifetime = new Lifetime({ pid, timeoutMs, graceMs: times.graceMs, timeUpSignals: ["SIGTERM", "SIGKILL"], forced })
    for (const source of ["stdout", "stderr"] as const) {
      // Pulled with read(), not pushed as "data": at a child's exit Node resumes its pipes, paused or not.
      pipes[source].on("readable", () => this.#read(source))
      pipes[source].on("error", () => {})
      pipes[source].once("close", () => {
        this.#openPipes--
        this.#settle()
      })
    }
    // Nobody reads any more (EPIPE); the callbacks of the writes run with it.
    child.stdin?.on("error", () => {})
    child.on("error", () => {})
    child.once("exit", (code, signal) => {
      this.#lifetime.exited(code, signal)
      this.#settle()
    })
  }

  write(bytes: Uint8Array, written: () => void): void {
    const { stdin } = this.#child
    if (stdin?.writable === true) stdin.write(bytes, () => written())
    else process.nextTick(written)
  }

  endInput(): void {
    this.#child.stdin?.end()
  }

  pauseOutput(): void {
    this.#paused = true
    this.#settle()
  }

  resumeOutput(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#read("stdout")
    this.#read("stderr")
    this.#settle()
  }

  signal(name: SignalName): void {
    this.#lifetime.signal(name)
  }

  resize(): void {}

  hangUp(): void {
    this.#lifetime.hangUp()
  }

  /** Takes what has arrived. What has not been read fills the stream's buffer, then the pipe, then stops the writer. */
  #read(source: "stdout" | "stderr"): void {
    while (!this.#paused && !this.#published) {
      const chunk = this.#pipes[source].read() as Buffer | null
      if (chunk === null) return
      const { byteLength } = chunk
      this.#events.output(source, chunk)
      // From here on the chunk is empty.
      giveBack(chunk)
      if (this.#lifetime.outcome === undefined) continue
      this.#bytesAfterExit += byteLength
      this.#settle()
    }
  }

  /** Decides, after everything that may matter, whether the exit can be published. */
  #settle(): void {
    clearTimeout(this.#quiet)
    if (this.#published || this.#lifetime.outcome === undefined) return
    const stray = this.#forced && this.#bytesAfterExit > strayBytesMax
    if (this.#openPipes === 0 || (stray && !this.#paused)) this.#publish()
    else if (!this.#paused) this.#quiet = setTimeout(() => this.#endIfQuiet(), this.#quietMs)
  }

  /**
   * A timer runs before the pipes are looked at: a busy agent may not have read for long. So the pipes get
   * one more look, and only silence in that one counts.
   */
  #endIfQuiet(): void {
    const quiet = this.#quiet
    setImmediate(() => {
      // Bytes, or a pause and its end, have begun another wait.
      if (!this.#paused && this.#quiet === quiet) this.#publish()
    })
  }

  #publish(): void {
    const { outcome } = this.#lifetime
    if (outcome === undefined || this.#published) return
    this.#published = true
    clearTimeout(this.#quiet)
    this.#lifetime.published()
    this.#child.stdin?.destroy()
    this.#pipes.stdout.destroy()
    this.#pipes.stderr.destroy()
    this.#events.exited(outcome.exit, outcome.durationMs)
  }
}
