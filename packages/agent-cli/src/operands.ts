/** What stands on the command line besides options. */
export interface Operands {
  /** The agent's name, the shell of `completion`, or the action of `config`; "" for commands that take none. */
  readonly name: string
  /** The process of commands that are about one, or the file of `config`; "" for the others. */
  readonly processId: string
  /** All that follows the name, of commands that take any number of arguments. */
  readonly more: readonly string[]
  /** What follows `--`. */
  readonly command: readonly string[]
}
