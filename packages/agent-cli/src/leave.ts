/** How the program ends: with its exit code set, once what is open has closed by itself, or soon. */

/**
 * Milliseconds a closing socket may hold the program up. A close that reaches the gateway tells the agent at once that
 * this client has left for good; without it the agent would keep our link for a resume.
 */
const closingMs = 1_000

export function leave(exitCode: number): void {
  process.exitCode = exitCode
  setTimeout(() => process.exit(), closingMs).unref()
}
