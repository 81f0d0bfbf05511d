/** The clock of Node. */
import type { Clock } from "@trunkline/protocol"

export const nodeClock: Clock = {
  now: () => performance.now(),
  schedule(delayMs, task) {
    const timer = setTimeout(task, delayMs)
    return () => clearTimeout(timer)
  },
  defer: (task) => queueMicrotask(task),
}
