/** Waiting in tests whose ends are in this process. */
import { limits } from "@trunkline/protocol"

/** The real one, also while a test moves the clock. */
const later = globalThis.setTimeout

/** Lets what is under way arrive, and what waits for company at either end. */
export async function settle(rounds = 200): Promise<void> {
  const turns = async () => {
    for (let round = 0; round < rounds; round++) await new Promise<void>((resolve) => setImmediate(resolve))
  }
  await turns()
  // Timers of one process fire in the order in which they are due.
  await new Promise<void>((resolve) => later(resolve, limits.ackDelayMs + 1))
  await turns()
}
