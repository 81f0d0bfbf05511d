/** One remote terminal shown in the local one, from the first key to the exit code. */
import type { Agent, SpawnOptions, Terminal } from "@trunkline/client"
import { formatDuration } from "../duration.ts"
import { exitCodeOf, exitCodeOfSignal, exitCodes } from "../exit-codes.ts"
import { CommandFailure, unknownOutcome } from "../failure.ts"
import { showProgress } from "../output.ts"
import { isReaderGone, writeAll } from "../stdio.ts"
import { EscapeKeys, escapeKeysHelp } from "./escape-keys.ts"
import { InputQueue } from "./input-queue.ts"
import { LocalTerminal, terminalVariables } from "./local-terminal.ts"
import { TerminalModes } from "./terminal-modes.ts"

export interface SessionOptions extends Pick<SpawnOptions, "cwd" | "env" | "timeoutMs"> {
  /** The login shell when absent. */
  readonly command?: readonly string[]
  /** Whether keys go to the remote terminal. Without it the local terminal stays as it is. */
  readonly input: boolean
}

/** How it came to an end: the remote program's own exit, or one of ours. */
type Ending =
  | { readonly type: "exited"; readonly exitCode: number }
  | { readonly type: "left"; readonly exitCode: number; readonly message?: string }

/** Resolves to the exit code. Rejects when the terminal could not be opened, or when nobody knows how it ended. */
export async function showTerminal(agent: Agent, options: SessionOptions): Promise<number> {
  const left = Promise.withResolvers<Ending>()
  const leave = (exitCode: number, message?: string) =>
    left.resolve({ type: "left", exitCode, ...(message === undefined ? {} : { message }) })
  const opening = new AbortController()
  const modes = new TerminalModes()
  const local = new LocalTerminal(process.stdin, process.stdout, modes)
  let terminal: Terminal | undefined
  let interrupted = false
  const listeners = {
    SIGINT: () => {
      // Without keys of ours the remote terminal gets its Ctrl-C from here, once.
      if (terminal === undefined || options.input || interrupted) leave(exitCodeOfSignal("SIGINT"))
      else terminal.write("\u0003").catch(() => {})
      interrupted = true
    },
    SIGTERM: () => leave(exitCodeOfSignal("SIGTERM")),
    SIGHUP: () => leave(exitCodeOfSignal("SIGHUP")),
    SIGTSTP: () => suspend(local, terminal),
  }
  for (const [signal, listener] of Object.entries(listeners)) process.on(signal, listener)

  let end: "normal" | "abnormal" = "abnormal"
  try {
    const progress = showProgress(`connecting to ${agent.name}…`)
    const openedSize = local.size
    const opened = agent.pty
      .create({ ...options, ...openedSize, env: { ...terminalVariables(process.env), ...options.env }, signal: opening.signal })
      .finally(progress)
    opened.catch(() => {})
    const first = await Promise.race([opened, left.promise])
    if ("type" in first) {
      opening.abort()
      return first.exitCode
    }
    terminal = first
    const stopInput = options.input ? readKeys(local, first, leave) : () => {}
    local.takeOver(options.input)
    const resize = () => first.resize(local.size.cols, local.size.rows)
    process.stdout.on("resize", resize)
    // The window may have changed while the terminal was being opened.
    if (local.size.cols !== openedSize.cols || local.size.rows !== openedSize.rows) resize()
    try {
      const shown = show(first, modes)
      shown.catch(() => {})
      const ending = await Promise.race([shown, left.promise])
      if (ending.type === "exited") end = "normal"
      else if (ending.message !== undefined) {
        local.release(end)
        process.stderr.write(`${ending.message}\n`)
      }
      return ending.exitCode
    } finally {
      process.stdout.off("resize", resize)
      stopInput()
    }
  } finally {
    for (const [signal, listener] of Object.entries(listeners)) process.off(signal, listener)
    local.release(end)
  }
}

/** Until the remote terminal ends. */
async function show(terminal: Terminal, modes: TerminalModes): Promise<Ending> {
  try {
    for await (const bytes of terminal.output) {
      modes.read(bytes)
      await writeAll(process.stdout, bytes)
    }
  } catch (error) {
    if (isReaderGone(error)) return { type: "left", exitCode: exitCodeOfSignal("SIGPIPE") }
    throw new CommandFailure(`connection lost: ${error instanceof Error ? error.message : String(error)}`, exitCodes.link, { cause: error })
  }
  const { exit } = await terminal.wait()
  if (exit.type === "unknown") throw unknownOutcome(new Error(exit.reason))
  if (exit.type === "timeout") process.stderr.write(`\r\ntrunkline: time is up: ended after ${formatDuration(exit.timeoutMs)}\r\n`)
  return { type: "exited", exitCode: exitCodeOf(exit) }
}

/** Every key is either ours or the remote terminal's. The result stops reading. */
function readKeys(local: LocalTerminal, terminal: Terminal, leave: (exitCode: number, message?: string) => void): () => void {
  const { stdin } = process
  const keys = new EscapeKeys()
  const queue = new InputQueue(
    (bytes) => terminal.write(bytes),
    (full) => (full ? stdin.pause() : stdin.resume()),
  )
  const read = (bytes: Buffer) => {
    for (const action of keys.read(bytes)) {
      switch (action.type) {
        case "send":
          queue.push(action.bytes)
          break
        case "leave":
          // What ssh answers too: how the remote shell ends, nobody will know.
          leave(exitCodes.link, "left; the remote terminal is hung up")
          break
        case "help":
          process.stderr.write(`\r\n${escapeKeysHelp.join("\r\n")}\r\n`)
          break
        case "suspend":
          suspend(local, terminal)
          break
      }
    }
  }
  // The local terminal is gone, and with it whoever looked at it.
  const gone = () => leave(exitCodeOfSignal("SIGHUP"))
  stdin.on("data", read).on("end", gone).on("error", gone)
  return () => {
    stdin.off("data", read).off("end", gone).pause()
    stdin.unref()
  }
}

/** Whoever continues us finds the screen as others left it, so the remote program is made to draw it again. */
function suspend(local: LocalTerminal, terminal: Terminal | undefined): void {
  local.suspend()
  const { cols, rows } = local.size
  // The same size twice would be no change, and nothing would be drawn.
  terminal?.resize(cols, rows + 1)
  terminal?.resize(cols, rows)
}
