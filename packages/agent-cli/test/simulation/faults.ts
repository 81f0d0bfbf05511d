/** What goes wrong in a life: faults of networks, gateway and agent, by the dice, until a time. */
import type { SeededRandom } from "@trunkline/protocol/testing"
import type { Life } from "./life.ts"
import type { Path } from "./network.ts"

export interface FaultPlan {
  /** Milliseconds; none after. */
  readonly untilMs: number
  /** Milliseconds between two at most. */
  readonly everyMs: number
  /** Whether the agent's process may die. */
  readonly restarts: boolean
  /** Whether one of them lasts as long as the grace. */
  readonly long: boolean
}

export function faultPlan(random: SeededRandom): FaultPlan {
  return {
    untilMs: random.pick([0, 3_000, 10_000, 40_000, 90_000]),
    everyMs: random.pick([300, 1_500, 6_000, 20_000]),
    restarts: random.chance(25),
    long: random.chance(8),
  }
}

/** Milliseconds that are near the grace of a link, on both sides of it. */
const longMs = [250_000, 295_000, 305_000, 400_000] as const

export class Faults {
  readonly #life: Life
  readonly #plan: FaultPlan
  readonly #random: SeededRandom
  cuts = 0
  #long: boolean

  constructor(life: Life, plan: FaultPlan) {
    this.#life = life
    this.#plan = plan
    this.#random = life.world.random()
    this.#long = plan.long
  }

  begin(): void {
    if (this.#plan.untilMs > 0) this.#next()
  }

  #next(): void {
    const { clock } = this.#life.world
    clock.schedule(this.#random.integer(1, this.#plan.everyMs), () => {
      if (clock.now() >= this.#plan.untilMs) return
      this.#one()
      this.#next()
    })
  }

  #one(): void {
    const random = this.#random
    const { world, gateway, agent } = this.#life
    const paths = this.#life.paths
    const path = random.chance(40) ? agent.path : random.pick([agent.path, ...paths])
    const kind = random.pick([
      "cut",
      "cut",
      "cut",
      "freeze",
      "stall",
      "lose",
      "both",
      "evict",
      "restart",
      "sleep",
      "suspend",
      "crash",
      "long",
    ])
    if (kind === "crash" && !this.#plan.restarts) return
    if (kind === "long" && !this.#long) return
    world.faults += 1
    world.note(`fault ${kind} ${path.name}`)
    switch (kind) {
      case "cut":
        return this.#cut(path)
      case "freeze":
        // For ever: nobody learns, the ends must notice.
        return path.freeze(random.pick([undefined, random.integer(1, 3_000), random.integer(1, 40_000)]))
      case "stall":
        return path.stall(random.chance(50), random.integer(1, 3_000))
      case "lose":
        return path.lose(random.pick(["down", "hole"]), random.integer(1, 15_000))
      case "both":
        this.#cut(agent.path)
        return this.#cut(random.pick([agent.path, ...paths]))
      case "evict":
        return gateway.evict(random.chance(50))
      case "restart":
        return gateway.restart(random.pick(["cut", "drained"]), random.integer(0, 8_000))
      case "sleep":
        return gateway.freeze(random.integer(1, 12_000))
      case "suspend":
        return path.suspend(random.pick([random.integer(1, 2_000), random.integer(1, 40_000)]))
      case "crash":
        return agent.crash(random.integer(1, 4_000))
      case "long":
        this.#long = false
        world.longOutages += 1
        if (random.chance(30)) return path.suspend(random.pick(longMs))
        return path.lose(random.pick(["down", "hole"]), random.pick(longMs))
    }
  }

  #cut(path: Path): void {
    const random = this.#random
    this.cuts += 1
    // One end may never hear of it.
    const hears = () => (random.chance(15) ? undefined : random.pick([0, random.integer(0, 300), random.integer(0, 3_000)]))
    path.cut(hears(), hears(), random.chance(70))
  }
}
