/** The ways in that the flags of `serve` ask for: a connection to the gateway, a URL it is told of, both, or neither. */
import type { EndpointName, Logger } from "@trunkline/protocol"
import { Registration } from "../agent/registration.ts"
import { thisHost } from "../agent/this-host.ts"
import { findCredential, givenCredential, keepGatewaySecret } from "../credentials.ts"
import { localUrl } from "../gateway-local/listen-address.ts"
import type { Values } from "../settings/settings.ts"
import type { ListenPlace } from "../settings/ways.ts"
import { UsageError } from "../usage-error.ts"
import { AssertionAccess, secretAccess } from "./access.ts"
import { DirectListener } from "./direct-listener.ts"
import { openDirectSecret } from "./direct-secret.ts"
import { Tickets } from "./tickets.ts"

export type WayValues = Values<"gateway" | "secretFile" | "tokenFile" | "labels" | "tunnelUrl" | "withSocket" | "noTunnel" | "listen">

export interface Ways {
  /** What clients dial. */
  readonly gateway: URL
  readonly secret: string
  readonly socket: boolean
  readonly listener?: DirectListener
  readonly registration?: Registration
}

interface ServedAgent {
  readonly name: EndpointName
  readonly version: string
  readonly logger: Logger
  readonly onOnline: () => void
}

const defaultPlace: ListenPlace = { host: "127.0.0.1", port: 7860 }

/** Listens at once, so that an address that is taken is the first thing said. Rejects with `UsageError` for flags that contradict each other, else with TunnelError. */
export async function openWays(values: WayValues, agent: ServedAgent): Promise<Ways> {
  refuseContradictions(values)
  if (values.noTunnel) return openWithoutGateway(values, agent)
  const { gateway, secretFile, tokenFile, tunnelUrl, withSocket, labels, listen = defaultPlace } = values
  const { value: secret } = await findCredential({ gateway: gateway.href, secretFile, tokenFile })
  if (tunnelUrl === undefined) return { gateway, secret, socket: true }
  const { name, version, logger, onOnline } = agent
  const access = new AssertionAccess({ name, secret, epochMs: () => Date.now() })
  return {
    gateway,
    secret,
    socket: withSocket,
    listener: await DirectListener.listen({ ...listen, name, version, logger, access }),
    registration: new Registration({ name, gateway, secret, url: tunnelUrl, labels, version, logger, onRegistered: onOnline }),
  }
}

async function openWithoutGateway(values: WayValues, { name, version, logger }: ServedAgent): Promise<Ways> {
  const { labels, listen = defaultPlace } = values
  const epochMs = () => Date.now()
  const { value: secret, source, own } = await directCredential(values, name, logger)
  const listener = await DirectListener.listen({
    ...listen,
    name,
    version,
    logger,
    access: secretAccess(secret),
    api: { tickets: new Tickets(epochMs), labels, host: thisHost(), epochMs },
  })
  logger.info("direct.access", { credential: source })
  if (!listener.isLocal)
    logger.warn("direct.exposed", {
      reason: "others on the network can dial it, over plain HTTP",
      consequence: "who sees the traffic gets the secret: put TLS in front, or use a network that is encrypted",
    })
  if (own) await keepForOtherCommands(listener.url, secret, logger)
  // What was given, not what was free: a keeper is found again by it.
  return { gateway: new URL(localUrl(listen.host, listen.port)), secret, socket: false, listener }
}

/** What was given; else this agent's own, made on the first start. */
async function directCredential({ secretFile, tokenFile }: WayValues, name: EndpointName, logger: Logger) {
  const given = await givenCredential({ secretFile, tokenFile })
  if (given !== undefined) return { value: given.value, source: given.source, own: false }
  const { value, file, created } = await openDirectSecret(name)
  if (created) logger.info("direct.credential-made", { file })
  return { value, source: file, own: true }
}

/** So that the other commands of this user find it. An agent without a home directory to write to works all the same. */
async function keepForOtherCommands(url: string, secret: string, logger: Logger): Promise<void> {
  try {
    await keepGatewaySecret(url, secret)
  } catch (error) {
    logger.warn("direct.credential-unkept", {
      reason: error instanceof Error ? error.message : String(error),
      consequence: "give it to commands with --secret-file",
    })
  }
}

function refuseContradictions({ noTunnel, tunnelUrl, withSocket, listen }: WayValues): void {
  if (noTunnel && tunnelUrl !== undefined)
    throw new UsageError("--no-tunnel and --tunnel-url contradict each other: without a gateway nobody would come to the URL")
  if (withSocket && tunnelUrl === undefined) throw new UsageError("--with-socket is for --tunnel-url: without it there is a socket anyway")
  if (listen !== undefined && !noTunnel && tunnelUrl === undefined)
    throw new UsageError("--listen is for --tunnel-url and --no-tunnel: otherwise the agent dials out and listens nowhere")
}
