/** The part of the gateway's API that an agent answers by itself when there is no gateway: the listing of one, and tickets for browsers. */
import type { IncomingMessage, ServerResponse } from "node:http"
import { type Endpoint, type EndpointName, endpointName, endpointNameRule, type Principal, TunnelError } from "@trunkline/protocol"
import { answerJson } from "./answer.ts"
import type { Tickets } from "./tickets.ts"

export interface ApiRoute {
  readonly method: "GET" | "POST"
  /** Throws TunnelError for what is refused. */
  answer(request: IncomingMessage, response: ServerResponse, parameters: URLSearchParams): void | Promise<void>
}

/** The agent now; `since` is in epoch milliseconds. */
export type DirectPresence =
  | { readonly status: "online"; readonly since: number; readonly instance: string; readonly clients: number }
  | { readonly status: "draining" | "offline" }

export interface DirectApiOptions {
  readonly name: EndpointName
  readonly version: string
  readonly labels: Endpoint["labels"]
  readonly host: NonNullable<Endpoint["host"]>
  readonly tickets: Tickets
  readonly epochMs: () => number
  readonly presence: () => DirectPresence
  /** Throws `unauthorised`. */
  readonly callerOf: (request: IncomingMessage) => Principal
}

const endpointPattern = /^\/v1\/endpoints\/([^/]*)$/

export class DirectApi {
  readonly #options: DirectApiOptions

  constructor(options: DirectApiOptions) {
    this.#options = options
  }

  routeOf(pathname: string): ApiRoute | undefined {
    const { name, tickets, callerOf } = this.#options
    if (pathname === "/v1/endpoints") {
      return {
        method: "GET",
        answer: (request, response, parameters) => {
          callerOf(request)
          answerJson(response, 200, { endpoints: listOf(this.#endpoint(), parameters), cursor: null })
        },
      }
    }
    if (pathname === "/v1/tickets") {
      return {
        method: "POST",
        answer: async (request, response) => {
          const principal = callerOf(request)
          answerJson(response, 201, await mintTicket(request, name, principal, tickets))
        },
      }
    }
    const asked = endpointPattern.exec(pathname)?.[1]
    if (asked === undefined) return undefined
    return {
      method: "GET",
      answer: (request, response) => {
        const given = readName(asked)
        callerOf(request)
        requireOurs(given, name)
        answerJson(response, 200, this.#endpoint())
      },
    }
  }

  /** As a gateway lists it. */
  #endpoint() {
    const { name, version, labels, host, presence, epochMs } = this.#options
    const now = epochMs()
    return { name, mode: "direct", since: now, lastSeen: now, version, labels, rttMs: null, host, ...presence() } as const
  }
}

/** Bytes of a request's body. */
const bodyBytesMax = 16_384

/** Whether the listing's filters let the endpoint through. Throws `bad-request`. */
function listOf(endpoint: Endpoint, parameters: URLSearchParams): readonly Endpoint[] {
  const labels = parameters.getAll("label").every((filter) => {
    const split = filter.indexOf("=")
    if (split < 1) throw new TunnelError("bad-request", "a label filter is label=KEY=VALUE")
    return Object.hasOwn(endpoint.labels, filter.slice(0, split)) && endpoint.labels[filter.slice(0, split)] === filter.slice(split + 1)
  })
  const status = parameters.get("status")
  return labels && (status === null || status === endpoint.status) ? [endpoint] : []
}

/** Throws `bad-name`. */
export function readName(text: string): EndpointName {
  const name = endpointName(text)
  if (name === undefined) throw new TunnelError("bad-name", endpointNameRule)
  return name
}

/** Throws `agent-unknown`. */
export function requireOurs(given: EndpointName, ours: EndpointName): void {
  if (given !== ours) throw new TunnelError("agent-unknown", `no agent "${given}" is here: this is "${ours}", asked without a gateway`)
}

/** A ticket for `{ "agent": NAME }`. */
async function mintTicket(request: IncomingMessage, name: EndpointName, principal: Principal, tickets: Tickets) {
  let agent: unknown
  try {
    agent = (JSON.parse(await textOf(request)) as { readonly agent?: unknown } | null)?.agent
  } catch (error) {
    throw error instanceof TunnelError ? error : new TunnelError("bad-request", "the body is not valid JSON")
  }
  requireOurs(readName(typeof agent === "string" ? agent : ""), name)
  return tickets.mint(principal)
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength
    if (bytes > bodyBytesMax) throw new TunnelError("too-large", `the body is longer than ${bodyBytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
