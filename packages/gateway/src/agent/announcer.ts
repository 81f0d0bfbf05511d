/**
 * Tells the registry of the endpoint's newest record, one call at a time, each bounded. Nothing waits for it: while
 * the registry is away the record stays dirty and is told again on the next event, or by an alarm if none comes.
 */
import type { EndpointRecord } from "../endpoint.ts"
import { withTimeout } from "../timeout.ts"
import type { RecordStore } from "./record-store.ts"

export interface AnnouncerPorts {
  tell(record: EndpointRecord): Promise<void>
  wakeAt(epochMs: number): Promise<void>
}

export class Announcer {
  readonly #store: RecordStore
  readonly #ports: AnnouncerPorts
  #running: Promise<void> | undefined

  constructor(store: RecordStore, ports: AnnouncerPorts) {
    this.#store = store
    this.#ports = ports
  }

  /** Resolves when the registry knows the newest record, or could not be told. Never rejects. */
  announce(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #run(): Promise<void> {
    // The record may change during a call: go on until the registry has the last revision.
    for (let record = this.#store.record; record !== undefined && this.#store.dirty; record = this.#store.record) {
      try {
        await withTimeout(this.#ports.tell(record), "telling the registry")
      } catch (error) {
        console.warn("registry.unreachable", { name: record.name, error: String(error) })
        await this.#ports.wakeAt(Date.now() + this.#store.failed())
        return
      }
      this.#store.announced(record.revision)
    }
  }
}
