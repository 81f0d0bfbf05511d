/**
 * Knows the master sides of all open terminals, to keep them from `exec` children.
 *
 * The native code opens a master without close-on-exec, and Node cannot set it afterwards. A child that holds
 * one could read the terminal, and would keep its shell from being hung up when the agent dies. (A terminal's own process
 * still inherits the masters that were open before it: `fork` has no place to say otherwise.)
 */
import type { StdioOptions } from "node:child_process"
import { openSync } from "node:fs"
import type { ReadStream } from "node:tty"

const masters = new Map<number, ReadStream>()
let nullDevice: number | undefined

export function addMaster(fd: number, stream: ReadStream): void {
  masters.set(fd, stream)
  stream.once("close", () => {
    if (masters.get(fd) === stream) masters.delete(fd)
  })
}

/** `stdio` of a child, with the null device in the place of every terminal's master. */
export function withoutMasters(stdio: readonly ("pipe" | "ignore")[]): StdioOptions {
  // A destroyed stream has given its number back, perhaps to something the start itself needs.
  const open = [...masters].filter(([, stream]) => !stream.destroyed).map(([fd]) => fd)
  if (open.length === 0) return [...stdio]
  nullDevice ??= openSync("/dev/null", "r+")
  const shielded: ("pipe" | "ignore" | number)[] = [...stdio]
  // From 3 on, "ignore" leaves a descriptor as it is.
  for (let fd = stdio.length; fd <= Math.max(...open); fd++) shielded.push(open.includes(fd) ? nullDevice : "ignore")
  return shielded
}
