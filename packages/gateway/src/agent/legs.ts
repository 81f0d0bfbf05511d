/**
 * Who is here: the current agent, the clients, and what each is told of the other. The newest agent wins at once;
 * every event of a socket that is not current any more is ignored.
 */
import {
  type AgentHello,
  type AgentState,
  closeCodes,
  encodeControl,
  limits,
  type Principal,
  protocolVersion,
  type Slot,
  TunnelError,
} from "@trunkline/protocol"
import type { EndpointRecord, RecordState } from "../endpoint.ts"
import { statusOf } from "./presence.ts"
import type { RecordStore } from "./record-store.ts"
import { firstFreeSlot, slotAt } from "./slots.ts"
import type { Leg, Sockets } from "./sockets.ts"

/** How many sockets a drain closed. */
export interface DrainCounts {
  readonly agents: number
  readonly clients: number
}

export type Takeover = "replace" | "reject"

export class Legs {
  readonly #sockets: Sockets
  readonly #store: RecordStore
  /** Called after each change of the record. */
  readonly #changed: () => void
  /** Both found again from the tags after a wake. */
  #agent: Leg<"agent"> | undefined
  readonly #clients = new Map<Slot, Leg<"client">>()
  /** Epoch milliseconds of the current agent's last message; 0 after a wake. */
  #heardAt = 0

  constructor(sockets: Sockets, store: RecordStore, changed: () => void) {
    this.#sockets = sockets
    this.#store = store
    this.#changed = changed
  }

  /** The open socket of the newest generation. */
  current(): Leg<"agent"> | undefined {
    if (this.#agent !== undefined && this.#sockets.isOpen(this.#agent.socket)) return this.#agent
    const generation = this.#store.record?.generation
    this.#agent = generation === undefined ? undefined : this.#sockets.agent(generation)
    return this.#agent
  }

  isCurrent(agent: Leg<"agent">): boolean {
    return agent.role.generation === this.#store.record?.generation
  }

  readonly client = (slot: Slot): Leg<"client"> | undefined => {
    const cached = this.#clients.get(slot)
    if (cached !== undefined && this.#sockets.isOpen(cached.socket)) return cached
    const found = this.#sockets.client(slot)
    if (found === undefined) this.#clients.delete(slot)
    else this.#clients.set(slot, found)
    return found
  }

  /** Notes a sign of life of the current agent. */
  heard(): void {
    this.#heardAt = Date.now()
  }

  /** Epoch milliseconds of the last sign of life of the agent that is, or was, current. */
  lastHeardAt(agent: Leg<"agent"> | undefined): number {
    const pongedAt = agent === undefined ? 0 : this.#sockets.pongedAt(agent.socket)
    return Math.max(this.#store.record?.lastSeen ?? 0, this.#heardAt, pongedAt)
  }

  /** A reset closes sockets without an event: brings the record in line with the sockets that are really here. */
  settle(): void {
    if (this.current() === undefined) this.agentGone(this.lastHeardAt(undefined))
  }

  /** A valid hello: the socket becomes the agent of the next generation, or is closed with a final code. */
  becomeAgent(socket: WebSocket, name: string, hello: AgentHello, takeover: Takeover): void {
    if (hello.protocol.min > protocolVersion || hello.protocol.max < protocolVersion) {
      const reason = `the gateway speaks protocol ${protocolVersion}, this agent ${hello.protocol.min} to ${hello.protocol.max}`
      this.#sockets.retire(socket, closeCodes.version, reason)
      return
    }
    const older = this.current()
    const record = this.#store.record
    if (
      takeover === "reject" &&
      older !== undefined &&
      record !== undefined &&
      record.instance !== hello.instance &&
      this.#isLive(record, older)
    ) {
      this.#sockets.retire(socket, closeCodes.nameInUse, `"${name}" is held by another live agent`)
      return
    }
    const now = Date.now()
    const generation = (record?.generation ?? 0) + 1
    if (older !== undefined) this.#replace(older, record?.instance === hello.instance)
    // With each return of an agent that is soon lost again all its clients would greet it and send again what it lacks.
    if (this.#isFlapping(record, generation, now)) this.#closeClients(this.#sockets.clients(), closeCodes.flapping, "upstream flapping")
    const clients = this.#sockets.clients()
    const role = { type: "agent", generation, nextSlot: firstFreeSlot(clients.map((client) => client.role.slot)) } as const
    this.#sockets.assign(socket, role)
    this.#agent = { socket, role }
    this.#heardAt = now
    const { instance, version, labels, host } = hello
    this.#write({
      name,
      generation,
      revision: (record?.revision ?? 0) + 1,
      state: "online",
      since: now,
      lastSeen: now,
      instance,
      version,
      labels,
      host,
    })
    this.#sockets.send(socket, encodeControl({ type: "welcome", protocol: protocolVersion, name, generation }))
    for (const client of clients) this.#attach(socket, client)
    this.#tellClients("back", clients)
  }

  /**
   * An agent that has dialled again is not told to stop: after a freeze the hello of a connection that it has given up may arrive behind that
   * of the one it uses, and it dials once more then.
   */
  #replace(older: Leg<"agent">, isSameAgent: boolean): void {
    if (isSameAgent) this.#sockets.retire(older.socket, closeCodes.restart, "replaced by another connection of this agent")
    else this.#sockets.retire(older.socket, closeCodes.replaced, "replaced by a newer agent")
  }

  /** Takes a client's socket for an agent that is here, or away, and says what it is to be told first. Throws a TunnelError when there is no room. */
  acceptClient(
    socket: WebSocket,
    record: EndpointRecord,
    principal: Principal,
  ): { readonly client: Leg<"client">; readonly ready: string; readonly isHere: boolean } {
    const { name, generation, instance, version } = record
    const agent = this.current()
    const clients = this.#sockets.clients()
    if (clients.length >= limits.clientsMax) {
      throw new TunnelError("too-many-clients", `"${name}" has ${clients.length} clients, the limit is ${limits.clientsMax}: retry later`)
    }
    // While no agent is here, no message can come for the last holder of a slot.
    const next = agent?.role.nextSlot ?? firstFreeSlot(clients.map((client) => client.role.slot))
    const slot = slotAt(next)
    if (slot === undefined) throw new TunnelError("overloaded", `"${name}" has used all its client slots: reconnect the agent`)
    const client = { socket, role: { type: "client", slot, principal } } as const
    this.#sockets.acceptClient(socket, client.role)
    this.#clients.set(slot, client)
    const place = agent === undefined ? "away" : "here"
    const ready = encodeControl({ type: "ready", protocol: protocolVersion, agent: place, generation, instance, version })
    if (agent === undefined) return { client, ready, isHere: false }
    const role = { ...agent.role, nextSlot: next + 1 }
    this.#sockets.assign(agent.socket, role)
    this.#agent = { socket: agent.socket, role }
    this.#attach(agent.socket, client)
    return { client, ready, isHere: true }
  }

  closeClient(client: Leg<"client">, code: number, reason: string): void {
    this.#sockets.retire(client.socket, code, reason)
    this.clientGone(client)
  }

  /** `ended` when the client has closed its leg with 1000. */
  clientGone(client: Leg<"client">, ended = false): void {
    const { slot } = client.role
    this.#clients.delete(slot)
    const agent = this.current()
    // One that was closing when the agent came was not told to it, and its slot may be another's by now.
    if (agent === undefined || this.client(slot) !== undefined) return
    this.#sockets.send(agent.socket, encodeControl({ type: "detached", slot, ...(ended ? { ended } : {}) }))
  }

  closeAgent(agent: Leg<"agent">, code: number, reason: string): void {
    const heardAt = this.lastHeardAt(agent)
    this.#sockets.retire(agent.socket, code, reason)
    this.agentGone(heardAt)
  }

  /** The current agent's socket is gone without a bye: it may come back, so clients stay. */
  agentGone(lastSeen: number): void {
    const state = this.#store.record?.state
    if (state !== "online" && state !== "draining") return
    this.#agent = undefined
    this.#change("offline", lastSeen)
    this.#tellClients("away", this.#sockets.clients())
  }

  /** Has clients dial again, who would wait here for an agent that can be reached another way. */
  sendAway(): void {
    if (this.current() === undefined) this.#closeClients(this.#sockets.clients(), closeCodes.restart, "the agent has another way in")
  }

  /** The agent takes no new clients. */
  startDraining(): void {
    if (this.#store.record?.state !== "online") return
    this.#change("draining", Date.now())
    this.#tellClients("draining", this.#sockets.clients())
  }

  /** The agent said bye: the endpoint is gone, and so are its clients. */
  stop(agent: Leg<"agent">): void {
    const clients = this.#sockets.clients()
    this.#change("stopped", Date.now())
    this.#tellClients("stopped", clients)
    this.#closeClients(clients, closeCodes.normal, "agent stopped")
    this.#sockets.retire(agent.socket, closeCodes.normal, "bye")
  }

  /** Closes every socket, agents and clients, with 1012. */
  closeAll(): DrainCounts {
    const agent = this.current()
    const pending = this.#sockets.pending()
    const clients = this.#sockets.clients()
    // Clients first: to them the close says all there is to say.
    this.#closeClients(clients, closeCodes.restart, "the gateway restarts")
    for (const leg of pending) this.#sockets.retire(leg.socket, closeCodes.restart, "the gateway restarts")
    if (agent !== undefined) this.closeAgent(agent, closeCodes.restart, "the gateway restarts")
    return { agents: pending.length + (agent === undefined ? 0 : 1), clients: clients.length }
  }

  /** An agent that starts for the first time, or again after a bye, was not lost. */
  #isFlapping(record: EndpointRecord | undefined, generation: number, now: number): boolean {
    return record !== undefined && record.state !== "stopped" && this.#store.countReconnect(generation, now) > limits.flapReconnectsMax
  }

  #closeClients(clients: readonly Leg<"client">[], code: number, reason: string): void {
    for (const client of clients) this.#sockets.retire(client.socket, code, reason)
    this.#clients.clear()
  }

  #isLive(record: EndpointRecord, agent: Leg<"agent">): boolean {
    const status = statusOf({ record, socketOpen: true, heardAt: this.lastHeardAt(agent), now: Date.now() })
    return status === "online" || status === "draining"
  }

  #attach(agent: WebSocket, client: Leg<"client">): void {
    this.#sockets.send(agent, encodeControl({ type: "attached", slot: client.role.slot, principal: client.role.principal }))
  }

  #tellClients(state: AgentState, clients: readonly Leg<"client">[]): void {
    const record = this.#store.record
    if (record === undefined) return
    const message = encodeControl({ type: "agent-state", state, generation: record.generation, instance: record.instance })
    for (const client of clients) this.#sockets.send(client.socket, message)
  }

  #change(state: RecordState, lastSeen: number): void {
    const record = this.#store.record
    if (record !== undefined) this.#write({ ...record, revision: record.revision + 1, state, since: Date.now(), lastSeen })
  }

  #write(record: EndpointRecord): void {
    this.#store.write(record)
    this.#changed()
  }
}
