/** What the table says of a command: what it is called, takes and says in its help. What it does is loaded when it is run. */
import type { Operands } from "../operands.ts"
import type { Field, Values } from "../settings/settings.ts"

export interface ArgumentSpec {
  /** In commander's notation. */
  readonly name: string
  readonly help: string
  readonly choices?: readonly string[]
}

export interface CommandSpec {
  readonly name: string
  readonly alias?: string
  /** A name, and a process id, a file or any number of others. */
  readonly arguments: readonly ArgumentSpec[]
  /** What may follow `--`, in words for usage; nothing may when absent. */
  readonly command?: { readonly usage: string; readonly required: boolean }
  readonly summary: string
  readonly description: string
  readonly settings: readonly Field[]
  readonly examples: readonly (readonly [command: string, comment: string])[]
  load(): Promise<CommandModule<Field>>
}

interface CommandModule<F extends Field> {
  /** Resolves to the exit code. */
  run(values: Values<F>, operands: Operands): Promise<number>
}

/** Ties the settings a command declares to those its code reads. */
export const command = <F extends Field>(
  spec: Omit<CommandSpec, "settings" | "load"> & { readonly settings: readonly F[]; load(): Promise<CommandModule<F>> },
): CommandSpec => spec

/** Of every command that asks a gateway. */
export const credentials = ["gateway", "secretFile", "tokenFile"] as const

export const agentName: ArgumentSpec = { name: "<name>", help: "the agent's name, as `trunkline ls` shows it" }
