/**
 * Runs a command, or the user's login shell, on a terminal of its own.
 *
 * Nothing of the output is lost at the end: we hold the slave open too, so that the kernel reports no hang-up before all
 * is read, and at the process's end we read the master until it says EAGAIN, which Linux does only when all that the
 * process has written is out. Where the slave cannot be opened we do without the hold, the end of the terminal shows as
 * EIO, and the platform and libuv decide what becomes of the tail.
 *
 * `signal` goes to the group of the terminal's first process. What a shell runs in the foreground is a group of its own:
 * that one is reached by typing ^C, and by a hang-up, which the shell and the kernel pass on.
 */
import { closeSync, constants, openSync, readSync } from "node:fs"
import { constants as osConstants } from "node:os"
import { ReadStream } from "node:tty"
import { type PtyOpen, type SignalName, TunnelError } from "@trunkline/protocol"
import { loginShell, ptyEnvironment, workingDirectory } from "./environment.ts"
import { hangUpSignals, Lifetime } from "./lifetime.ts"
import { loadNativePty, type NativePty } from "./native-pty.ts"
import { type AgentProcess, type ProcessEvents, processTimes, type StartOptions } from "./process.ts"
import { checkWorkingDirectory, resolveCommand } from "./resolve-command.ts"
import { checkArgumentLengths } from "./spawn-error.ts"
import { TerminalInput } from "./terminal-input.ts"
import { addMaster } from "./terminal-masters.ts"

/** Bytes read after the process's end: more than the kernel keeps of a terminal's output (64 KiB and one 4 KiB line buffer). */
const tailBytesMax = 131_072

/** Bytes per read of the tail: what the kernel gives at once. */
const tailReadBytes = 4_096

/**
 * Starts it. Rejects with `cwd-not-found`, `command-not-found`, `not-executable` or `spawn-failed`; then no event is ever
 * called. A script whose interpreter is missing is started and says so on the terminal.
 */
export async function startPty(open: PtyOpen, events: ProcessEvents, options: StartOptions = {}): Promise<AgentProcess> {
  const cwd = workingDirectory(open.cwd)
  checkWorkingDirectory(cwd)
  const agentEnv = options.agentEnv ?? process.env
  const env = ptyEnvironment(agentEnv, open.env, cwd)
  const [command, ...args] = open.argv ?? loginShell(agentEnv, env, cwd)
  const file = resolveCommand(command, env.PATH, cwd)
  checkArgumentLengths([file, ...args], env)
  const pairs = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  const { native, helperPath } = loadNativePty()
  const { graceMs } = options.times ?? processTimes
  let pty: PtyProcess | undefined
  const exited = (code: number, signal: number): void => pty?.exited(code, signal)
  try {
    const terminal = native.fork(file, args, pairs, cwd, open.cols, open.rows, -1, -1, false, helperPath, exited)
    pty = new PtyProcess(native, terminal, open.timeoutMs, graceMs, events)
    return pty
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new TunnelError(
      "spawn-failed",
      `no terminal could be made for ${file}: ${reason}; the limit of terminals or processes may be reached`,
      { cause },
    )
  }
}

class PtyProcess implements AgentProcess {
  readonly pid: number
  readonly #native: NativePty
  readonly #events: ProcessEvents
  readonly #lifetime: Lifetime
  readonly #masterFd: number
  readonly #master: ReadStream
  readonly #input: TerminalInput
  readonly #hold: number | undefined
  #paused = false
  #published = false
  #tailBytes = 0

  constructor(
    native: NativePty,
    terminal: { readonly fd: number; readonly pid: number; readonly pty: string },
    timeoutMs: number | undefined,
    graceMs: number,
    events: ProcessEvents,
  ) {
    this.pid = terminal.pid
    this.#native = native
    this.#events = events
    this.#masterFd = terminal.fd
    this.#hold = holdSlave(terminal.pty)
    this.#lifetime = new Lifetime({ pid: terminal.pid, timeoutMs, graceMs, timeUpSignals: hangUpSignals, forced: () => {} })
    this.#master = new ReadStream(terminal.fd)
    this.#input = new TerminalInput(terminal.fd)
    addMaster(terminal.fd, this.#master)
    this.#master.on("data", (chunk: Buffer) => events.output("stdout", chunk))
    // Without the hold, EIO is how a terminal without processes ends.
    this.#master.on("error", () => {})
    this.#master.once("close", () => {
      this.#input.close()
      this.#publishIfExited()
    })
  }

  write(bytes: Uint8Array, written: () => void): void {
    // The descriptor may be another's from the moment the stream is destroyed.
    if (this.#master.destroyed) this.#input.close()
    this.#input.write(bytes, written)
  }

  endInput(): void {}

  pauseOutput(): void {
    this.#paused = true
    this.#master.pause()
  }

  resumeOutput(): void {
    if (!this.#paused) return
    this.#paused = false
    if (this.#lifetime.outcome === undefined) this.#master.resume()
    else this.#readTail()
  }

  signal(name: SignalName): void {
    this.#lifetime.signal(name)
  }

  resize(cols: number, rows: number): void {
    if (!this.#master.destroyed) this.#native.resize(this.#masterFd, cols, rows)
  }

  hangUp(): void {
    this.#lifetime.hangUp()
  }

  exited(code: number, signal: number): void {
    this.#lifetime.exited(code, signal === 0 ? null : signalName(signal))
    this.#input.close()
    this.#master.pause()
    this.#readTail()
  }

  /** First what the stream has read ahead, then the kernel's own. Stops when paused and is called again at the resume. */
  #readTail(): void {
    if (this.#master.destroyed) return this.#publishIfExited()
    while (!this.#paused && this.#master.read() !== null) {}
    // The receiver may pause and resume from within, and so have the rest read and the descriptor closed.
    while (!this.#paused && !this.#published && this.#tailBytes < tailBytesMax) {
      const chunk = readNow(this.#masterFd)
      if (chunk === undefined) break
      this.#tailBytes += chunk.length
      this.#events.output("stdout", chunk)
    }
    if (!this.#paused) this.#publishIfExited()
  }

  #publishIfExited(): void {
    const { outcome } = this.#lifetime
    if (outcome === undefined || this.#published) return
    this.#published = true
    this.#lifetime.published()
    this.#master.destroy()
    if (this.#hold !== undefined) closeSync(this.#hold)
    this.#events.exited(outcome.exit, outcome.durationMs)
  }
}

function holdSlave(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDWR | constants.O_NOCTTY)
  } catch {
    return undefined
  }
}

/** What a non-blocking descriptor has now; undefined when it has nothing or has ended. */
function readNow(fd: number): Buffer | undefined {
  const buffer = Buffer.allocUnsafe(tailReadBytes)
  try {
    const length = readSync(fd, buffer)
    return length === 0 ? undefined : buffer.subarray(0, length)
  } catch {
    return undefined
  }
}

function signalName(signal: number): string {
  const entry = Object.entries(osConstants.signals).find(([, number]) => number === signal)
  return entry?.[0] ?? `SIG${signal}`
}
