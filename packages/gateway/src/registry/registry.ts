/**
 * The directory of endpoints, one shard of it. AgentSocket objects announce their transitions; a listing asks them
 * again when a row says a socket is up and nobody has checked for longer than a lease, because a reset object cannot
 * announce that its sockets are gone.
 */
import { DurableObject } from "cloudflare:workers"
import { type Endpoint, type EndpointStatus, limits } from "@trunkline/protocol"
import type { EndpointRecord, Presence } from "../endpoint.ts"
import type { Env } from "../env.ts"
import { withTimeout } from "../timeout.ts"
import { type RowQuery, Rows } from "./rows.ts"

/** Objects asked per listing call: keeps a page's cost constant, and a few calls verify a small fleet. */
const peeksMax = 25

export interface ListQuery extends RowQuery {
  /** Names from another source: the answer says which of them have a socket, whatever the filters say of its row. */
  readonly others: readonly string[]
}

export interface RegistryPage {
  readonly endpoints: readonly Endpoint[]
  /** The last name looked at, or null if there are no more rows. */
  readonly scannedTo: string | null
  readonly connectedOthers: readonly string[]
}

export interface RegistryCounts {
  readonly online: number
  readonly draining: number
  readonly offline: number
}

/** What an object said when it was last asked. In memory only: a row is written when something changed, not for each look. */
interface Verification {
  readonly at: number
  readonly status: EndpointStatus
  readonly lastSeen: number
}

export class Registry extends DurableObject<Env> {
  readonly #rows: Rows
  readonly #verified = new Map<string, Verification>()

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#rows = new Rows(ctx.storage.sql)
  }

  /** A transition of one endpoint; `stopped` takes it off the list. */
  announce(record: EndpointRecord): void {
    if (!this.#keep(record)) return
    if (record.state === "stopped") this.#verified.delete(record.name)
    else this.#saw(record, record.state)
  }

  /** Which of the names have an object that can say how its agent is: those listed, and those that stopped within a day. */
  known(names: readonly string[]): string[] {
    return this.#rows.known(names, Date.now())
  }

  /** One page in order of name, with at most 25 objects asked. A filter may leave fewer than `limit` rows on it. */
  async list(query: ListQuery): Promise<RegistryPage> {
    const now = Date.now()
    this.#rows.removeExpired(now)
    // One more than asked for tells whether there is another page.
    const found = this.#rows.page({ ...query, limit: query.limit + 1 }, now)
    const records = found.slice(0, query.limit)
    const verified = await this.#verify(records, now)
    const endpoints = records
      .map((record) => verified.get(record.name) ?? record)
      .filter((record) => record.state !== "stopped")
      .map((record) => this.#summary(record))
      .filter((summary) => query.status === undefined || summary.status === query.status)
    const scannedTo = found.length > query.limit ? (records.at(-1)?.name ?? null) : null
    return { endpoints, scannedTo, connectedOthers: this.#rows.connected(query.others, now) }
  }

  /** Every listed name, in order, `limit` at a time. */
  names(after: string, limit: number): string[] {
    return this.#rows.page({ after, limit, labels: {} }, Date.now()).map((record) => record.name)
  }

  /** Rows by their last announced state. */
  counts(): RegistryCounts {
    const counts = this.#rows.counts(Date.now())
    return { online: counts.get("online") ?? 0, draining: counts.get("draining") ?? 0, offline: counts.get("offline") ?? 0 }
  }

  /** Asks the objects whose row has gone longest without a look; returns what they say now. */
  async #verify(records: readonly EndpointRecord[], now: number): Promise<ReadonlyMap<string, EndpointRecord>> {
    const due = records
      .filter((record) => record.state !== "offline" && now - this.#verifiedAt(record.name) > limits.pingDeadMs)
      .sort((left, right) => this.#verifiedAt(left.name) - this.#verifiedAt(right.name))
      .slice(0, peeksMax)
    const answers = await Promise.all(due.map(async (record) => ({ record, presence: await this.#peek(record.name) })))
    const verified = new Map<string, EndpointRecord>()
    for (const { record, presence } of answers) {
      if (presence === "unreachable") continue
      if (presence === null) {
        this.#forget(record.name, record.revision)
        verified.set(record.name, { ...record, state: "stopped" })
        continue
      }
      const { status, clients: _clients, rttMs: _rttMs, ...current } = presence
      this.#keep(current)
      this.#saw(current, status)
      verified.set(record.name, current)
    }
    return verified
  }

  async #peek(name: string): Promise<Presence | null | "unreachable"> {
    try {
      return await withTimeout(this.env.AGENT.get(this.env.AGENT.idFromName(name)).presence(), "asking an endpoint")
    } catch (error) {
      console.warn("endpoint.unreachable", { name, error: String(error) })
      return "unreachable"
    }
  }

  #verifiedAt(name: string): number {
    return this.#verified.get(name)?.at ?? 0
  }

  /** A reset object has forgotten when it last heard its agent; what was seen here may be later. */
  #keep(record: EndpointRecord): boolean {
    return this.#rows.upsert({ ...record, lastSeen: this.#lastSeen(record) })
  }

  #saw(record: EndpointRecord, status: EndpointStatus): void {
    if (status === "offline") this.#verified.delete(record.name)
    else this.#verified.set(record.name, { at: Date.now(), status, lastSeen: this.#lastSeen(record) })
  }

  #forget(name: string, revision: number): void {
    if (this.#rows.remove(name, revision)) this.#verified.delete(name)
  }

  #lastSeen(record: EndpointRecord): number {
    return Math.max(record.lastSeen, this.#verified.get(record.name)?.lastSeen ?? 0)
  }

  #summary(record: EndpointRecord): Endpoint {
    const { name, state, since, version, labels, host } = record
    const verified = this.#verified.get(name)
    const lastSeen = this.#lastSeen(record)
    // The row's state first: what was seen of an earlier state does not outlive it.
    const status = state === "online" || state === "draining" ? (verified?.status ?? state) : "offline"
    return { name, status, mode: "socket", since, lastSeen, version, labels, rttMs: null, host }
  }
}
