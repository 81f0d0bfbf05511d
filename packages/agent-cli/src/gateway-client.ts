/** The SDK, set up for a command: the gateway's URL, the credential, and Node's transport. */
import { type Agent, type ConnectOptions, connect, type Gateway } from "@trunkline/client"
import { endpointName, endpointNameRule, TunnelError } from "@trunkline/protocol"
import { findCredential } from "./credentials.ts"
import type { Values } from "./settings/settings.ts"

/** As the SDK has it: milliseconds an unused link is kept. */
type LinkOptions = Pick<ConnectOptions, "idleMs">

export type GatewayValues = Values<"gateway" | "secretFile" | "tokenFile">

/** Rejects with TunnelError when no usable credential is found. */
export async function openGateway({ gateway, secretFile, tokenFile }: GatewayValues, options: LinkOptions = {}): Promise<Gateway> {
  const { value: token } = await findCredential({ gateway: gateway.href, secretFile, tokenFile })
  return connect({
    url: gateway,
    token,
    ...options,
    // Commands that only ask the HTTP API do without the socket library.
    dial: async (target, events) => (await import("@trunkline/client/node")).dialNode(target, events),
  })
}

/** Also rejects for what is no name, before anything else is looked at. */
export async function openAgent(
  values: GatewayValues,
  name: string,
  options?: LinkOptions,
): Promise<{ readonly gateway: Gateway; readonly agent: Agent }> {
  if (endpointName(name) === undefined) throw new TunnelError("bad-name", `"${name}" is not an endpoint name: ${endpointNameRule}`)
  const gateway = await openGateway(values, options)
  return { gateway, agent: gateway.agent(name) }
}
