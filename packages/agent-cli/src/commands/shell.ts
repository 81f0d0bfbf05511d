/** `trunkline shell NAME`: a terminal with the login shell, or with a program. */

import { type GatewayValues, openAgent } from "../gateway-client.ts"
import type { Operands } from "../operands.ts"
import { showTerminal } from "../terminal/session.ts"
import { UsageError } from "../usage-error.ts"

export async function run(values: GatewayValues, { name, command }: Operands): Promise<number> {
  if (!process.stdin.isTTY)
    throw new UsageError(`stdin is not a terminal: to run a command from a script use trunkline exec ${name} -i -- COMMAND`)
  const { gateway, agent } = await openAgent(values, name)
  try {
    return await showTerminal(agent, { input: true, ...(command.length === 0 ? {} : { command }) })
  } finally {
    gateway.close()
  }
}
