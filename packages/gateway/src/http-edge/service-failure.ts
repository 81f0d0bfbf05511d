/** Answers of the gateway's own where a service's was expected: whose fault it is, in JSON for programs and as a page for people. */
import { type ErrorBody, type ErrorCode, TunnelError } from "@trunkline/protocol"
import { impliedHeaders, statusOf } from "../answer.ts"
import { preferred } from "./answer-form.ts"
import { page } from "./page.ts"
import type { Service } from "./service-address.ts"

/** Who has to do something about it. */
type Fault = "client" | "gateway" | "agent" | "service" | "owner"

const faults: Readonly<Record<ErrorCode, Fault>> = {
  "bad-request": "client",
  "bad-name": "client",
  unauthorised: "client",
  denied: "owner",
  "not-found": "client",
  "agent-unknown": "client",
  "method-not-allowed": "client",
  "upgrade-required": "client",
  "too-large": "client",
  "agent-away": "agent",
  "agent-offline": "agent",
  "agent-draining": "agent",
  "agent-stopped": "agent",
  "agent-replaced": "agent",
  "agent-restarted": "agent",
  "link-lost": "agent",
  "gateway-unreachable": "gateway",
  overloaded: "gateway",
  "too-many-clients": "gateway",
  "too-many-streams": "gateway",
  "protocol-error": "agent",
  "unsupported-version": "agent",
  "unsupported-kind": "agent",
  "command-not-found": "agent",
  "not-executable": "agent",
  "cwd-not-found": "agent",
  "spawn-failed": "agent",
  "command-failed": "agent",
  "service-refused": "service",
  "service-unreachable": "service",
  "service-timeout": "service",
  "service-failed": "service",
  "address-in-use": "service",
  timeout: "agent",
  aborted: "client",
  internal: "gateway",
}

/** The gateway's own refusal of a request that would do harm or cannot be passed on. */
export class RequestRefused extends TunnelError {
  /** Where it is not the code's. */
  readonly status: number | undefined

  constructor(code: ErrorCode, message: string, status?: number) {
    super(code, message)
    this.status = status
  }
}

/** Names the answers that are the gateway's and not a service's. */
export const errorHeader = "trunkline-error"

export interface FailureContext {
  readonly request: Request
  readonly requestId: string
  /** Unknown where the request was refused before. */
  readonly service: Service | undefined
}

interface ServiceErrorBody {
  readonly error: ErrorBody["error"] & { readonly fault: Fault }
}

/** The answer that this error is. */
export function serviceFailure(error: TunnelError, { request, requestId, service }: FailureContext): Response {
  const { code, message, retryable, delivered } = error
  const fault = error instanceof RequestRefused ? "client" : faults[code]
  const status = (error instanceof RequestRefused ? error.status : undefined) ?? statusOf(error)
  const headers = { ...impliedHeaders(error), [errorHeader]: code, "x-request-id": requestId, "cache-control": "no-store" }
  if (preferred(request.headers.get("accept"), ["application/json", "text/html"]) === "text/html") {
    return page(
      {
        status,
        title: titleOf(error, fault, service),
        text: sentence(message),
        details: advice(error, service),
        footer: `${code} · request ${requestId}`,
      },
      headers,
    )
  }
  const body: ServiceErrorBody = { error: { code, message, retryable, delivered, requestId, fault } }
  return Response.json(body, { status, headers })
}

const named = (service: Service | undefined): string => (service === undefined ? "the agent" : service.agent)

function titleOf({ code }: TunnelError, fault: Fault, service: Service | undefined): string {
  const port = service === undefined ? "The service" : `Port ${service.port} of ${service.agent}`
  switch (code) {
    case "unauthorised":
      return "You are not signed in to this service"
    case "agent-unknown":
      return `There is no agent called ${named(service)}`
    case "agent-offline":
    case "agent-stopped":
    case "agent-away":
      return `${named(service)} is offline`
    case "agent-draining":
      return `${named(service)} is about to stop`
    case "service-refused":
      return service === undefined ? "Nothing listens there" : `Nothing listens on port ${service.port} of ${service.agent}`
    case "service-unreachable":
      return `${port} cannot be reached`
    case "service-timeout":
      return `${port} does not answer`
    case "service-failed":
      return `${port} has failed`
    default:
      return faultTitles[fault]
  }
}

const faultTitles: Readonly<Record<Fault, string>> = {
  client: "This request cannot be passed on",
  gateway: "The gateway has failed",
  agent: "The agent has failed",
  service: "The service has failed",
  owner: "The owner of the machine does not allow this",
}

/** What a person at a browser can do. */
function advice({ code }: TunnelError, service: Service | undefined): readonly string[] {
  if (service === undefined) return []
  const { agent, port } = service
  switch (code) {
    case "unauthorised":
      return ["Run this where the gateway's secret is, and open the link it prints:", `$ trunkline http ${agent} ${port}`]
    case "service-refused":
      return [`Start the service on ${agent}, then reload this page.`]
    case "agent-offline":
    case "agent-stopped":
      return ["Start the agent on its machine, then reload this page:", "$ trunkline serve"]
    case "agent-away":
      return ["It may be back in a moment: reload this page."]
    default:
      return []
  }
}

/** Messages begin in lower case, as parts of a sentence. */
const sentence = (message: string): string => `${message.charAt(0).toUpperCase()}${message.slice(1)}${/[.?!]$/.test(message) ? "" : "."}`
