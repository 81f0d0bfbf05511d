/**
 * What a gateway's object does that its peers can observe (SPEC CT, CC, GW): legs, slots, generations, and the switch
 * between them. It has the faults of its kind: it forgets everything with or without telling, is restarted, stands still.
 */
import {
  type AgentState,
  agentHelloSchema,
  checkBody,
  closeCodes,
  encodeControl,
  limits,
  linkHeaderBytes,
  type Principal,
  parseAgentControl,
  pingText,
  pongText,
  protocolVersion,
  readSlot,
  slot,
  TunnelError,
  writeSlot,
} from "@trunkline/protocol"
import type { ConnectionEnd, SocketMessage } from "./connection.ts"
import type { World } from "./world.ts"

interface AgentLeg {
  readonly end: ConnectionEnd
  readonly generation: number
  nextSlot: number
}

interface ClientLeg {
  readonly end: ConnectionEnd
  readonly slot: number
  readonly principal: Principal
}

/** What survives the loss of everything else. */
interface StoredRecord {
  readonly generation: number
  readonly state: "online" | "offline" | "stopped"
  readonly sinceMs: number
  readonly instance: string
}

export class SimulatedGateway {
  readonly #world: World
  #record: StoredRecord | undefined
  #returns: number[] = []
  #agent: AgentLeg | undefined
  readonly #clients = new Map<number, ClientLeg>()
  readonly #pending = new Set<ConnectionEnd>()
  /** What came while it stood still. */
  #waiting: (() => void)[] | undefined
  /** It takes no connections. */
  down = false

  constructor(world: World) {
    this.#world = world
  }

  acceptAgent(end: ConnectionEnd): undefined {
    this.#settle()
    this.#pending.add(end)
    let leg: AgentLeg | undefined
    this.#listen(end, {
      message: (message) => {
        if (leg !== undefined) return this.#fromAgent(leg, message)
        if (!this.#pending.delete(end) || typeof message !== "string") return
        leg = this.#becomeAgent(end, checkBody(agentHelloSchema, JSON.parse(message)).instance)
      },
      closed: () => {
        this.#pending.delete(end)
        if (leg !== undefined && leg === this.#agent) this.#agentGone()
      },
    })
  }

  /** Undefined, or why not. */
  acceptClient(end: ConnectionEnd, principal: Principal): TunnelError | undefined {
    this.#settle()
    const record = this.#record
    if (record === undefined) return new TunnelError("agent-unknown", "no such agent is known")
    if (record.state === "stopped") return new TunnelError("agent-stopped", "the agent stopped")
    if (record.state === "offline" && this.#world.clock.now() - record.sinceMs > limits.agentAwayMs)
      return new TunnelError("agent-offline", "the agent lost its connection")
    const agent = this.#agent
    const client = { end, slot: agent?.nextSlot ?? this.#firstFreeSlot(), principal }
    this.#clients.set(client.slot, client)
    this.#listen(end, {
      message: (message) => this.#fromClient(client, message),
      closed: (code) => this.#clientGone(client, code === closeCodes.normal),
    })
    const { generation, instance } = record
    const place = agent === undefined ? "away" : "here"
    end.send(encodeControl({ type: "ready", protocol: protocolVersion, agent: place, generation, instance, version: "1" }))
    if (agent === undefined) return undefined
    agent.nextSlot += 1
    this.#attach(agent, client)
    return undefined
  }

  /** Loses all it has in memory. `silently`: the sockets look open to their other ends. */
  evict(silently: boolean): void {
    const ends = this.#forget()
    for (const end of ends) {
      if (silently) end.over = end.mute = true
      else end.terminate()
    }
  }

  /** Goes down for so long. */
  restart(code: "cut" | "drained", downMs: number): void {
    this.down = true
    for (const end of this.#forget()) {
      if (code === "cut") end.terminate()
      else end.close(closeCodes.restart, "the gateway restarts")
    }
    this.#world.clock.schedule(downMs, () => {
      this.down = false
    })
  }

  /** Does nothing for so long, and then all that has come meanwhile. */
  freeze(ms: number): void {
    if (this.#waiting !== undefined) return
    this.#waiting = []
    this.#world.clock.schedule(ms, () => {
      const waiting = this.#waiting ?? []
      this.#waiting = undefined
      for (const task of waiting) task()
    })
  }

  #forget(): ConnectionEnd[] {
    const ends = [...this.#pending, ...[...this.#clients.values()].map(({ end }) => end)]
    if (this.#agent !== undefined) ends.push(this.#agent.end)
    this.#agent = undefined
    this.#clients.clear()
    this.#pending.clear()
    return ends
  }

  /** Now, or when it moves again. */
  awake(task: () => void): void {
    if (this.#waiting === undefined) task()
    else this.#waiting.push(task)
  }

  #listen(end: ConnectionEnd, events: { message(message: SocketMessage): void; closed(code: number): void }): void {
    end.listen({
      message: (message) =>
        this.awake(() => {
          if (end.over) return
          if (message === pingText) end.send(pongText)
          else events.message(message)
        }),
      drained() {},
      closed: (code) => this.awake(() => events.closed(code)),
    })
  }

  /** A reset closes sockets without an event. */
  #settle(): void {
    if (this.#agent === undefined && this.#record?.state === "online") this.#agentGone()
  }

  #becomeAgent(end: ConnectionEnd, instance: string): AgentLeg {
    const now = this.#world.clock.now()
    const record = this.#record
    const generation = (record?.generation ?? 0) + 1
    if (record?.instance === instance) this.#agent?.end.close(closeCodes.restart, "replaced by another connection of this agent")
    else this.#agent?.end.close(closeCodes.replaced, "replaced by a newer agent")
    if (record !== undefined && record.state !== "stopped") {
      this.#returns = [...this.#returns.filter((at) => now - at < limits.flapWindowMs), now]
      if (this.#returns.length > limits.flapReconnectsMax) this.#closeClients(closeCodes.flapping, "upstream flapping")
    }
    const leg = { end, generation, nextSlot: this.#firstFreeSlot() }
    this.#agent = leg
    this.#record = { generation, state: "online", sinceMs: now, instance }
    this.#world.note("generation", generation)
    end.send(encodeControl({ type: "welcome", protocol: protocolVersion, name: "machine", generation }))
    for (const client of this.#clients.values()) this.#attach(leg, client)
    this.#tellClients("back")
    return leg
  }

  #fromAgent(from: AgentLeg, message: SocketMessage): void {
    if (from !== this.#agent) return
    if (typeof message === "string") {
      const control = parseAgentControl(message)
      if (control.type === "detach") {
        const client = this.#clients.get(control.slot)
        if (client === undefined) return
        client.end.close(control.code, control.reason)
        return this.#clientGone(client)
      }
      if (control.type === "bye") this.#stopped(from)
      return
    }
    const client = this.#clients.get(readSlot(message))
    if (client === undefined) return
    this.#world.require(client.end.bufferedBytes <= limits.clientBufferedBytesMax, "a client's leg is overfilled")
    writeSlot(message, slot(0))
    client.end.send(message)
  }

  #fromClient(from: ClientLeg, message: SocketMessage): void {
    if (this.#clients.get(from.slot) !== from) return
    this.#world.require(typeof message !== "string", `a client said "${String(message)}"`)
    const agent = this.#agent
    if (typeof message === "string" || agent === undefined) return
    this.#world.require(message.byteLength >= linkHeaderBytes && message.byteLength <= limits.messageBytesMax, "a message of a wrong size")
    writeSlot(message, slot(from.slot))
    agent.end.send(message)
  }

  #stopped(agent: AgentLeg): void {
    if (this.#record !== undefined) this.#record = { ...this.#record, state: "stopped", sinceMs: this.#world.clock.now() }
    this.#agent = undefined
    this.#tellClients("stopped")
    this.#closeClients(closeCodes.normal, "agent stopped")
    agent.end.close(closeCodes.normal, "bye")
  }

  #clientGone(client: ClientLeg, ended = false): void {
    if (this.#clients.get(client.slot) !== client) return
    this.#clients.delete(client.slot)
    this.#agent?.end.send(encodeControl({ type: "detached", slot: client.slot, ended }))
  }

  #agentGone(): void {
    this.#agent = undefined
    if (this.#record?.state !== "online") return
    this.#record = { ...this.#record, state: "offline", sinceMs: this.#world.clock.now() }
    this.#tellClients("away")
  }

  #attach(agent: AgentLeg, client: ClientLeg): void {
    agent.end.send(encodeControl({ type: "attached", slot: client.slot, principal: client.principal }))
  }

  #tellClients(state: AgentState): void {
    const record = this.#record
    if (record === undefined) return
    const message = encodeControl({ type: "agent-state", state, generation: record.generation, instance: record.instance })
    for (const { end } of this.#clients.values()) end.send(message)
  }

  #closeClients(code: number, reason: string): void {
    for (const { end } of this.#clients.values()) end.close(code, reason)
    this.#clients.clear()
  }

  #firstFreeSlot(): number {
    return Math.max(0, ...this.#clients.keys()) + 1
  }
}
