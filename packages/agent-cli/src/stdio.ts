/** Writing to our own stdout and stderr: at the pace of whoever reads, and what happens when nobody does any more. */

/** A failed write is reported by the write itself; without a listener Node would end the program over it. */
export function expectWriteErrors(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})
}

/**
 * Resolves once it is written, so a caller that waits keeps nothing in memory. Rejects when the reader is gone (EPIPE) or
 * the write fails.
 */
export function writeAll(stream: NodeJS.WriteStream, bytes: Uint8Array | string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(bytes, (error) => (error == null ? resolve() : reject(error)))
  })
}

/** Whether a write failed because nobody reads any more. */
export const isReaderGone = (error: unknown): boolean =>
  error instanceof Error && "code" in error && (error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED")
