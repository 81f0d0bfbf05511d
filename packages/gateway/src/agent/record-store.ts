/**
 * What one AgentSocket keeps on disk: its endpoint's record, how much of it the registry has heard, when its agent came
 * back lately, and the tickets already used. Written on transitions only, never for data.
 */
import { limits } from "@trunkline/protocol"
import type { EndpointRecord } from "../endpoint.ts"

/** Milliseconds before the first retry after the registry could not be told; doubles up to the second. */
const retryFirstMs = 5_000
const retryMostMs = 600_000

export class RecordStore {
  readonly #sql: SqlStorage
  #record: EndpointRecord | undefined
  #announcedRevision = 0
  #failures = 0

  constructor(sql: SqlStorage) {
    this.#sql = sql
    sql.exec(`
      CREATE TABLE IF NOT EXISTS endpoint (
        id INTEGER PRIMARY KEY CHECK (id = 1), record TEXT NOT NULL, announced_revision INTEGER NOT NULL, failures INTEGER NOT NULL
      );
      CREATE TABLE IF NOT EXISTS reconnects (generation INTEGER PRIMARY KEY, at INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS used_tickets (nonce TEXT PRIMARY KEY, expires_at INTEGER NOT NULL) WITHOUT ROWID;
    `)
    const row = sql
      .exec<{ record: string; announced_revision: number; failures: number }>("SELECT record, announced_revision, failures FROM endpoint")
      .toArray()[0]
    if (row === undefined) return
    this.#record = JSON.parse(row.record) as EndpointRecord
    this.#announcedRevision = row.announced_revision
    this.#failures = row.failures
  }

  get record(): EndpointRecord | undefined {
    return this.#record
  }

  /** Whether the registry has still to hear of the newest revision. */
  get dirty(): boolean {
    return this.#record !== undefined && this.#record.revision > this.#announcedRevision
  }

  write(record: EndpointRecord): void {
    this.#record = record
    this.#sql.exec(
      `INSERT INTO endpoint (id, record, announced_revision, failures) VALUES (1, ?, 0, 0)
       ON CONFLICT (id) DO UPDATE SET record = excluded.record`,
      JSON.stringify(record),
    )
  }

  announced(revision: number): void {
    this.#announcedRevision = revision
    this.#failures = 0
    this.#sql.exec("UPDATE endpoint SET announced_revision = ?, failures = 0", revision)
  }

  /** Counts one failure to reach the registry; the milliseconds to wait before the next try. */
  failed(): number {
    const waitMs = Math.min(retryFirstMs * 2 ** this.#failures, retryMostMs)
    this.#failures += 1
    this.#sql.exec("UPDATE endpoint SET failures = ?", this.#failures)
    return waitMs
  }

  /** Notes that the agent has come back, and counts how often it did within the flap window, as far as it matters. */
  countReconnect(generation: number, now: number): number {
    this.#sql.exec(
      "DELETE FROM reconnects WHERE at <= ? OR generation <= ?",
      now - limits.flapWindowMs,
      generation - 1 - limits.flapReconnectsMax,
    )
    this.#sql.exec("INSERT INTO reconnects (generation, at) VALUES (?, ?)", generation, now)
    return this.#sql.exec<{ count: number }>("SELECT COUNT(*) AS count FROM reconnects").one().count
  }

  /** Whether this is the first use of the ticket. Memory would forget it after ten idle seconds. */
  useTicket(nonce: string, expiresAt: number, now: number): boolean {
    this.#sql.exec("DELETE FROM used_tickets WHERE expires_at < ?", now)
    return this.#sql.exec("INSERT OR IGNORE INTO used_tickets (nonce, expires_at) VALUES (?, ?)", nonce, expiresAt).rowsWritten > 0
  }
}
