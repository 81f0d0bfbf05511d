/** One remote terminal shown in the local one, from the first key to the exit code. */
import type { Agent } from "@trunkline/client"
import { formatDuration } from "../duration.ts"
import { exitCodeOf, exitCodeOfSignal, exitCodes } from "../exit-codes.ts"
import { CommandFailure, unknownOutcome } from "../failure.ts"
import { noticeWaits } from "../link-notice.ts"
import { showProgress } from "../output.ts"
import { isReaderGone, writeAll } from "../stdio.ts"
import { EscapeKeys, escapeKeysHelp } from "./escape-keys.ts"
import { InputQueue } from "./input-queue.ts"
import { LocalTerminal, type Size } from "./local-terminal.ts"
import { afterLoss, type Bond, part, type Wish } from "./parting.ts"
import type { RemoteTerminal } from "./remote-terminal.ts"
import { TerminalModes } from "./terminal-modes.ts"

export interface SessionOptions {
  /** Rejects with TunnelError. Aborted when somebody leaves before it is there. */
  readonly open: (size: Size, signal: AbortSignal) => Promise<RemoteTerminal>
  /**
   * `typed`: they go to the remote terminal, but for our own. `watching`: only our own count, and Ctrl-C, which leaves. `none`:
   * the local terminal stays as it is.
   */
  readonly keys: "typed" | "watching" | "none"
  readonly bond: Bond
  /** The command line that shows the terminal again. */
  readonly comeBack: (id: string) => string
}

/** How it came to an end: the remote program's own exit, or one of ours. */
type Ending =
  | { readonly type: "exited"; readonly exitCode: number }
  | { readonly type: "left"; readonly exitCode: number; readonly wish: Wish }

type Leave = (exitCode: number, wish: Wish) => void

/** Resolves to the exit code. Rejects when the terminal could not be opened, or when nobody knows how it ended. */
export async function showTerminal(agent: Agent, options: SessionOptions): Promise<number> {
  const { keys, bond, comeBack } = options
  const left = Promise.withResolvers<Ending>()
  const leave: Leave = (exitCode, wish) => left.resolve({ type: "left", exitCode, wish })
  const opening = new AbortController()
  const modes = new TerminalModes()
  const local = new LocalTerminal(process.stdin, process.stdout, modes)
  let terminal: RemoteTerminal | undefined
  let interrupted = false
  const notice = process.stderr.isTTY
    ? noticeWaits(agent, {
        leaveKeys: keys === "none" ? "Ctrl-C" : "Enter ~.",
        // The line below the cursor, whatever the remote program has left on this one.
        write: (line) => process.stderr.write(`\r\n${line}\r\n`),
        back: () => redraw(local, terminal),
      })
    : undefined
  const listeners = {
    SIGINT: () => {
      // Without keys of ours the remote terminal gets its Ctrl-C from here, once.
      const forwards = keys === "none" && bond === "command" && !interrupted && notice?.shown !== true
      if (terminal === undefined || !forwards) leave(exitCodeOfSignal("SIGINT"), "lost")
      else terminal.write(Uint8Array.of(controlC)).catch(() => {})
      interrupted = true
    },
    SIGTERM: () => leave(exitCodeOfSignal("SIGTERM"), "lost"),
    SIGHUP: () => leave(exitCodeOfSignal("SIGHUP"), "lost"),
    SIGTSTP: () => suspend(local, terminal),
  }
  for (const [signal, listener] of Object.entries(listeners)) process.on(signal, listener)

  let end: "normal" | "abnormal" = "abnormal"
  try {
    const progress = showProgress(`connecting to ${agent.name}…`)
    const openedSize = local.size
    const opened = options.open(openedSize, opening.signal).finally(progress)
    opened.catch(() => {})
    const first = await Promise.race([opened, left.promise])
    if ("type" in first) {
      opening.abort()
      return first.exitCode
    }
    terminal = first
    const stopInput = keys === "none" ? () => {} : readKeys(local, first, leave, options)
    local.takeOver(keys !== "none")
    const resize = () => first.resize(local.size.cols, local.size.rows)
    process.stdout.on("resize", resize)
    // The window may have changed while the terminal was being opened.
    if (local.size.cols !== openedSize.cols || local.size.rows !== openedSize.rows) resize()
    let ending: Ending
    try {
      const shown = show(first, modes, options)
      shown.catch(() => {})
      ending = await Promise.race([shown, left.promise])
    } finally {
      process.stdout.off("resize", resize)
      stopInput()
    }
    if (ending.type === "exited") {
      end = "normal"
      return ending.exitCode
    }
    local.release(end)
    const { message, keepLink } = await part(agent, first, { bond, wish: ending.wish, comeBack: comeBack(first.id) })
    if (message !== undefined) process.stderr.write(`${message}\n`)
    // A link that is closed tells the agent that we have left for good, one that breaks off does not.
    if (keepLink) process.exit(ending.exitCode)
    return ending.exitCode
  } finally {
    for (const [signal, listener] of Object.entries(listeners)) process.off(signal, listener)
    notice?.stop()
    local.release(end)
  }
}

/** Until the remote terminal ends. */
async function show(terminal: RemoteTerminal, modes: TerminalModes, { bond, comeBack }: SessionOptions): Promise<Ending> {
  try {
    for await (const bytes of terminal.output) {
      modes.read(bytes)
      await writeAll(process.stdout, bytes)
    }
  } catch (error) {
    if (isReaderGone(error)) return { type: "left", exitCode: exitCodeOfSignal("SIGPIPE"), wish: "lost" }
    const reason = error instanceof Error ? error.message : String(error)
    throw new CommandFailure(`connection lost: ${reason}${afterLoss(error, bond, comeBack(terminal.id))}`, exitCodes.link, { cause: error })
  }
  const { exit } = await terminal.wait()
  if (exit.type === "unknown") throw unknownOutcome(new Error(exit.reason))
  if (exit.type === "timeout") process.stderr.write(`\r\ntrunkline: time is up: ended after ${formatDuration(exit.timeoutMs)}\r\n`)
  return { type: "exited", exitCode: exitCodeOf(exit) }
}

const controlC = 0x03

/** Every key is either ours or the remote terminal's. The result stops reading. */
function readKeys(local: LocalTerminal, terminal: RemoteTerminal, leave: Leave, options: SessionOptions): () => void {
  const { stdin } = process
  const escapeKeys = new EscapeKeys()
  const queue = new InputQueue(
    (bytes) => terminal.write(bytes),
    (full) => (full ? stdin.pause() : stdin.resume()),
  )
  const read = (bytes: Buffer) => {
    for (const action of escapeKeys.read(bytes)) {
      switch (action.type) {
        case "send":
          if (options.keys === "typed") queue.push(action.bytes)
          else if (action.bytes.includes(controlC)) leave(exitCodeOfSignal("SIGINT"), "leave")
          break
        case "leave":
          // What ssh answers too, and never success: how the remote program ends, nobody here will know.
          leave(exitCodes.link, "leave")
          break
        case "detach":
          leave(exitCodes.link, "detach")
          break
        case "help":
          process.stderr.write(`\r\n${escapeKeysHelp(options.bond === "view" ? "goes on" : "is hung up").join("\r\n")}\r\n`)
          break
        case "suspend":
          suspend(local, terminal)
          break
      }
    }
  }
  // The local terminal is gone, and with it whoever looked at it.
  const gone = () => leave(exitCodeOfSignal("SIGHUP"), "lost")
  stdin.on("data", read).on("end", gone).on("error", gone)
  return () => {
    stdin.off("data", read).off("end", gone).pause()
    stdin.unref()
  }
}

/** Whoever continues us finds the screen as others left it. */
function suspend(local: LocalTerminal, terminal: RemoteTerminal | undefined): void {
  local.suspend()
  redraw(local, terminal)
}

/** Makes the remote program draw the screen that others have written on. */
function redraw(local: LocalTerminal, terminal: RemoteTerminal | undefined): void {
  const { cols, rows } = local.size
  // The same size twice would be no change, and nothing would be drawn.
  terminal?.resize(cols, rows + 1)
  terminal?.resize(cols, rows)
}
