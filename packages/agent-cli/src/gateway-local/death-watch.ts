/** Ends a process when this one ends, however this one ends. Node has no way to ask the kernel for that. */
import { spawn } from "node:child_process"

/**
 * A small shell waits for the end of a pipe whose other end only this process holds; the kernel closes it even
 * after SIGKILL, and the shell then kills `pid`. Cancel as soon as `pid` has ended, so that its number cannot be reused first.
 * On Windows children of Node end with it anyway.
 */
export const killWithUs = (pid: number): { cancel(): void } => {
  if (process.platform === "win32") return { cancel() {} }
  const watch = spawn("/bin/sh", ["-c", 'read -r _; kill -9 "$1"', "sh", String(pid)], {
    // Its own session: Ctrl-C in the terminal must not end the watch before the watched.
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  })
  // Without a shell an orphan is possible; the next gateway on its data directory stops it.
  watch.on("error", () => {})
  return {
    cancel() {
      watch.kill("SIGKILL")
    },
  }
}
