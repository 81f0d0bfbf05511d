/** `trunkline kill NAME ID`: a signal for a process, whoever started it. */

import { exitCodes } from "../exit-codes.ts"
import { type GatewayValues, openAgent } from "../gateway-client.ts"
import type { Operands } from "../operands.ts"
import { showProgress } from "../output.ts"
import type { Values } from "../settings/settings.ts"
import { endText } from "./process-text.ts"

export async function run(values: GatewayValues & Values<"signal">, { name, processId }: Operands): Promise<number> {
  const { gateway, agent } = await openAgent(values, name)
  const progress = showProgress(`asking ${name}…`)
  try {
    const described = await agent.processes.kill(processId, values.signal)
    progress()
    if (described.state === "ended") process.stderr.write(`${endText(described, Date.now())}; no signal was sent\n`)
    return exitCodes.ok
  } finally {
    progress()
    gateway.close()
  }
}
