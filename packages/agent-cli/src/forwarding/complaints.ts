/** What people are told of connections that came to nothing: each sort now and then, however many there are. */

/** Milliseconds in which one sort is told of once. */
const quietMs = 10_000
/** Sorts that are remembered: a SOCKS client names what targets it likes. */
const sortsMax = 256

interface Told {
  readonly atMs: number
  /** How many were not told of since. */
  unsaid: number
}

export class Complaints {
  readonly #write: (line: string) => void
  readonly #now: () => number
  readonly #told = new Map<string, Told>()

  constructor(write: (line: string) => void, now: () => number = () => performance.now()) {
    this.#write = write
    this.#now = now
  }

  /** `sort` is what counts as the same. */
  say(sort: string, line: string): void {
    const told = this.#told.get(sort)
    const atMs = this.#now()
    if (told !== undefined && atMs - told.atMs < quietMs) {
      told.unsaid += 1
      return
    }
    const more = told === undefined || told.unsaid === 0 ? "" : ` (and ${told.unsaid} more since this was last said)`
    this.#told.delete(sort)
    for (const [oldest] of this.#told) {
      if (this.#told.size < sortsMax) break
      this.#told.delete(oldest)
    }
    this.#told.set(sort, { atMs, unsaid: 0 })
    this.#write(`${line}${more}`)
  }
}
