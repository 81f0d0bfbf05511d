/** Every command, in the order of the help. */
import type { CommandSpec } from "./command-spec.ts"
import { endpointCommands } from "./endpoints.ts"
import { ownCommands } from "./own.ts"
import { processCommands } from "./processes.ts"
import { serviceCommands } from "./services.ts"
import { servingCommands } from "./serving.ts"

export const commands: readonly CommandSpec[] = [
  ...servingCommands,
  ...endpointCommands,
  ...processCommands,
  ...serviceCommands,
  ...ownCommands,
]
