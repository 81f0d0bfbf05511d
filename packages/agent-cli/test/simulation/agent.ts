/**
 * The simulated machine: the agent's real links, services and process table over simulated processes, and a connection to
 * the gateway that is dialled again as `serve` does it. It can lose its core: what a crash of the agent takes with it.
 */
import {
  assertNever,
  checkBody,
  closeCodes,
  encodeControl,
  Liveness,
  limits,
  type MuxStream,
  parseGatewayToAgent,
  pingText,
  pongText,
  protocolVersion,
  readSlot,
  reconnect,
  type Slot,
  silentLogger,
  slot,
  type Transport,
  TunnelError,
  tcpOpenSchema,
  writeSlot,
} from "@trunkline/protocol"
import type { SeededRandom } from "@trunkline/protocol/testing"
import { dispatch } from "../../src/agent/dispatch.ts"
import { Links } from "../../src/agent/links.ts"
import type { ProcessEvents } from "../../src/processes/process.ts"
import type { ProcessRequest } from "../../src/processes/process-request.ts"
import { ProcessTable } from "../../src/processes/process-table.ts"
import { RunLedger } from "../../src/processes/run-ledger.ts"
import { HttpServices } from "../../src/services/http.ts"
import { Listeners } from "../../src/services/listeners.ts"
import { joinSocket } from "../../src/services/socket-stream.ts"
import { OwnerPolicy } from "../../src/targets/owner-policy.ts"
import type { ConnectionEnd, SocketMessage } from "./connection.ts"
import type { Path } from "./network.ts"
import { SimulatedProcess } from "./process.ts"
import { CountingScreen } from "./screen.ts"
import { type ServicePlan, SimulatedService, SimulatedSocket } from "./service.ts"
import type { SleepingClock } from "./sleeping-clock.ts"
import type { World } from "./world.ts"

/** A disk takes its time until a run is noted: meanwhile the same key may come again. */
class SlowLedger extends RunLedger {
  readonly #wait: () => Promise<void>

  constructor(world: World, clock: SleepingClock, random: SeededRandom) {
    super({ epochMs: world.epochMs })
    this.#wait = () => clock.sleep(random.pick([0, 1, 20]))
  }

  override async begin(principalId: string, key: string, request: ProcessRequest, processId: string): Promise<void> {
    await super.begin(principalId, key, request, processId)
    await this.#wait()
  }
}

/** What a crash takes. */
interface Core {
  readonly links: Links
  readonly table: ProcessTable
  readonly streams: Set<MuxStream>
  readonly sockets: SimulatedSocket[]
  alive: boolean
}

export interface AgentPlan {
  readonly journalBytes: number
  readonly keepEndedMs: number
}

export class SimulatedAgent {
  readonly plan: AgentPlan
  readonly path: Path
  readonly #world: World
  readonly #random: SeededRandom
  readonly #ledger: RunLedger
  #core: Core
  #leg: AgentLeg | undefined
  #attempt = 0
  #cancelDial: (() => void) | undefined
  #stopped = false
  #instances = 0
  /** Every process there ever was. */
  readonly processes: SimulatedProcess[] = []
  /** Every service, the port of each being its place. */
  readonly services: SimulatedService[] = []
  /** Asked of each process that is hung up. */
  onHangUp: (process: SimulatedProcess) => void = () => {}
  restarts = 0

  constructor(world: World, path: Path, plan: AgentPlan) {
    this.#world = world
    this.path = path
    this.plan = plan
    this.#random = world.random()
    this.#ledger = new SlowLedger(world, path.clock, this.#random)
    this.#core = this.#newCore()
    this.#dial()
  }

  get links(): Links {
    return this.#core.links
  }

  get table(): ProcessTable {
    return this.#core.table
  }

  get connected(): boolean {
    return this.#leg?.up === true
  }

  /** The processes of a run, by the name it was given. */
  started(tag: string): SimulatedProcess[] {
    return this.processes.filter((process) => process.tag === tag)
  }

  /** A service that somebody may connect to. */
  offerService(plan: ServicePlan): SimulatedService {
    const service = new SimulatedService(this.services.length + 1, plan)
    this.services.push(service)
    return service
  }

  /** The agent's process dies and another one comes, which knows what is on disk. */
  crash(downMs: number): void {
    this.restarts += 1
    this.#core.alive = false
    for (const process of this.processes) process.vanish()
    for (const socket of this.#core.sockets) socket.vanish()
    this.#leg?.die()
    this.#leg = undefined
    this.#cancelDial?.()
    this.#core = this.#newCore()
    this.#cancelDial = this.path.clock.schedule(downMs, () => this.#dial())
  }

  /** A clean stop. */
  stop(): void {
    this.#stopped = true
    this.#core.links.endAll(new TunnelError("agent-stopped", "the agent was stopped", { delivered: "unknown" }))
    this.#leg?.leave()
    this.#cancelDial?.()
    this.#core.table.close()
  }

  /** Nothing holds more than it may. */
  checkBounds(): void {
    for (const stream of this.#core.streams) {
      if (stream.phase === "closed") this.#core.streams.delete(stream)
      // A queue that has a byte of room takes a whole piece, and a repaint besides.
      this.#world.require(
        stream.queuedBytes <= limits.streamWindowBytes + limits.dataBytesMax,
        `a stream queues ${stream.queuedBytes} bytes`,
      )
    }
    for (const { journal } of this.#core.table.list())
      this.#world.require(
        journal.heldBytes <= 2 * this.plan.journalBytes + 2 * limits.dataBytesMax,
        `a journal holds ${journal.heldBytes} bytes`,
      )
  }

  #newCore(): Core {
    const { epochMs } = this.#world
    const { clock } = this.path
    // What it cannot explain it calls an error.
    const faultLogger = {
      ...silentLogger,
      error: (event: string, fields?: object) => this.#world.breach(`${event} ${JSON.stringify(fields)}`),
    }
    const core: Core = {
      streams: new Set(),
      sockets: [],
      alive: true,
      links: new Links({
        clock,
        logger: faultLogger,
        offered: (stream, body, principal) => {
          core.streams.add(stream)
          if (stream.kind === "tcp") return this.#connectService(core, stream, body)
          dispatch(stream, body, principal, {
            logger: faultLogger,
            processes: core.table,
            listeners: new Listeners(faultLogger),
            http: new HttpServices(),
            policy: () => new OwnerPolicy(),
            draining: () => false,
          })
        },
      }),
      table: new ProcessTable({
        clock,
        epochMs,
        logger: faultLogger,
        spawn: (request, events) => this.#spawn(core, request, events),
        screen: (size) => new CountingScreen(size, clock),
        ledger: this.#ledger,
        ...this.plan,
      }),
    }
    this.#instances += 1
    return core
  }

  /** In place of the system's sockets. */
  #connectService(core: Core, stream: MuxStream, body: unknown): void {
    const { target } = checkBody(tcpOpenSchema, body)
    const service = "port" in target ? this.services[target.port - 1] : undefined
    if (service === undefined) return this.#world.require(false, "somebody connects to no service")
    this.path.clock.schedule(this.#random.pick([0, 0, 2, 30]), () => {
      if (!core.alive) return
      service.connected += 1
      service.core = this.restarts
      const socket = new SimulatedSocket(service, this.#world, this.path.clock)
      core.sockets.push(socket)
      this.#world.note("service connected", service.port)
      joinSocket(stream, socket.asSocket, { address: "127.0.0.1" }, `service ${service.port}`)
    })
  }

  async #spawn(core: Core, request: ProcessRequest, events: ProcessEvents): Promise<SimulatedProcess> {
    await this.path.clock.sleep(this.#random.pick([0, 0, 2, 30]))
    // A core that is gone starts nothing, and says nothing either.
    if (!core.alive) return new Promise(() => {})
    if (request.open.argv?.[0] === "missing") throw new TunnelError("command-not-found", "no such command", { delivered: "no" })
    const process = new SimulatedProcess(
      { pid: this.processes.length + 1, core: this.restarts },
      request,
      events,
      this.#world,
      this.path.clock,
    )
    process.onHangUp = () => this.onHangUp(process)
    this.processes.push(process)
    this.#world.note(`spawn ${process.argv.join(" ")}`, process.pid)
    return process
  }

  #dial(): void {
    const leg = new AgentLeg(this.path.clock, this.#core.links, `instance${this.#instances}`, (code, connectedMs) => {
      if (this.#leg !== leg || this.#stopped) return
      this.#leg = undefined
      const verdict = reconnect({ attempt: this.#attempt, code, connectedMs, random: this.#random.fraction() })
      this.#world.require(verdict.action === "wait", `the agent was closed for good with ${code}`)
      if (verdict.action === "stop") return
      this.#attempt = verdict.attempt
      this.#cancelDial = this.path.clock.schedule(verdict.delayMs, () => this.#dial())
    })
    this.#leg = leg
    leg.dial(this.path)
  }
}

/** One connection to the gateway, as `serve` has it. */
class AgentLeg {
  readonly #clock: SleepingClock
  readonly #links: Links
  readonly #instance: string
  readonly #lost: (code: number, connectedMs: number) => void
  #end: ConnectionEnd | undefined
  #liveness: Liveness | undefined
  #upAtMs: number | undefined
  #over = false
  #cancelHandshake: () => void = () => {}
  #cancelDial: () => void = () => {}

  constructor(clock: SleepingClock, links: Links, instance: string, lost: (code: number, connectedMs: number) => void) {
    this.#clock = clock
    this.#links = links
    this.#instance = instance
    this.#lost = lost
  }

  get up(): boolean {
    return this.#upAtMs !== undefined && !this.#over
  }

  dial(path: Path): void {
    this.#cancelHandshake = this.#clock.schedule(limits.handshakeMs, () => this.#cut())
    this.#cancelDial = path.dial({
      as: { role: "agent" },
      opened: ({ near }) => this.#opened(near),
      refused: () => this.#finish(1006),
    })
  }

  /** Its process is gone: the system closes the socket. */
  die(): void {
    this.#over = true
    this.#release()
    this.#end?.terminate()
  }

  leave(): void {
    this.#end?.send(encodeControl({ type: "bye" }))
    this.#end?.close(closeCodes.normal, "bye")
    this.#over = true
    this.#release()
  }

  #opened(end: ConnectionEnd): void {
    this.#end = end
    end.send(
      encodeControl({
        type: "hello",
        protocol: { min: protocolVersion, max: protocolVersion },
        instance: this.#instance,
        version: "1",
        labels: {},
        host: { hostname: "machine", os: "linux", arch: "x64" },
      }),
    )
    end.listen({
      message: (message) => this.#message(message),
      drained: () => this.up && this.#links.drained(),
      closed: (code) => this.#finish(code),
    })
  }

  #message(message: SocketMessage): void {
    if (this.#over) return
    this.#liveness?.heard()
    if (typeof message !== "string") return this.#links.message(readSlot(message), message)
    if (message === pongText) return
    const control = parseGatewayToAgent(message)
    switch (control.type) {
      case "welcome":
        return this.#welcomed()
      case "attached":
        return this.#links.attached(slot(control.slot), control.principal)
      case "detached":
        return this.#links.detached(slot(control.slot), control.ended === true)
      default:
        return assertNever(control)
    }
  }

  #welcomed(): void {
    this.#cancelHandshake()
    this.#upAtMs = this.#clock.now()
    this.#liveness = new Liveness({
      clock: this.#clock,
      ping: () => this.#end?.send(pingText),
      dead: () => this.#cut(),
    })
    this.#links.connected({
      transport: (to) => this.#transport(to),
      detach: (from, code, reason) =>
        this.up && this.#end?.send(encodeControl({ type: "detach", slot: from, code, reason: reason.slice(0, 120) })),
    })
  }

  #transport(to: Slot): Transport {
    const leg = this
    return {
      send(message) {
        if (!leg.up) return
        leg.#liveness?.sent()
        const copy = message.slice()
        writeSlot(copy, to)
        leg.#end?.send(copy)
      },
      get bufferedBytes() {
        return leg.#end?.bufferedBytes ?? 0
      },
      close() {},
    }
  }

  #cut(): void {
    this.#end?.terminate()
    this.#finish(1006)
  }

  #finish(code: number): void {
    if (this.#over) return
    this.#over = true
    this.#release()
    this.#links.disconnected()
    this.#lost(code, this.#upAtMs === undefined ? 0 : this.#clock.now() - this.#upAtMs)
  }

  #release(): void {
    this.#cancelHandshake()
    this.#cancelDial()
    this.#liveness?.stop()
  }
}
