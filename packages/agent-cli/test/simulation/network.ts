/** How machines reach the gateway: each over a path of its own, which may be up, down, or a hole that answers nothing. */
import { type Principal, TunnelError } from "@trunkline/protocol"
import type { SeededRandom } from "@trunkline/protocol/testing"
import { type Quality, SimulatedConnection } from "./connection.ts"
import type { SimulatedGateway } from "./gateway.ts"
import { SleepingClock } from "./sleeping-clock.ts"
import type { World } from "./world.ts"

/** Milliseconds after which the gateway's platform misses a peer that is gone without a word: 400 s, then nine probes of 75 s. */
export const missedMs = 1_075_000

export interface Dialled {
  /** Whether the gateway lets this one in. */
  readonly as: { readonly role: "agent" } | { readonly role: "client"; readonly principal: Principal }
  readonly opened: (connection: SimulatedConnection) => void
  readonly refused: (error: TunnelError) => void
}

export class Path {
  readonly name: string
  readonly quality: Quality
  /** Of the machine at its end. */
  readonly clock: SleepingClock
  readonly #world: World
  readonly #random: SeededRandom
  readonly #gateway: SimulatedGateway
  #state: "up" | "down" | "hole" = "up"
  #changes = 0
  #connections: SimulatedConnection[] = []

  constructor(name: string, world: World, gateway: SimulatedGateway) {
    this.name = name
    this.#world = world
    this.#gateway = gateway
    this.clock = new SleepingClock(world.clock)
    const random = world.random()
    this.#random = random
    this.quality = {
      delayMs: random.pick([0, 1, 5, 20, 80]),
      jitterMs: random.pick([0, 0, 5, 30]),
      bytesPerMs: random.pick([500, 2_500, 10_000, 100_000]),
    }
  }

  /** The newest connection that is not over. */
  get connection(): SimulatedConnection | undefined {
    this.#connections = this.#connections.filter(({ near, far }) => !near.over || !far.over)
    return this.#connections.findLast(({ near }) => !near.over)
  }

  /** The result gives up. */
  dial({ as, opened, refused }: Dialled): () => void {
    const { clock } = this.#world
    let wanted = true
    let connection: SimulatedConnection | undefined
    // Nothing comes back from a hole: who dials into it waits until he has had enough.
    const hole = this.#state === "hole"
    const refuse = (error: TunnelError) => {
      this.clock.schedule(this.quality.delayMs, () => wanted && refused(error))
    }
    const reach = () => {
      if (!wanted || hole || this.#state === "hole") return
      if (this.#state === "down" || this.#gateway.down) return refuse(new TunnelError("gateway-unreachable", "nobody listens there"))
      const made = this.#connect()
      const refusal = as.role === "agent" ? this.#gateway.acceptAgent(made.far) : this.#gateway.acceptClient(made.far, as.principal)
      if (refusal !== undefined) return refuse(refusal)
      connection = made
      this.#connections.push(made)
      // Now and then the first messages are there before the dialler looks.
      const lateMs = this.#random.chance(20) ? this.quality.jitterMs + 1 : 0
      this.clock.schedule(this.quality.delayMs + lateMs, () => {
        if (wanted && !made.near.over) opened(made)
        // Cut before it was seen to be open.
        else if (wanted) refused(new TunnelError("gateway-unreachable", "the connection broke"))
      })
    }
    clock.schedule(this.quality.delayMs * 2, () => this.#gateway.awake(reach))
    return () => {
      wanted = false
      connection?.near.terminate()
    }
  }

  #connect(): SimulatedConnection {
    const { clock } = this.#world
    return new SimulatedConnection({
      clock,
      random: this.#random,
      quality: this.quality,
      awake: () => !this.clock.asleep,
      arrived: (toDialler, bytes) => this.#world.note(toDialler ? `>${this.name}` : `<${this.name}`, bytes),
    })
  }

  /** An end that does not hear of it misses the other in the end: the dialler by asking, the gateway as late as its platform does. */
  cut(nearMs: number | undefined, farMs: number | undefined, losing: boolean): void {
    this.connection?.cut(nearMs ?? Number.POSITIVE_INFINITY, farMs ?? missedMs, losing)
  }

  /** Freezes what is connected now, for so long; for ever without a time. */
  freeze(ms?: number): void {
    const connection = this.connection
    if (connection === undefined) return
    connection.freeze()
    if (ms !== undefined) this.#world.clock.schedule(ms, () => connection.thaw())
    else this.#miss(connection)
  }

  /** The machine at its end stands still for so long: its programs, not the network. */
  suspend(ms: number): void {
    if (this.clock.asleep) return
    this.clock.suspend()
    this.#world.clock.schedule(ms, () => {
      this.clock.wake()
      for (const { near } of this.#connections) near.deliver()
    })
  }

  /** Nothing leaves one end for a while. */
  stall(dialler: boolean, ms: number): void {
    const connection = this.connection
    if (connection === undefined) return
    const end = dialler ? connection.near : connection.far
    end.stalled = true
    this.#world.clock.schedule(ms, () => {
      end.stalled = false
      end.drain()
    })
  }

  /** The way is gone for so long, with all that goes over it; for ever without a time. A hole only swallows, so that nobody is told. */
  lose(state: "down" | "hole", ms?: number): void {
    this.#state = state
    this.#changes += 1
    const change = this.#changes
    for (const connection of this.#connections) {
      if (state === "down") connection.cut(0, 0, true)
      else {
        connection.freeze()
        this.#miss(connection)
      }
    }
    if (ms === undefined) return
    this.#world.clock.schedule(ms, () => {
      if (this.#changes !== change) return
      this.#state = "up"
      if (state === "hole") for (const connection of this.#connections) connection.thaw()
    })
  }

  #miss(connection: SimulatedConnection): void {
    this.#world.clock.schedule(missedMs, () => connection.frozen && connection.far.lose(1006, ""))
  }

  /** As at the beginning, for what is dialled from now on. */
  mend(): void {
    this.#changes += 1
    this.#state = "up"
  }
}
