/**
 * Finds the program and the working directory before anything is started, so that the common mistakes are cheap and
 * typed. Reads the file system synchronously: a start does so anyway, and nothing can change in between the steps.
 */
import { accessSync, constants, statSync } from "node:fs"
import { resolve } from "node:path"
import { TunnelError } from "@trunkline/protocol"

/** What POSIX systems search when nobody has set PATH. */
const defaultPath = "/usr/bin:/bin"

export type Search =
  | { readonly type: "found"; readonly file: string }
  | { readonly type: "missing" }
  | { readonly type: "refused"; readonly file: string; readonly why: string; readonly hidden: boolean }

/**
 * The absolute path of `command`, searched in `path` as a shell does, from `cwd` when it has a slash.
 * Throws `command-not-found` or `not-executable`.
 */
export function resolveCommand(command: string, path: string | undefined, cwd: string): string {
  const search = findExecutable(command, path, cwd)
  switch (search.type) {
    case "found":
      return search.file
    case "missing":
      throw command.includes("/")
        ? new TunnelError("command-not-found", `${command}: no such file (looked for ${resolve(cwd, command)})`)
        : new TunnelError("command-not-found", `${command}: not found in PATH (${path ?? defaultPath}); name its full path or set PATH`)
    case "refused":
      throw new TunnelError("not-executable", `${search.file}: ${search.why}`)
  }
}

/** The first executable file wins; one that cannot be executed is remembered for the message only. */
export function findExecutable(command: string, path: string | undefined, cwd: string): Search {
  if (command.includes("/")) return inspect(resolve(cwd, command))
  let refused: Search | undefined
  // An empty entry of PATH means the working directory.
  for (const directory of (path ?? defaultPath).split(":")) {
    const search = inspect(resolve(cwd, directory, command))
    if (search.type === "found") return search
    // A closed directory (`hidden`) holds no command of this user.
    if (search.type === "refused" && !search.hidden) refused ??= search
  }
  return refused ?? { type: "missing" }
}

/** Throws `cwd-not-found` unless `cwd` is a directory that can be entered. */
export function checkWorkingDirectory(cwd: string): void {
  const why = (() => {
    try {
      if (!statSync(cwd).isDirectory()) return "is not a directory"
      accessSync(cwd, constants.X_OK)
      return undefined
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "EACCES" ? "may not be entered by the agent's user" : "does not exist"
    }
  })()
  if (why !== undefined) throw new TunnelError("cwd-not-found", `working directory ${cwd} ${why}; name one that is on the agent's machine`)
}

function inspect(file: string): Search {
  try {
    if (statSync(file).isDirectory()) return { type: "refused", file, why: "is a directory, not a program", hidden: false }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== "EACCES") return { type: "missing" }
    return { type: "refused", file, why: "the agent's user may not look into its directory", hidden: true }
  }
  try {
    accessSync(file, constants.X_OK)
    return { type: "found", file }
  } catch {
    return { type: "refused", file, why: "the agent's user may not execute it; chmod +x makes a file a program", hidden: false }
  }
}
