/** What the pure core needs from its runtime. Adapters implement these; tests use the virtual ones of `testing/`. */

export interface Clock {
  /** Milliseconds on a clock that never goes back. */
  now(): number
  /** Runs `task` once after `delayMs`; the result cancels it. */
  schedule(delayMs: number, task: () => void): () => void
  /** Runs `task` after the current turn, before any timer: where small frames of one turn are gathered. */
  defer(task: () => void): void
}

/**
 * Moves whole messages in order, or closes. It neither repeats nor reorders; after `close` or the far end's
 * close nothing more arrives. `send` never blocks and needs what it was given only until it is written: once the
 * peer has acknowledged a message its bytes change.
 */
export interface Transport {
  send(message: Uint8Array): void
  /** Bytes given to `send` and not yet handed to the operating system; 0 where the runtime cannot tell. */
  readonly bufferedBytes: number
  close(code: number, reason: string): void
}

/** The receiving half: whoever holds a transport gives it these. */
export interface TransportEvents {
  message(bytes: Uint8Array): void
  /** `bufferedBytes` fell; called after every write where the runtime can tell, else never. */
  drained(): void
  closed(code: number, reason: string): void
}

/** Structured events: a stable dotted name and fields. No secrets. */
export interface Logger {
  debug(event: string, fields?: Record<string, unknown>): void
  info(event: string, fields?: Record<string, unknown>): void
  warn(event: string, fields?: Record<string, unknown>): void
  error(event: string, fields?: Record<string, unknown>): void
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} }
