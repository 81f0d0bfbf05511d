/** One keeper's time at the gateway: keeps one connection to it, dials again when it is lost, and takes leave of it at the end. */
import { systemClock } from "@trunkline/client/runtime"
import {
  type AgentHello,
  closeCodes,
  type EndpointName,
  isFinalCloseCode,
  type Logger,
  protocolVersion,
  reconnect,
  type TunnelError,
} from "@trunkline/protocol"
import type { KeeperClient } from "../keeper/keeper-client.ts"
import { belowGateway } from "./below-gateway.ts"
import { AgentConnection, type ConnectionEnd, finalError, type SlotEvents } from "./connection.ts"
import { pause } from "./pause.ts"
import { thisHost } from "./this-host.ts"
import type { Way } from "./way.ts"

export interface GatewayOptions {
  readonly name: EndpointName
  readonly gateway: URL
  /** The gateway secret or this agent's own key. */
  readonly secret: string
  readonly labels: Readonly<Record<string, string>>
  readonly logger: Logger
  readonly version: string
  /** Called each time the gateway has welcomed us. */
  readonly onOnline?: () => void
}

/** Dials the gateway until it is over, or the gateway will not have us: `refusal`. `everUp`: whether it has ever welcomed us. */
export async function serveGateway(
  slots: SlotEvents,
  keeper: KeeperClient,
  options: GatewayOptions,
  { everUp: wasUp, ...way }: Way & { readonly everUp: boolean },
): Promise<{ readonly everUp: boolean; readonly refusal: TunnelError | undefined }> {
  const { logger } = options
  const { over } = way
  let everUp = wasUp
  let attempt = 0
  while (!over.aborted) {
    const connection = new AgentConnection({
      url: connectUrl(options),
      secret: options.secret,
      hello: helloOf(options, keeper.instance),
      clock: systemClock,
      slots,
    })
    const { end, connectedMs } = await untilEnd(connection, options, keeper, way)
    everUp ||= connectedMs > 0
    if (over.aborted) break
    // Where there was a gateway before, what answers in its place will be gone again.
    const refused = end.refused !== undefined && !(everUp && end.refused.code === "protocol-error")
    if (refused || isFinalCloseCode(end.code)) return { everUp, refusal: finalError(end) }
    const verdict = reconnect({ attempt, code: end.code, connectedMs, random: Math.random() })
    if (verdict.action === "stop") break
    attempt = verdict.attempt
    logger.warn(connectedMs > 0 ? "gateway.lost" : "gateway.unreachable", {
      code: end.code,
      reason: end.reason,
      connectedMs: Math.round(connectedMs),
      redialMs: Math.round(verdict.delayMs),
    })
    await pause(verdict.delayMs, over)
  }
  return { everUp, refusal: undefined }
}

/** From dial to end, a clean stop included. */
async function untilEnd(
  connection: AgentConnection,
  options: GatewayOptions,
  keeper: KeeperClient,
  { stop, over, windDown }: Way,
): Promise<{ end: ConnectionEnd; connectedMs: number }> {
  let upAtMs: number | undefined
  const part = () => {
    // A restart: the gateway keeps the endpoint, and clients, for whoever comes next.
    if (!stop.aborted && (keeper.outlivesUs || keeper.lost.aborted))
      return connection.close(closeCodes.restart, "the agent's process changes")
    stopCleanly(connection, upAtMs === undefined ? undefined : windDown).catch((error: unknown) =>
      options.logger.error("agent.stop-failed", { error: String(error) }),
    )
  }
  const welcomed = ({ generation }: { readonly generation: number }) => {
    upAtMs = systemClock.now()
    options.logger.info("gateway.connected", { gateway: options.gateway.origin, name: options.name, generation })
    options.onOnline?.()
  }
  // Without a welcome, the end says why.
  connection.welcomed.then(welcomed, () => {}).catch((error: unknown) => options.logger.error("agent.failed", { error: String(error) }))
  over.addEventListener("abort", part, { once: true })
  if (over.aborted) part()
  const end = await connection.ended
  over.removeEventListener("abort", part)
  return { end, connectedMs: upAtMs === undefined ? 0 : systemClock.now() - upAtMs }
}

/** No new clients; then, when what is open has had its time, out of the listing and off the line. */
async function stopCleanly(connection: AgentConnection, windDown: (() => Promise<void>) | undefined): Promise<void> {
  if (windDown !== undefined) {
    connection.control({ type: "drain" })
    await windDown()
  }
  // Also to a gateway that has our hello and has not answered yet.
  connection.control({ type: "bye" })
  connection.close(closeCodes.normal, "bye")
}

function connectUrl({ gateway, name }: GatewayOptions): URL {
  const url = belowGateway(gateway, "ws/connect")
  url.protocol = gateway.protocol === "https:" ? "wss:" : "ws:"
  url.searchParams.set("name", name)
  return url
}

function helloOf(options: GatewayOptions, instance: string): AgentHello {
  return {
    type: "hello",
    protocol: { min: protocolVersion, max: protocolVersion },
    instance,
    version: options.version,
    labels: { ...options.labels },
    host: thisHost(),
  }
}
