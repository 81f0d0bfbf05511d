/** A simulated service at the agent: one connection, with bytes and an end each way, both of which it knows to the last byte. */
import type { Socket } from "node:net"
import { Duplex } from "node:stream"
import type { SeededRandom } from "@trunkline/protocol/testing"
import { difference, patternBytes, sameBytes } from "./pattern.ts"
import type { SleepingClock } from "./sleeping-clock.ts"
import type { World } from "./world.ts"

export interface ServicePlan {
  readonly salt: number
  /** What it writes. */
  readonly downBytes: number
  /** What its client writes, who says so by `upWritten` before he ends his half. */
  readonly upBytes: number
  readonly chunkBytes: number
  /** Milliseconds for each piece it reads or writes, 0 for at once. */
  readonly pauseMs: number
  /** It ends its half after its client. */
  readonly endsLast: boolean
  /** Bytes behind which it breaks the connection off, or -1. */
  readonly breaksAt: number
}

/** Of what its client writes. */
export const upSalt = (plan: ServicePlan): number => plan.salt + 101

export class SimulatedService {
  readonly port: number
  readonly plan: ServicePlan
  /** Connections that were made. */
  connected = 0
  /** Restarts of the agent before the connection. */
  core = 0
  upWritten = false
  /** Its client was told that both halves have ended. */
  wholeForClient = false
  /** Its client's machine was left before it had read the end. */
  forsaken = false
  receivedBytes = 0
  /** It has read its client's end. */
  heardEnd = false
  wroteEnd = false
  /** The agent has broken it off. */
  broken = false
  broke = false

  constructor(port: number, plan: ServicePlan) {
    this.port = port
    this.plan = plan
  }

  /** Whether nothing more can come of it. */
  get over(): boolean {
    return this.broken || this.broke || (this.heardEnd && this.wroteEnd)
  }
}

/** The agent's end of the connection: what there is of a socket that the agent uses, in the agent's time. */
export class SimulatedSocket extends Duplex {
  readonly localPort = 1
  readonly #service: SimulatedService
  readonly #world: World
  readonly #clock: SleepingClock
  #writtenBytes = 0
  #wantsMore = false

  constructor(service: SimulatedService, world: World, clock: SleepingClock) {
    super()
    this.#service = service
    this.#world = world
    this.#clock = clock
    this.pause()
  }

  /** As the code under test knows it. */
  get asSocket(): Socket {
    return this as unknown as Socket
  }

  setTimeout(): this {
    return this
  }

  resetAndDestroy(): this {
    if (!this.#service.over) this.#service.broken = true
    return this.destroy()
  }

  /** The agent is gone, and the connection with it. */
  vanish(): void {
    this.removeAllListeners().on("error", () => {})
    this.resetAndDestroy()
  }

  override _read(): void {
    if (this.#wantsMore) return
    this.#wantsMore = true
    this.#clock.schedule(this.#service.plan.pauseMs, () => this.#give())
  }

  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    const service = this.#service
    const meant = patternBytes(upSalt(service.plan), service.receivedBytes, chunk.byteLength)
    if (!sameBytes(chunk, meant))
      this.#world.require(false, `what service ${service.port} reads: ${difference(chunk, meant, service.receivedBytes)}`)
    service.receivedBytes += chunk.byteLength
    // At 5 MB/s.
    this.#clock.schedule(service.plan.pauseMs + chunk.byteLength / 5_000, done)
  }

  override _final(done: () => void): void {
    const service = this.#service
    service.heardEnd = true
    const { upBytes } = service.plan
    this.#world.require(service.upWritten, `service ${service.port} read an end that its client has not written`)
    this.#world.require(
      service.receivedBytes === upBytes,
      `service ${service.port} read ${service.receivedBytes} of ${upBytes} bytes and an end`,
    )
    this.#world.note("service heard the end", service.port)
    done()
    if (this.#wantsMore) this.#give()
  }

  #give(): void {
    const service = this.#service
    const { salt, downBytes, chunkBytes, breaksAt, endsLast } = service.plan
    if (this.destroyed || !this.#wantsMore) return
    if (breaksAt >= 0 && this.#writtenBytes >= breaksAt) {
      service.broke = true
      this.destroy(Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }))
      return
    }
    if (this.#writtenBytes === downBytes) {
      if (endsLast && !service.heardEnd) return
      this.#wantsMore = false
      service.wroteEnd = true
      this.push(null)
      return
    }
    const chunk = patternBytes(salt, this.#writtenBytes, Math.min(chunkBytes, downBytes - this.#writtenBytes))
    this.#writtenBytes += chunk.byteLength
    this.#wantsMore = false
    this.push(chunk)
  }
}

export function planService(random: SeededRandom): ServicePlan {
  const totalBytes = (): number => random.pick([0, 1, 5_000, 90_000, random.integer(0, 700_000), random.integer(0, 700_000)])
  const [downBytes, upBytes] = [totalBytes(), totalBytes()]
  return {
    salt: random.integer(0, 100),
    downBytes,
    upBytes,
    chunkBytes: Math.max(random.pick([100, 5_000, 65_536]), Math.ceil(Math.max(downBytes, upBytes) / 100)),
    pauseMs: random.pick([0, 0, 1, 30]),
    endsLast: random.chance(30),
    breaksAt: random.chance(10) ? random.integer(0, downBytes) : -1,
  }
}
