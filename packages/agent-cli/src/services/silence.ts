/** How long somebody may be silent, and whether that is what we wait for. */
export class Silence {
  readonly #tooLong: (ms: number) => void
  #ms = 0
  #timer: NodeJS.Timeout | undefined

  constructor(tooLong: (ms: number) => void) {
    this.#tooLong = tooLong
  }

  /** Something is to be heard within so many milliseconds, 0 for whenever. A wait for as long that has begun goes on. */
  expect(ms: number): void {
    if (ms === this.#ms) return
    clearTimeout(this.#timer)
    this.#ms = ms
    this.#timer = ms === 0 ? undefined : setTimeout(this.#tooLong, ms, ms)
  }

  /** It was: the wait begins anew. */
  heard(): void {
    this.#timer?.refresh()
  }
}
