/** How a way in, to the gateway or to a listener of this machine, is told of its end. */
export interface Way {
  /** For good. */
  readonly stop: AbortSignal
  /** To stop, to leave, or because the keeper is gone. */
  readonly over: AbortSignal
  /** No new streams, time for those that are open, and last words. */
  readonly windDown: () => Promise<void>
}
