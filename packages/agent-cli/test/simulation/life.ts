/**
 * One simulated life of the whole path, made from a seed: users with the real SDK, a bad network and a simulated gateway, the
 * agent's real core over simulated processes. Throws BrokenPromise when a promise of the product is broken; everything in it
 * follows from the seed.
 */
import { limits, type Principal } from "@trunkline/protocol"
import { SeededRandom } from "@trunkline/protocol/testing"
import { SimulatedAgent } from "./agent.ts"
import { BrokenPromise, check } from "./check.ts"
import { live } from "./errands.ts"
import { Faults, faultPlan } from "./faults.ts"
import { SimulatedGateway } from "./gateway.ts"
import { Machine } from "./machine.ts"
import { missedMs, Path } from "./network.ts"
import type { SimulatedProcess } from "./process.ts"
import type { Run } from "./run.ts"
import { User } from "./user.ts"
import type { Keeping } from "./view.ts"
import { World } from "./world.ts"

export interface LifeReport {
  readonly users: number
  readonly cuts: number
  readonly faults: number
  readonly restarts: number
  readonly processes: number
  /** Of output, as clients saw it. */
  readonly bytes: number
  readonly errors: number
  readonly virtualMs: number
  readonly digest: number
}

/** Virtual milliseconds within which all users have come to an end after the last fault. */
const restMs = 14_400_000
/** Milliseconds behind which nothing of a client that is gone is left: until its leg is missed, the grace, a hang-up. */
const forgottenMs = missedMs + limits.resumeGraceMs + limits.pingDeadMs + 30_000
const owner: Principal = { id: "owner", scopes: ["admin"] }

export async function runLife(seed: number, trace?: (line: string) => void): Promise<LifeReport> {
  const random = new SeededRandom(BigInt(seed) * 4_096n + 4_095n)
  const restore = seedRandomness(random)
  const life = new Life(seed, trace)
  const failed = (reason: unknown) => life.world.breach(reason)
  process.on("unhandledRejection", failed)
  try {
    return await life.run()
  } finally {
    process.off("unhandledRejection", failed)
    restore()
  }
}

/** Waits and link ids are drawn from this: the same in each life of a seed. */
function seedRandomness(random: SeededRandom): () => void {
  const { crypto } = globalThis
  const fill = <View extends ArrayBufferView | null>(view: View): View => {
    if (view !== null) new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(random.bytes(view.byteLength))
    return view
  }
  Object.defineProperty(crypto, "getRandomValues", { value: fill, configurable: true })
  return () => void Reflect.deleteProperty(crypto, "getRandomValues")
}

export class Life {
  readonly world: World
  readonly gateway: SimulatedGateway
  readonly agent: SimulatedAgent
  readonly #random: SeededRandom
  readonly #faults: Faults
  readonly #users: User[]
  readonly #runs: Run[] = []
  readonly #runOf = new Map<string, Run>()
  readonly #machines: Machine[] = []
  readonly #ids = new Map<SimulatedProcess, string>()
  readonly #counts = { bytes: 0, errors: 0 }
  readonly #untilMs: number

  constructor(seed: number, trace?: (line: string) => void) {
    const world = new World(seed, trace)
    this.world = world
    this.#random = world.random()
    this.gateway = new SimulatedGateway(world)
    this.agent = new SimulatedAgent(world, new Path("agent", world, this.gateway), {
      journalBytes: this.#random.pick([262_144, 262_144, 1_048_576]),
      keepEndedMs: this.#random.pick([300_000, 300_000, 20_000]),
    })
    world.note("keeps", this.agent.plan.journalBytes, this.agent.plan.keepEndedMs)
    this.agent.onHangUp = (process) => this.#hungUp(process)
    const plan = faultPlan(this.#random)
    this.#untilMs = plan.untilMs
    this.#users = Array.from({ length: this.#random.integer(1, 4) }, (_, index) => new User(`user${index + 1}`, this))
    this.#faults = new Faults(this, plan)
  }

  get paths(): Path[] {
    return this.#machines.filter(({ gone }) => !gone).map(({ path }) => path)
  }

  get keeping(): Keeping {
    const isKept = (process: SimulatedProcess) => this.isKept(process)
    return { journalBytes: this.agent.plan.journalBytes, isKept }
  }

  machine(name: string, principal = owner): Machine {
    const { world, gateway, agent } = this
    const machine = new Machine(name, { world, gateway, agent, principal, idleMs: this.#random.pick([0, 1_000, 1_000, 60_000]) })
    this.#machines.push(machine)
    return machine
  }

  add(run: Run): Run {
    this.#runs.push(run)
    this.#runOf.set(run.tag, run)
    return run
  }

  count(what: "bytes" | "errors", more = 1): void {
    this.#counts[what] += more
  }

  /** The agent's id of a process, once some client was told. */
  noteId(process: SimulatedProcess, id: string): void {
    const known = this.#ids.get(process)
    check(known === undefined || known === id, `process ${process.pid} has two ids`)
    this.#ids.set(process, id)
  }

  /** Processes whose ids are known, by whom ever. */
  get known(): SimulatedProcess[] {
    return [...this.#ids.keys()]
  }

  runOf(process: SimulatedProcess): Run | undefined {
    return this.#runOf.get(process.tag)
  }

  idOf(process: SimulatedProcess): string | undefined {
    return this.#ids.get(process)
  }

  /** Whether the agent must still know it. */
  isKept({ alive, core, endedAtMs }: SimulatedProcess): boolean {
    if (core !== this.agent.restarts) return false
    return alive || (endedAtMs !== undefined && this.world.clock.now() - endedAtMs < this.agent.plan.keepEndedMs)
  }

  async run(): Promise<LifeReport> {
    const { world } = this
    // A gateway that never saw the agent knows no such agent.
    check(await world.run(10_000, () => this.agent.connected), "the agent never came")
    let pending = this.#users.length
    for (const user of this.#users) {
      live(user)
        .catch((error: unknown) => world.breach(error))
        .finally(() => {
          pending -= 1
        })
    }
    this.#scheduleLooks()
    this.#faults.begin()
    await world.run(this.#untilMs, () => false)
    const calm = await world.run(this.#untilMs + restMs, () => pending === 0)
    check(
      calm,
      `${this.#users
        .filter(({ doing }) => doing !== "done")
        .map(({ name, doing }) => `${name} hangs in ${doing}`)
        .join(", ")}`,
    )
    await this.#sweep()
    await this.#checkRest()
    return {
      users: this.#users.length,
      cuts: this.#faults.cuts,
      faults: world.faults,
      restarts: this.agent.restarts,
      processes: this.agent.processes.length,
      ...this.#counts,
      virtualMs: Math.round(world.clock.now()),
      digest: world.digest,
    }
  }

  #hungUp(process: SimulatedProcess): void {
    const run = this.#runOf.get(process.tag)
    this.world.require(run !== undefined, `process ${process.pid} is of no run`)
    if (run === undefined) return
    this.world.require(run.lifetime !== "detached", `${run.tag} was hung up, but is detached`)
    // Of a call that failed nobody knows the terminal it made.
    if (run.lifetime === "kept") this.world.require(run.left || run.errors.length > 0, `${run.tag} was hung up, its client was only lost`)
    this.world.require(run.released || this.world.longOutages > 0, `${run.tag} was hung up while its client is there`)
  }

  #scheduleLooks(): void {
    this.world.clock.schedule(500 + this.#random.integer(0, 500), () => {
      this.agent.checkBounds()
      if (this.world.clock.now() < this.#untilMs + 60_000) this.#scheduleLooks()
    })
  }

  /** Everybody has gone home; what was left running on purpose is found by its id, and ended. */
  async #sweep(): Promise<void> {
    const { world, agent } = this
    this.agent.path.mend()
    for (const run of this.#runs) run.left = !run.lost
    for (const machine of this.#machines) machine.leave()
    await world.run(world.clock.now() + forgottenMs, () => false)
    for (const run of this.#runs) run.settle(agent)
    let left = 0
    const sweeper = this.machine("sweeper")
    const sweep = async (): Promise<void> => {
      const listed = await sweeper.agent.processes.list()
      const running = listed.filter(({ state }) => state === "running").map(({ pid }) => pid)
      const alive = agent.processes.filter(({ alive }) => alive).map(({ pid }) => pid)
      check(String(running.sort()) === String(alive.sort()), `processes ${running} are listed, ${alive} run`)
      for (const { id, pid, state } of listed) {
        if (state === "ended") continue
        const process = agent.processes[pid - 1]
        // Nobody is attached: it is held by nobody.
        check(process?.paused !== true || process.pausedSinceMs > world.clock.now() - 1_000, `process ${pid} is held, and by nobody`)
        await sweeper.agent.processes.kill(id, "SIGKILL")
        left += 1
      }
    }
    let done = false
    const work = sweep()
      .catch((error: unknown) => world.breach(error))
      .finally(() => {
        done = true
      })
    check(await world.run(world.clock.now() + 60_000, () => done), "the agent does not answer any more")
    await work
    world.note("sweep", left)
    sweeper.leave()
  }

  async #checkRest(): Promise<void> {
    const { world, agent } = this
    await world.run(world.clock.now() + forgottenMs, () => false)
    for (const process of agent.processes) check(!process.alive, `process ${process.pid} (${process.argv.join(" ")}) cannot be ended`)
    for (const { port, core, connected, over, heardEnd, wholeForClient, forsaken } of agent.services) {
      check(connected <= 1, `service ${port} was connected to ${connected} times`)
      check(connected === 0 || over, `a connection to service ${port} never ended`)
      // What its client has written last may be under way still when he is told.
      const mayBeLost = forsaken || core < agent.restarts || world.longOutages > 0
      check(!wholeForClient || heardEnd || mayBeLost, `the connection to service ${port} was whole for its client alone`)
    }
    check(agent.links.linkCount === 0, `${agent.links.linkCount} links are left`)
    check(agent.table.list().length === 0, `${agent.table.list().length} processes are kept for ever`)
    check(agent.table.runningCount === 0, `${agent.table.runningCount} processes are counted as running`)
    for (const run of this.#runs) run.settle(agent)
    agent.stop()
    if (!(await world.run(world.clock.now() + forgottenMs, () => false))) world.confront()
    if (world.clock.step()) throw new BrokenPromise("something goes on for ever")
  }
}
