/** What everything in one simulated life shares: its clock, its dice, its diary, and the broken promises that were found. */
import { SeededRandom, VirtualClock } from "@trunkline/protocol/testing"
import { BrokenPromise } from "./check.ts"

/** What the fabric of a life is made of. Each part has dice of its own, so that a change of one does not change the others' lives. */
export class World {
  readonly clock = new VirtualClock()
  readonly #seed: number
  readonly #trace: ((line: string) => void) | undefined
  readonly #breaches: BrokenPromise[] = []
  #dice = 0
  #digest = 0x811c_9dc5
  /** Epoch milliseconds of the life's first moment. */
  readonly #startedAt = 1_700_000_000_000
  /** Faults so far; without any nothing may fail. */
  faults = 0
  /** A fault that lasts about as long as the grace, or longer: links may end. */
  longOutages = 0

  constructor(seed: number, trace?: (line: string) => void) {
    this.#seed = seed
    this.#trace = trace
  }

  get digest(): number {
    return this.#digest
  }

  readonly epochMs = (): number => this.#startedAt + Math.floor(this.clock.now())

  /** Every other life has connections to services as well; the others are what they were without them. */
  get hasServices(): boolean {
    return this.#seed % 2 === 0
  }

  random(): SeededRandom {
    return new SeededRandom(BigInt(this.#seed) * 4_096n + BigInt(this.#dice++))
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.schedule(ms, resolve))
  }

  /** Writes into the diary, whose digest says whether two lives were the same. */
  note(event: string, ...numbers: number[]): void {
    for (let at = 0; at < event.length; at++) this.#mix(event.charCodeAt(at))
    for (const number of numbers) this.#mix(number)
    this.#mix(this.clock.now() * 1_000)
    this.#trace?.(`${this.clock.now().toFixed(3).padStart(12)} ${event} ${numbers.join(" ")}`)
  }

  /** Tells of a breach where throwing would be caught by those under test. */
  breach(error: unknown): void {
    this.#trace?.(`breach: ${String(error)}`)
    this.#breaches.push(error instanceof BrokenPromise ? error : new BrokenPromise(`thrown: ${String(error)}`, { cause: error }))
  }

  require(condition: boolean, breach: string): void {
    if (!condition) this.breach(new BrokenPromise(breach))
  }

  /** Throws the first breach. */
  confront(): void {
    const [first] = this.#breaches
    if (first !== undefined) throw first
  }

  /**
   * Lets time pass until nothing is due by `untilMs`, or `over` says so. All that promises bring about happens before the next
   * event. Returns false when it ran out of time.
   */
  async run(untilMs: number, over: () => boolean): Promise<boolean> {
    for (;;) {
      await new Promise<void>((resolve) => setImmediate(resolve))
      this.confront()
      if (this.clock.settle()) continue
      if (over()) return true
      if (!this.clock.step(untilMs)) return false
    }
  }

  #mix(value: number): void {
    this.#digest = Math.imul(this.#digest ^ (value | 0), 0x0100_0193) >>> 0
  }
}
