/** What the operating system says about processes and limits: command lines, and how many files a child may open. */
import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"
import { promisify } from "node:util"

const run = promisify(execFile)

/** The arguments of a running process in one string; empty when it has ended (a zombie too) or cannot be seen. */
export const commandLineOf = async (pid: number): Promise<string> => {
  try {
    if (process.platform === "linux") return (await readFile(`/proc/${pid}/cmdline`, "utf8")).replaceAll("\0", " ")
    return (await run("ps", ["-ww", "-o", "args=", "-p", String(pid)])).stdout
  } catch {
    return ""
  }
}

/**
 * How many files a child process may have open. Node raises its own soft limit to the hard one when it starts
 * and children inherit that, so a child is asked. `Infinity` where there is no limit.
 */
export const openFilesMax = async (): Promise<number> => {
  if (process.platform === "win32") return Number.POSITIVE_INFINITY
  return parseLimit((await run("/bin/sh", ["-c", "ulimit -n"])).stdout)
}

/** The number that `ulimit` prints, or `Infinity` for "unlimited". */
export const parseLimit = (text: string): number => {
  const limit = text.trim()
  if (limit === "unlimited") return Number.POSITIVE_INFINITY
  if (!/^\d+$/.test(limit)) throw new Error(`not a limit on open files: ${JSON.stringify(limit)}`)
  return Number(limit)
}

/** An awake object on disk holds 5: its socket, and its database with log, shared memory and directory. */
const openFilesPerAgent = 5

/** How many agents a gateway with this limit can serve; workerd fails for new and for waking ones beyond it. */
export const agentsMaxOf = (openFiles: number): number => Math.floor(openFiles / openFilesPerAgent)
