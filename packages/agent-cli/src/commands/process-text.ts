/** What is said of a process that runs or has ended. */
import type { Exit, ProcessDescription } from "@trunkline/client"
import { formatDuration } from "../duration.ts"
import { formatAge, printable } from "../output.ts"

/** One word or two: `running`, `exit 0`, `SIGKILL`. */
export function stateText({ state, exit }: Pick<ProcessDescription, "state" | "exit">): string {
  if (state === "running") return state
  switch (exit?.type) {
    case "code":
      return `exit ${exit.code}`
    case "signal":
      return printable(exit.signal)
    case "timeout":
      return "timeout"
    case "unknown":
    case undefined:
      return "unknown"
  }
}

/** `process 5f1c0a9be2d4 ended 3m ago with exit code 0` */
export function endText({ id, endedAt, exit }: Pick<ProcessDescription, "id" | "endedAt" | "exit">, nowMs: number): string {
  const when = endedAt === undefined ? "" : ` ${formatAge(endedAt, nowMs).replace(/^now$/, "just now")}`
  return `process ${id} ended${when}${exit === undefined ? "" : ` ${how(exit)}`}`
}

function how(exit: Exit): string {
  switch (exit.type) {
    case "code":
      return `with exit code ${exit.code}`
    case "signal":
      return `by ${printable(exit.signal)}`
    case "timeout":
      return `because its ${formatDuration(exit.timeoutMs)} were over`
    case "unknown":
      return `in a way that nobody knows: ${printable(exit.reason)}`
  }
}

/** Characters of a command line that a row of a table has room for. */
const shownCommandMax = 80

/** As somebody would type it. Empty for the login shell, which has no command line. */
export function commandText(argv: readonly string[]): string {
  if (argv.length === 0) return "(login shell)"
  const line = printable(argv.map(quoted).join(" "))
  return line.length <= shownCommandMax ? line : `${line.slice(0, shownCommandMax - 1)}…`
}

const quoted = (argument: string): string => (/^[\w@%+=:,./…-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`)
