/**
 * Writes to a terminal's master, in order, never waiting inside the event loop.
 *
 * libuv writes to a master only in blocking mode: a paste into a program that does not read would stop the whole
 * agent, for good if the program waits for us to read. So the non-blocking descriptor is written directly, and asked again a
 * little later when it is full: nothing in Node tells when a terminal has room.
 */
import { writeSync } from "node:fs"

/** Milliseconds until a full terminal is asked again: a program that reads fast empties it in less than one. */
const firstRetryMs = 1

/** The wait doubles up to here: a program that wakes up waits no longer for input, and one that never does costs 60 looks a second. */
const retryMsMax = 16

interface Chunk {
  readonly bytes: Uint8Array
  readonly written: () => void
}

export class TerminalInput {
  readonly #fd: number
  readonly #queue: Chunk[] = []
  /** Bytes of the first chunk that are written already. */
  #offset = 0
  #closed = false
  #retry: NodeJS.Timeout | undefined

  /** @param fd non-blocking, and open until `close` */
  constructor(fd: number) {
    this.#fd = fd
  }

  /** `written` runs, in a later tick, when the kernel has taken all of `bytes`, or when nobody will. */
  write(bytes: Uint8Array, written: () => void): void {
    if (this.#closed) {
      process.nextTick(written)
      return
    }
    this.#queue.push({ bytes, written })
    if (this.#queue.length === 1) this.#flush(firstRetryMs)
  }

  /** Drops what is queued. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#retry)
    for (const { written } of this.#queue.splice(0)) process.nextTick(written)
  }

  #flush(retryMs: number): void {
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      const left = first.bytes.subarray(this.#offset)
      const length = left.length === 0 ? 0 : writeNow(this.#fd, left)
      if (length === "ended") {
        this.close()
        return
      }
      if (length === "full") {
        this.#retry = setTimeout(() => this.#flush(Math.min(retryMs * 2, retryMsMax)), retryMs)
        return
      }
      retryMs = firstRetryMs
      this.#offset += length
      if (this.#offset < first.bytes.length) continue
      this.#offset = 0
      this.#queue.shift()
      process.nextTick(first.written)
    }
  }
}

function writeNow(fd: number, bytes: Uint8Array): number | "full" | "ended" {
  try {
    return writeSync(fd, bytes)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === "EAGAIN" || code === "EINTR" ? "full" : "ended"
  }
}
