/** A command line that cannot be carried out as it was typed: nothing was sent, and the exit code is 2. */
export class UsageError extends Error {
  override readonly name = "UsageError"
}
