/** The clock of a machine that may be put to sleep: what falls due meanwhile runs when it wakes, before anything is read. */
import type { Clock } from "@trunkline/protocol"

export class SleepingClock implements Clock {
  readonly #clock: Clock
  readonly #held: (() => void)[] = []
  #asleep = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get asleep(): boolean {
    return this.#asleep
  }

  now(): number {
    return this.#clock.now()
  }

  schedule(delayMs: number, task: () => void): () => void {
    let wanted = true
    this.#clock.schedule(delayMs, () => this.whenAwake(() => wanted && task()))
    return () => {
      wanted = false
    }
  }

  defer(task: () => void): void {
    this.#clock.defer(() => this.whenAwake(task))
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.schedule(ms, resolve))
  }

  /** Now, or when it wakes. */
  whenAwake(task: () => void): void {
    if (this.#asleep) this.#held.push(task)
    else task()
  }

  suspend(): void {
    this.#asleep = true
  }

  wake(): void {
    this.#asleep = false
    for (const task of this.#held.splice(0)) task()
  }
}
