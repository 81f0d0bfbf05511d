/** The keeper's log: written by whichever `serve` is there, and kept for the next while there is none. */
import type { Logger } from "@trunkline/protocol"
import { redacted } from "../logging.ts"
import type { LogLevel } from "./keeper-wire.ts"

export interface LogLine {
  readonly level: LogLevel
  readonly event: string
  readonly fields: Record<string, unknown>
}

/** Lines kept without a serve; of more, the oldest are dropped, and the next serve is told how many. */
const keptLinesMax = 1_000

export class LogRelay {
  readonly logger: Logger
  #write: ((line: LogLine) => void) | undefined
  #kept: LogLine[] = []
  #dropped = 0

  constructor() {
    const log = (level: LogLevel) => (event: string, fields?: Record<string, unknown>) =>
      this.#log({ level, event, fields: redacted(fields ?? {}) })
    this.logger = { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") }
  }

  /** Who writes from now on, given first what was kept; undefined to keep. */
  writeTo(write: ((line: LogLine) => void) | undefined): void {
    this.#write = write
    if (write === undefined) return
    if (this.#dropped > 0) write({ level: "warn", event: "keeper.log-dropped", fields: { oldestLines: this.#dropped } })
    for (const line of this.#kept) write(line)
    this.#kept = []
    this.#dropped = 0
  }

  #log(line: LogLine): void {
    if (this.#write !== undefined) return this.#write(line)
    // Details are for somebody who watches.
    if (line.level === "debug") return
    // Whoever writes it says when that is.
    this.#kept.push({ ...line, fields: { ...line.fields, happened: new Date().toISOString() } })
    if (this.#kept.length <= keptLinesMax) return
    this.#kept.shift()
    this.#dropped += 1
  }
}
