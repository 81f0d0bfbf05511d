/**
 * The registry's table: one row per endpoint, the last record its object announced. Rows are hints; the truth is in
 * the object. Written only when something changed, and never by an older revision over a newer one.
 */
import type { EndpointStatus, Labels } from "@trunkline/protocol"
import { type EndpointRecord, offlineKeptMs } from "../endpoint.ts"

export interface RowQuery {
  /** Rows after this name; "" for the first page. */
  readonly after: string
  readonly limit: number
  readonly labels: Labels
  readonly status?: EndpointStatus
}

type Bindings = (string | number)[]

export class Rows {
  readonly #sql: SqlStorage

  constructor(sql: SqlStorage) {
    this.#sql = sql
    sql.exec(`
      CREATE TABLE IF NOT EXISTS endpoints (
        name TEXT PRIMARY KEY, revision INTEGER NOT NULL, state TEXT NOT NULL, expires_at INTEGER, record TEXT NOT NULL
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS endpoints_expiring ON endpoints (expires_at) WHERE expires_at IS NOT NULL;
    `)
  }

  /** Keeps the record if it is newer than what is there; says whether it was. */
  upsert(record: EndpointRecord): boolean {
    const leaves = record.state === "offline" || record.state === "stopped"
    const expiresAt = leaves ? record.since + offlineKeptMs : null
    const { rowsWritten } = this.#sql.exec(
      `INSERT INTO endpoints (name, revision, state, expires_at, record) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, state = excluded.state, expires_at = excluded.expires_at, record = excluded.record
       WHERE excluded.revision > endpoints.revision`,
      record.name,
      record.revision,
      record.state,
      expiresAt,
      JSON.stringify(record),
    )
    return rowsWritten > 0
  }

  /** Deletes the row unless it is newer than `revision`; says whether it did. */
  remove(name: string, revision: number): boolean {
    return this.#sql.exec("DELETE FROM endpoints WHERE name = ? AND revision <= ?", name, revision).rowsWritten > 0
  }

  removeExpired(now: number): void {
    this.#sql.exec("DELETE FROM endpoints WHERE expires_at <= ?", now)
  }

  /** Which of the names have a row, those of agents that stopped lately included. */
  known(names: readonly string[], now: number): string[] {
    return this.#among(names, live, now)
  }

  /** Which of the names have a socket, as far as is known. */
  connected(names: readonly string[], now: number): string[] {
    return this.#among(names, `state IN ${connectedStates} AND ${live}`, now)
  }

  /** One JSON parameter for the names, because a statement takes at most 100. */
  #among(names: readonly string[], condition: string, now: number): string[] {
    return this.#sql
      .exec<{ name: string }>(
        `SELECT name FROM endpoints WHERE name IN (SELECT value FROM json_each(?)) AND ${condition}`,
        JSON.stringify(names),
        now,
      )
      .toArray()
      .map((row) => row.name)
  }

  /** Listed rows in order of name. */
  page(query: RowQuery, now: number): EndpointRecord[] {
    const bindings: Bindings = [query.after, now]
    const conditions = ["name > ?", listed]
    for (const [key, value] of Object.entries(query.labels)) {
      // Label keys hold no quotes, so the path needs no escapes.
      conditions.push("json_extract(record, ?) = ?")
      bindings.push(`$.labels."${key}"`, value)
    }
    if (query.status !== undefined) conditions.push(`state IN ${statesOf(query.status)}`)
    bindings.push(query.limit)
    return this.#sql
      .exec<{ record: string }>(`SELECT record FROM endpoints WHERE ${conditions.join(" AND ")} ORDER BY name LIMIT ?`, ...bindings)
      .toArray()
      .map((row) => JSON.parse(row.record) as EndpointRecord)
  }

  counts(now: number): Map<string, number> {
    const rows = this.#sql
      .exec<{ state: string; count: number }>(`SELECT state, COUNT(*) AS count FROM endpoints WHERE ${live} GROUP BY state`, now)
      .toArray()
    return new Map(rows.map((row) => [row.state, row.count]))
  }
}

const connectedStates = "('online', 'draining')"
const live = "(expires_at IS NULL OR expires_at > ?)"
const listed = `state <> 'stopped' AND ${live}`

/** The states in which a row may turn out to have this status. */
function statesOf(status: EndpointStatus): string {
  switch (status) {
    case "online":
      return "('online')"
    case "draining":
      return "('draining')"
    case "stale":
      return connectedStates
    case "offline":
      return "('offline')"
  }
}
