/** What users asked for, what they were told of it, and what really happened. */
import type { Exit, TunnelError } from "@trunkline/client"
import type { SimulatedAgent } from "./agent.ts"
import { check } from "./check.ts"

export type Lifetime = "attached" | "kept" | "detached"

/** One thing that somebody wanted to run, however often he asked for it. */
export class Run {
  /** Its processes have this as their last argument. */
  readonly tag: string
  readonly argv: readonly string[]
  readonly lifetime: Lifetime
  readonly key: string | undefined
  readonly principalId: string
  /** Whoever started it has left, or may be taken for lost. */
  released = false
  /** He said so: what is kept for one who was lost ends, too. */
  left = false
  /** The machine it was started from went without a word: what is kept stays. */
  lost = false
  /** Its owner is gone and nobody else worked with it: it must have been hung up in the end. */
  mustEnd = false
  /** Bytes its input has, in all; it may not look ended before. */
  inputBytes = 0
  inputClosed = false
  asked = 0
  readonly errors: TunnelError[] = []
  readonly exits: Exit[] = []

  constructor(tag: string, argv: readonly string[], lifetime: Lifetime, key: string | undefined, principalId: string) {
    this.tag = tag
    this.argv = [...argv, tag]
    this.lifetime = lifetime
    this.key = key
    this.principalId = principalId
  }

  /** Held against the truth when all is over. */
  settle(agent: SimulatedAgent): void {
    const started = agent.started(this.tag)
    const name = `${this.tag} (${this.argv.join(" ")})`
    check(
      started.length <= (this.key === undefined ? this.asked : 1),
      `${name} was started ${started.length} times, asked for ${this.asked} times`,
    )
    if (this.exits.length > 0) check(started.length === 1, `${name} is said to have ended, but was started ${started.length} times`)
    for (const exit of this.exits)
      check(
        JSON.stringify(exit) === JSON.stringify(started[0]?.exit),
        `${name} ended with ${JSON.stringify(started[0]?.exit)}, told was ${JSON.stringify(exit)}`,
      )
    const notDelivered = this.errors.filter(({ delivered }) => delivered === "no").length
    check(
      notDelivered < this.asked || started.length === 0,
      `${name} was started, but said not to have been delivered: ${this.errors.map(({ code }) => code).join(", ")}`,
    )
    if (this.errors.some(({ delivered }) => delivered === "yes"))
      check(started.length === 1, `${name} was said to be delivered, but never started`)
    for (const process of started) {
      if (process.inputClosed)
        check(this.inputClosed && process.input.length <= this.inputBytes, `${name} read an end of its input that nobody wrote`)
      if (process.inputClosed && process.exit?.type === "code")
        check(
          process.input.length === this.inputBytes,
          `${name} took ${process.input.length} of ${this.inputBytes} bytes for all of its input`,
        )
      if (this.mustEnd) check(!process.alive, `${name} runs on without its client`)
    }
  }
}
