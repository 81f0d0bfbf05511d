/**
 * The native half of @lydell/node-pty, and nothing else of it.
 *
 * Its JavaScript half closes a terminal 200 ms after the process's end, read or not, and lets libuv take a hang-up for
 * the end of file: both lose output. Its native half makes a process on a terminal and hands over the file
 * descriptor, so that we can read it to its true end. These are internals of the library: its version is pinned.
 */
import { createRequire } from "node:module"
import { TunnelError } from "@trunkline/protocol"

export interface NativePty {
  /**
   * Starts `file` with `args` on a new terminal; `args` is without argv[0], which is `file`. A child that cannot execute
   * `file` writes so on the terminal and exits with 1.
   * @param userId -1 for the agent's own, like `groupId`
   * @param exited once the child has been reaped; `signal` is 0 if none ended it
   */
  fork(
    file: string,
    args: readonly string[],
    environment: readonly string[],
    cwd: string,
    cols: number,
    rows: number,
    userId: number,
    groupId: number,
    utf8: boolean,
    helperPath: string,
    exited: (code: number, signal: number) => void,
  ): { readonly fd: number; readonly pid: number /** Path of the slave. */; readonly pty: string }
  resize(fd: number, cols: number, rows: number): void
}

export interface LoadedPty {
  readonly native: NativePty
  /** A program of the library's that sets up the child on macOS. */
  readonly helperPath: string
}

let loaded: LoadedPty | undefined

/** Loads it at the first use, so that an agent that only runs `exec` does not pay. Throws `spawn-failed` where there is none. */
export function loadNativePty(): LoadedPty {
  loaded ??= load()
  return loaded
}

function load(): LoadedPty {
  const platform = `${process.platform}-${process.arch}`
  try {
    const require = createRequire(import.meta.url)
    const { requireBinary } = require("@lydell/node-pty/requireBinary.js") as { requireBinary(file: string): NativePty }
    const fromLibrary = createRequire(require.resolve("@lydell/node-pty"))
    return {
      native: requireBinary("pty.node"),
      helperPath: process.platform === "darwin" ? fromLibrary.resolve(`@lydell/node-pty-${platform}/spawn-helper`) : "",
    }
  } catch (cause) {
    const message =
      `this agent has no terminals: @lydell/node-pty does not load on ${platform}; ` +
      "install the agent again with its optional packages, or use exec"
    throw new TunnelError("spawn-failed", message, { cause })
  }
}
