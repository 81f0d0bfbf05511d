/**
 * The endpoints listing: registry rows and heartbeat records, merged in order of name. Each page costs one call to
 * each source, whatever the number of endpoints. Where a name is in both, its socket is the truth while it is there.
 */
import {
  checkBody,
  type Endpoint,
  type EndpointStatus,
  endpointName,
  endpointStatuses,
  InvalidBody,
  type Labels,
  labelsSchema,
  TunnelError,
} from "@trunkline/protocol"
import { base64UrlDecode, base64UrlEncode } from "./base64url.ts"
import type { HeartbeatPage } from "./heartbeats.ts"
import type { ListQuery, RegistryPage } from "./registry/registry.ts"

const limitDefault = 100
const limitMax = 1_000

/** Where a page begins: after this name, with heartbeats from this KV cursor on. */
interface Position {
  readonly after: string
  readonly heartbeats: string | null
}

export interface ListingQuery {
  readonly position: Position
  readonly limit: number
  readonly labels: Labels
  readonly status: EndpointStatus | undefined
}

export interface ListingSources {
  /** One page per shard. */
  registry(query: ListQuery): Promise<readonly RegistryPage[]>
  heartbeats(cursor: string | null): Promise<HeartbeatPage>
}

export interface Listing {
  readonly endpoints: readonly Endpoint[]
  /** For the next page; null at the end. A page may hold fewer than `limit` and still have a next one. */
  readonly cursor: string | null
}

export async function listEndpoints(sources: ListingSources, query: ListingQuery): Promise<Listing> {
  const { position, limit, labels, status } = query
  const heartbeats = await sources.heartbeats(position.heartbeats)
  const beating = heartbeats.endpoints.filter((endpoint) => endpoint.name > position.after)
  const pages = await sources.registry({
    after: position.after,
    limit,
    labels,
    ...(status === undefined ? {} : { status }),
    others: beating.map((endpoint) => endpoint.name),
  })
  const withSocket = new Set(pages.flatMap((page) => page.connectedOthers))
  const tunnels = beating.filter((endpoint) => !withSocket.has(endpoint.name))
  const byUrl = new Set(tunnels.map((endpoint) => endpoint.name))

  // No source has been read beyond its own last name, so nothing beyond the nearest of them may be shown yet.
  const heartbeatsTo = heartbeats.next === null ? null : (heartbeats.scannedTo ?? position.after)
  const horizon = nearest([...pages.map((page) => page.scannedTo), heartbeatsTo])
  const rows = pages.flatMap((page) => page.endpoints).filter((endpoint) => !byUrl.has(endpoint.name))
  const ready = [...rows, ...tunnels.filter((endpoint) => matches(endpoint, labels, status))]
    .filter((endpoint) => horizon === null || endpoint.name <= horizon)
    .sort(byName)
  const endpoints = ready.slice(0, limit)

  if (ready.length <= limit && horizon === null) return { endpoints, cursor: null }
  const after = ready.length > limit ? (endpoints.at(-1)?.name ?? position.after) : laterOf(horizon ?? position.after, position.after)
  const heartbeatsRead = heartbeats.next !== null && heartbeatsTo !== null && heartbeatsTo <= after
  return { endpoints, cursor: encodePosition({ after, heartbeats: heartbeatsRead ? heartbeats.next : position.heartbeats }) }
}

/** Reads `label`, `status`, `cursor` and `limit`; throws `bad-request` that states the rule. */
export function readListingQuery(parameters: URLSearchParams): ListingQuery {
  return {
    position: readPosition(parameters.get("cursor")),
    limit: readLimit(parameters.get("limit")),
    labels: readLabels(parameters.getAll("label")),
    status: readStatus(parameters.get("status")),
  }
}

function readLimit(text: string | null): number {
  if (text === null) return limitDefault
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (limit < 1 || limit > limitMax) throw new TunnelError("bad-request", `limit is a whole number from 1 to ${limitMax}`)
  return limit
}

function readLabels(texts: readonly string[]): Labels {
  const pairs = texts.map((text): [string, string] => {
    const split = text.indexOf("=")
    if (split < 1) throw new TunnelError("bad-request", "a label filter is label=KEY=VALUE")
    return [text.slice(0, split), text.slice(split + 1)]
  })
  try {
    const labels = checkBody(labelsSchema, Object.fromEntries(pairs))
    // A key twice, or one the schema leaves out: a filter must not be dropped in silence.
    if (Object.keys(labels).length < pairs.length) throw new InvalidBody("each key once, and no reserved word")
    return labels
  } catch (error) {
    throw error instanceof InvalidBody ? new TunnelError("bad-request", `label filter: ${error.message}`) : error
  }
}

function readStatus(text: string | null): EndpointStatus | undefined {
  if (text === null) return undefined
  const status = endpointStatuses.find((known) => known === text)
  if (status === undefined) throw new TunnelError("bad-request", `status is one of ${endpointStatuses.join(", ")}`)
  return status
}

const encodePosition = ({ after, heartbeats }: Position): string =>
  base64UrlEncode(new TextEncoder().encode(JSON.stringify([after, heartbeats])))

function readPosition(cursor: string | null): Position {
  if (cursor === null) return { after: "", heartbeats: null }
  const position = decodePosition(cursor)
  if (position === undefined) throw new TunnelError("bad-request", "cursor is what an earlier page of this listing gave, unchanged")
  return position
}

function decodePosition(cursor: string): Position | undefined {
  const bytes = base64UrlDecode(cursor)
  if (bytes === undefined) return undefined
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
  if (!Array.isArray(value) || value.length !== 2) return undefined
  const [after, heartbeats]: unknown[] = value
  if (typeof after !== "string" || (after !== "" && endpointName(after) === undefined)) return undefined
  if (heartbeats !== null && typeof heartbeats !== "string") return undefined
  return { after, heartbeats }
}

const matches = (endpoint: Endpoint, labels: Labels, status: EndpointStatus | undefined): boolean =>
  (status === undefined || endpoint.status === status) && Object.entries(labels).every(([key, value]) => endpoint.labels[key] === value)

/** The first of the ends in order of name; null stands for no end. */
const nearest = (ends: readonly (string | null)[]): string | null => ends.filter((end) => end !== null).sort()[0] ?? null

const laterOf = (left: string, right: string): string => (left > right ? left : right)

// Names are ASCII, so this is the order of both SQLite and KV.
const byName = (left: Endpoint, right: Endpoint): number => (left.name < right.name ? -1 : 1)
