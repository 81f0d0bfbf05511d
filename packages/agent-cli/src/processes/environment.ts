/** Decides what a child finds around it: environment, working directory, and the shell when no command is named. */
import { accessSync, constants, statSync } from "node:fs"
import { homedir, userInfo } from "node:os"
import { resolve } from "node:path"
import { findExecutable } from "./resolve-command.ts"

/** The agent's own secrets, and the files they are in. A child gets them only when its caller names them; the keeper has no use for them. */
const secretVariables = ["TRUNKLINE_SECRET", "TRUNKLINE_TOKEN", "TRUNKLINE_SECRET_FILE", "TRUNKLINE_TOKEN_FILE"]

/** They describe the terminal the agent was started in, not the child's. The kernel knows the child's size. */
const foreignTerminalVariables = ["TMUX", "TMUX_PANE", "STY", "WINDOW", "WINDOWID", "TERMCAP", "COLUMNS", "LINES"]

/** What every terminal emulator of today understands, and what the agent's own TERM says nothing about. */
const defaultTerm = "xterm-256color"

type Environment = Record<string, string>

/** An environment without this program's secrets. */
export function withoutSecrets(environment: NodeJS.ProcessEnv): Environment {
  const entries = Object.entries(environment)
  return Object.fromEntries(
    entries.filter((entry): entry is [string, string] => entry[1] !== undefined && !secretVariables.includes(entry[0])),
  )
}

/** The agent's environment without its secrets, PWD set to where the child starts, then what the caller asked for. */
export function execEnvironment(agentEnv: NodeJS.ProcessEnv, requested: Readonly<Environment>, cwd: string): Environment {
  return { ...withoutSecrets(agentEnv), PWD: cwd, ...requested }
}

/** The same for a terminal, with TERM. */
export function ptyEnvironment(agentEnv: NodeJS.ProcessEnv, requested: Readonly<Environment>, cwd: string): Environment {
  const inherited = Object.entries(agentEnv).filter(([name]) => !foreignTerminalVariables.includes(name))
  return execEnvironment({ ...Object.fromEntries(inherited), TERM: defaultTerm }, requested, cwd)
}

/** Where a child starts, for `exec` and `pty` alike: the user's home, as with ssh, and relative paths start there. */
export function workingDirectory(requested: string | undefined): string {
  return resolve(homeDirectory(), requested ?? ".")
}

/** `/` for a user without a usable home: nobody asked for it, so it is no error. */
function homeDirectory(): string {
  try {
    const home = homedir()
    accessSync(home, constants.X_OK)
    return statSync(home).isDirectory() ? home : "/"
  } catch {
    return "/"
  }
}

/**
 * The user's shell as a login shell. It is asked for by `-l`, which all common shells know, because a terminal's
 * process cannot be given another argv[0] (`-bash`).
 */
export function loginShell(agentEnv: NodeJS.ProcessEnv, environment: Readonly<Environment>, cwd: string): [string, ...string[]] {
  const candidates = [agentEnv.SHELL, passwordFileShell(), "bash"]
  const shell = candidates.find((candidate) => {
    return candidate !== undefined && candidate !== "" && findExecutable(candidate, environment.PATH, cwd).type === "found"
  })
  return [shell ?? "sh", "-l"]
}

function passwordFileShell(): string | undefined {
  try {
    return userInfo().shell ?? undefined
  } catch {
    // A container may run as a user who has no entry.
    return undefined
  }
}
