/** The endpoints listing. */
import { type Endpoint, type EndpointStatus, endpointName, endpointNameRule, TunnelError } from "@trunkline/protocol"
import { callGateway, type GatewayApi } from "./gateway-api.ts"

/** What one endpoint says of its machine, beyond the listing. */
export interface EndpointDetail extends Endpoint {
  readonly instance?: string | null
  readonly clients?: number
}

export interface EndpointFilter {
  readonly labels?: Readonly<Record<string, string>>
  readonly status?: EndpointStatus
  /** Rows a page, at most 1,000. */
  readonly limit?: number
  readonly cursor?: string
  readonly signal?: AbortSignal
}

export interface EndpointPage {
  readonly endpoints: readonly Endpoint[]
  /** Where the next page starts; null on the last. */
  readonly cursor: string | null
}

export class Endpoints {
  readonly #api: GatewayApi

  constructor(api: GatewayApi) {
    this.#api = api
  }

  /** One page, by name. */
  async list(filter: EndpointFilter = {}): Promise<EndpointPage> {
    const query = new URLSearchParams()
    for (const [key, value] of Object.entries(filter.labels ?? {})) query.append("label", `${key}=${value}`)
    if (filter.status !== undefined) query.set("status", filter.status)
    if (filter.limit !== undefined) query.set("limit", String(filter.limit))
    if (filter.cursor !== undefined) query.set("cursor", filter.cursor)
    const text = query.toString()
    // The gateway is trusted with its own listing, but a proxy's page is not one.
    const page = await callGateway(this.#api, `v1/endpoints${text === "" ? "" : `?${text}`}`, initOf(filter.signal))
    if (typeof page !== "object" || page === null || !("endpoints" in page) || !Array.isArray(page.endpoints)) {
      throw new TunnelError("protocol-error", "the gateway's listing is not one; do client and gateway have the same version?")
    }
    const cursor = "cursor" in page && typeof page.cursor === "string" ? page.cursor : null
    return { endpoints: page.endpoints as Endpoint[], cursor }
  }

  /** Every endpoint, page by page. */
  async *all(filter: EndpointFilter = {}): AsyncGenerator<Endpoint, void, undefined> {
    let cursor = filter.cursor
    do {
      const page = await this.list(cursor === undefined ? filter : { ...filter, cursor })
      yield* page.endpoints
      cursor = page.cursor ?? undefined
    } while (cursor !== undefined)
  }

  /** One endpoint, asked of its own object. Rejects with `agent-unknown`. */
  async get(name: string, options: { readonly signal?: AbortSignal } = {}): Promise<EndpointDetail> {
    if (endpointName(name) === undefined) throw new TunnelError("bad-name", `"${name}" is not an endpoint name: ${endpointNameRule}`)
    const detail = await callGateway(this.#api, `v1/endpoints/${name}`, initOf(options.signal))
    if (typeof detail !== "object" || detail === null || !("name" in detail)) {
      throw new TunnelError("protocol-error", "the gateway's answer is no endpoint; do client and gateway have the same version?")
    }
    return detail as EndpointDetail
  }
}

const initOf = (signal: AbortSignal | undefined): RequestInit => (signal === undefined ? {} : { signal })
