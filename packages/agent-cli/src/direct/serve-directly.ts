/** One keeper's time at the listener: clients come in to it, and hear how it ends. */
import { systemClock } from "@trunkline/client/runtime"
import { closeCodes, type EndpointName, type Logger } from "@trunkline/protocol"
import { aborted } from "../agent/pause.ts"
import type { Switchboard } from "../agent/switchboard.ts"
import type { Way } from "../agent/way.ts"
import type { KeeperClient } from "../keeper/keeper-client.ts"
import { DirectClients } from "./direct-clients.ts"
import type { DirectListener } from "./direct-listener.ts"

interface ServedAgent {
  readonly name: EndpointName
  readonly version: string
  readonly logger: Logger
}

/** `parted` resolves when clients were told of the end. */
export function serveDirectly(
  listener: DirectListener,
  board: Switchboard,
  keeper: KeeperClient,
  { name, version, logger }: ServedAgent,
  { stop, over, windDown }: Way,
): { readonly clients: DirectClients; readonly parted: Promise<void> } {
  const clients = new DirectClients({ board, clock: systemClock, instance: keeper.instance, version })
  listener.open(clients, keeper.instance)
  logger.info("direct.listening", { url: listener.url, name })
  const part = async () => {
    await aborted(over)
    // A restart: clients dial again, and find whoever comes next.
    if (!stop.aborted && (keeper.outlivesUs || keeper.lost.aborted)) {
      listener.away()
      return clients.close(closeCodes.restart, "the agent's process changes")
    }
    listener.drain()
    clients.drain()
    await windDown()
    clients.stop()
  }
  return { clients, parted: part() }
}
