/** Time that passes only when a test says so. Deferred tasks run before any timer; timers run in order of time, then of scheduling. */
import type { Clock } from "../ports.ts"

interface Timer {
  readonly atMs: number
  readonly order: number
  task: (() => void) | undefined
}

/** Tasks in one `settle` or `run` after which something is assumed to feed itself for ever. */
const tasksMax = 20_000_000

export class VirtualClock implements Clock {
  #nowMs = 0
  #order = 0
  #deferred: (() => void)[] = []
  /** A binary heap, soonest first. */
  readonly #timers: Timer[] = []

  now(): number {
    return this.#nowMs
  }

  schedule(delayMs: number, task: () => void): () => void {
    const timer: Timer = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, task }
    this.#push(timer)
    return () => {
      timer.task = undefined
    }
  }

  defer(task: () => void): void {
    this.#deferred.push(task)
  }

  /** Runs what was deferred, and what that defers, without letting time pass. Returns whether there was anything. */
  settle(): boolean {
    let count = 0
    while (this.#deferred.length > 0) {
      const tasks = this.#deferred
      this.#deferred = []
      for (const task of tasks) {
        task()
        if (++count > tasksMax) throw new Error("the deferred tasks never end")
      }
    }
    return count > 0
  }

  /** Runs the soonest timer that is due by `untilMs`, and what is deferred before and by it. False when none is: time then stays as it is. */
  step(untilMs = Number.POSITIVE_INFINITY): boolean {
    this.settle()
    for (;;) {
      const timer = this.#timers[0]
      if (timer === undefined || timer.atMs > untilMs) return false
      this.#pop()
      if (timer.task === undefined) continue
      this.#nowMs = Math.max(this.#nowMs, timer.atMs)
      timer.task()
      this.settle()
      return true
    }
  }

  /** Lets `ms` pass. */
  advance(ms: number): void {
    this.#runUntil(this.#nowMs + ms)
  }

  /** `ms` pass in which nothing runs, as when a process is stopped; what was due then runs late. */
  skip(ms: number): void {
    this.#nowMs += ms
    this.#runUntil(this.#nowMs)
  }

  /** Runs until nothing is scheduled or `untilMs` is reached. Returns whether nothing is left. */
  run(untilMs = Number.POSITIVE_INFINITY): boolean {
    this.#runUntil(untilMs)
    return this.#timers.every((timer) => timer.task === undefined)
  }

  #runUntil(untilMs: number): void {
    for (let count = 0; this.step(untilMs); count++) {
      if (count > tasksMax) throw new Error("the timers never end")
    }
    if (Number.isFinite(untilMs)) this.#nowMs = Math.max(this.#nowMs, untilMs)
  }

  #push(timer: Timer): void {
    const heap = this.#timers
    let at = heap.push(timer) - 1
    while (at > 0) {
      const up = (at - 1) >> 1
      const parent = heap[up]
      if (parent === undefined || before(parent, timer)) break
      heap[at] = parent
      at = up
    }
    heap[at] = timer
  }

  #pop(): void {
    const heap = this.#timers
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let at = 0
    for (;;) {
      const left = heap[2 * at + 1]
      const right = heap[2 * at + 2]
      if (left === undefined) break
      const [child, index] = right !== undefined && before(right, left) ? [right, 2 * at + 2] : [left, 2 * at + 1]
      if (before(last, child)) break
      heap[at] = child
      at = index
    }
    heap[at] = last
  }
}

const before = (one: Timer, other: Timer): boolean => one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order)
