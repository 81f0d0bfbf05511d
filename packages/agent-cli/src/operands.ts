/** What stands on the command line besides options. */
export interface Operands {
  /** The agent's name, or the shell of `completion`; "" for commands that take none. */
  readonly name: string
  /** The process of commands that are about one; "" for the others. */
  readonly processId: string
  /** What follows `--`. */
  readonly command: readonly string[]
}
