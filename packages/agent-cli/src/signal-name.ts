/** Signals as people write them: `KILL`, `SIGKILL`, `kill`, `9`. */
import { type SignalName, signalNames } from "@trunkline/protocol"
import { UsageError } from "./usage-error.ts"

/** Those that have the same number on every system; the others' differ, and the agent's need not be ours. */
const numbers: ReadonlyMap<string, SignalName> = new Map([
  ["1", "SIGHUP"],
  ["2", "SIGINT"],
  ["3", "SIGQUIT"],
  ["9", "SIGKILL"],
  ["15", "SIGTERM"],
])

export function readSignal(text: string): SignalName {
  const name = text.toUpperCase()
  const found = numbers.get(text) ?? signalNames.find((signal) => signal === name || signal === `SIG${name}`)
  if (found !== undefined) return found
  const known = signalNames.map((signal) => signal.slice("SIG".length)).join(", ")
  throw new UsageError(`"${text}" is not a signal that can be sent: give one of ${known}, or a number of ${[...numbers.keys()].join(", ")}`)
}
