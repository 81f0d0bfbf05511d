/** Says in words what the operating system meant when it would not start a program that was found a moment before. */
import { existsSync } from "node:fs"
import { TunnelError } from "@trunkline/protocol"

/** Bytes Linux takes in one argument or one NAME=value, the closing NUL apart (32 pages of 4 KiB). */
export const argumentBytesMax = 131_071

const tooLong =
  `one argument or one variable may have ${argumentBytesMax.toLocaleString("en")} bytes, all together a quarter of the stack limit ` +
  "(2 MiB by default); pass the rest through stdin or a file"

/** What it means, and what to do. `retry`: the same request may well succeed later. */
const meanings: Readonly<Record<string, { readonly text: string; readonly retry: boolean }>> = {
  E2BIG: { text: `the argument list is too long: ${tooLong}`, retry: false },
  EAGAIN: { text: "the agent's user has as many processes as it may (ulimit -u, or the pids limit of its control group)", retry: true },
  ENOMEM: { text: "the agent's machine has no memory left for another process", retry: true },
  EMFILE: { text: "the agent has as many files open as it may (ulimit -n); raise the limit", retry: true },
  ENFILE: { text: "the agent's machine has as many files open as it may (fs.file-max)", retry: true },
  ETXTBSY: { text: "the program is being written to at this moment", retry: true },
}

/** Throws `spawn-failed` where Linux would refuse an argument, or for a terminal report it on the screen only. */
export function checkArgumentLengths(argv: readonly string[], environment: Readonly<Record<string, string>>): void {
  if (process.platform !== "linux") return
  const entries = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const longest = Math.max(...[...argv, ...entries].map((entry) => Buffer.byteLength(entry)))
  if (longest > argumentBytesMax) {
    throw new TunnelError("spawn-failed", `an argument or variable of ${longest.toLocaleString("en")} bytes is too long: ${tooLong}`)
  }
}

/** The typed error for what starting `file` in `cwd` threw or emitted. */
export function spawnError(error: NodeJS.ErrnoException, file: string, cwd: string): TunnelError {
  const code = error.code ?? "unknown error"
  switch (code) {
    case "ENOENT":
      // The one errno for three missing things.
      if (!existsSync(cwd)) return new TunnelError("cwd-not-found", `working directory ${cwd} does not exist`, { cause: error })
      if (!existsSync(file)) return new TunnelError("command-not-found", `${file}: no such file`, { cause: error })
      return new TunnelError("not-executable", `${file}: the interpreter it needs (its first line, #!) is not on the agent's machine`, {
        cause: error,
      })
    case "EACCES":
    case "EPERM":
      return new TunnelError("not-executable", `${file}: the agent's user may not execute it (${code})`, { cause: error })
    case "ENOEXEC":
      return new TunnelError("not-executable", `${file}: not a program for the agent's machine, and no script`, { cause: error })
    default: {
      const meaning = meanings[code]
      const text = meaning === undefined ? error.message : `${meaning.text} (${code})`
      return new TunnelError("spawn-failed", `${file} could not be started: ${text}`, { cause: error, retryable: meaning?.retry ?? false })
    }
  }
}
