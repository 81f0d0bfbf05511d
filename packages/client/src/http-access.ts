/** How an HTTP service of an agent is reached through the gateway by those who do not use this SDK. */
import { endpointName, endpointNameRule, TunnelError } from "@trunkline/protocol"
import { callGateway, type GatewayApi } from "./gateway-api.ts"

export interface HttpAccess {
  /** For programs, with the gateway's secret or a token as bearer. */
  readonly url: string
  /** For browsers; null where the gateway has no domain for services. */
  readonly browserUrl: string | null
  /** Signs one browser in, once. */
  readonly enterUrl: string | null
  /** Epoch milliseconds after which `enterUrl` is worth nothing. */
  readonly expiresAt: number
}

/** Rejects with TunnelError. */
export async function httpAccess(api: GatewayApi, name: string, port: number): Promise<HttpAccess> {
  if (endpointName(name) === undefined) throw new TunnelError("bad-name", `"${name}" is not an endpoint name: ${endpointNameRule}`)
  const body = JSON.stringify({ agent: name, http: port })
  const answer = await callGateway(api, "v1/tickets", { method: "POST", body, headers: { "content-type": "application/json" } })
  if (typeof answer !== "object" || answer === null || !("expiresAt" in answer) || typeof answer.expiresAt !== "number") {
    throw new TunnelError("protocol-error", "the gateway's answer is no ticket; do client and gateway have the same version?")
  }
  return {
    url: new URL(`v1/agents/${name}/http/${port}/`, api.url).href,
    browserUrl: textOf("url" in answer ? answer.url : null),
    enterUrl: textOf("enterUrl" in answer ? answer.enterUrl : null),
    expiresAt: answer.expiresAt,
  }
}

const textOf = (value: unknown): string | null => (typeof value === "string" ? value : null)
