/**
 * Heartbeats of agents in tunnel-url mode: one KV record each, gone when it is not renewed. What the listing shows is
 * in the record's metadata, so that a page of the listing is one call.
 */
import type { Endpoint, EndpointName, Labels } from "@trunkline/protocol"

/** How often an agent renews its record. KV's free plan has 1,000 writes a day: room for three agents. */
export const heartbeatPeriodMs = 300_000
/** How long a record lives: two and a half periods, so that one lost renewal is forgiven. */
export const heartbeatLifeMs = 750_000
/** How long an agent counts as online after its last heartbeat; until its record is gone it is stale. */
const freshMs = 2 * heartbeatPeriodMs
/** KV's own bound on the metadata of a key. */
const metadataBytesMax = 1_024

const keyPrefix = "heartbeat:"

export interface Heartbeat {
  readonly url: string
  readonly version: string
  readonly labels: Labels
  /** Epoch milliseconds of the first heartbeat in a row, and of the last. */
  readonly since: number
  readonly lastSeen: number
}

type Metadata = Omit<Heartbeat, "url">

export interface HeartbeatPage {
  readonly endpoints: readonly Endpoint[]
  /** The last name looked at, or null if the page was empty. */
  readonly scannedTo: string | null
  /** Where the next page begins, or null if this was the last. */
  readonly next: string | null
}

/** Whether what the listing shows of this heartbeat fits where KV keeps it. */
export const heartbeatFits = (heartbeat: Heartbeat): boolean =>
  new TextEncoder().encode(JSON.stringify(metadataOf(heartbeat))).byteLength <= metadataBytesMax

export const heartbeatRule = `version and labels together may take ${metadataBytesMax} bytes of JSON`

export async function readHeartbeat(kv: KVNamespace, name: EndpointName): Promise<Heartbeat | undefined> {
  const { value, metadata } = await kv.getWithMetadata<Metadata>(keyPrefix + name)
  return value === null || metadata === null ? undefined : { url: value, ...metadata }
}

export const writeHeartbeat = (kv: KVNamespace, name: EndpointName, heartbeat: Heartbeat): Promise<void> =>
  kv.put(keyPrefix + name, heartbeat.url, { expirationTtl: heartbeatLifeMs / 1000, metadata: metadataOf(heartbeat) })

export const deleteHeartbeat = (kv: KVNamespace, name: EndpointName): Promise<void> => kv.delete(keyPrefix + name)

/** One page in order of name. */
export async function listHeartbeats(kv: KVNamespace, cursor: string | null): Promise<HeartbeatPage> {
  const page = await kv.list<Metadata>({ prefix: keyPrefix, cursor })
  const now = Date.now()
  const endpoints = page.keys.flatMap(({ name, metadata }) =>
    metadata === undefined ? [] : [heartbeatSummary(name.slice(keyPrefix.length), metadata, now)],
  )
  return {
    endpoints,
    scannedTo: page.keys.at(-1)?.name.slice(keyPrefix.length) ?? null,
    next: page.list_complete ? null : page.cursor,
  }
}

/** What is known without asking the agent, which would cost a dial for each look. */
export function heartbeatSummary(name: string, { version, labels, since, lastSeen }: Metadata, now: number): Endpoint {
  const staleAt = lastSeen + freshMs
  const state = now < staleAt ? ({ status: "online", since } as const) : ({ status: "stale", since: staleAt } as const)
  return { name, ...state, mode: "tunnel-url", lastSeen, version, labels, rttMs: null }
}

const metadataOf = ({ version, labels, since, lastSeen }: Heartbeat): Metadata => ({ version, labels, since, lastSeen })
