/**
 * One object per endpoint name: the agent's socket, its clients' sockets, and the switch between them. It hibernates
 * whenever nothing moves: no timers, no awaits and no storage on the data path, and every table can be rebuilt from
 * attachments and tags.
 */
import { DurableObject } from "cloudflare:workers"
import {
  type AgentControl,
  closeCodes,
  type EndpointName,
  errorCodes,
  InvalidBody,
  parseAgentControl,
  slot,
  TunnelError,
} from "@trunkline/protocol"
import { base64UrlDecode } from "../base64url.ts"
import type { Presence } from "../endpoint.ts"
import type { Env } from "../env.ts"
import { readHeartbeat } from "../heartbeats.ts"
import { registryOf } from "../registry/shards.ts"
import { admit } from "./admission.ts"
import { Announcer } from "./announcer.ts"
import { type DrainCounts, Legs } from "./legs.ts"
import { statusOf } from "./presence.ts"
import { RecordStore } from "./record-store.ts"
import { type Leg, Sockets } from "./sockets.ts"
import { routeFromAgent, routeFromClient } from "./switch.ts"
import { readUpgrade, type TicketUse, type Upgrade, upgraded, usedTicket } from "./upgrade.ts"

/** Agent sockets that have not said hello yet. An agent has one, or two while it redials; more is a mistake or an attack. */
const pendingMax = 4

export class AgentSocket extends DurableObject<Env> {
  readonly #sockets: Sockets
  readonly #store: RecordStore
  readonly #announcer: Announcer
  readonly #legs: Legs

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sockets = new Sockets(ctx)
    this.#store = new RecordStore(ctx.storage.sql)
    this.#announcer = new Announcer(this.#store, {
      tell: (record) => registryOf(env, record.name).announce(record),
      wakeAt: (epochMs) => ctx.storage.setAlarm(epochMs),
    })
    this.#legs = new Legs(this.#sockets, this.#store, () => {
      this.#announceSoon()
      this.#lookForUrl()
    })
  }

  /** Takes an agent's or a client's socket. A refusal has the status of its code and a body `{ code, message }`. */
  override fetch(request: Request): Response {
    this.#settle()
    const upgrade = readUpgrade(request)
    try {
      return upgrade.type === "agent" ? this.#acceptAgent(upgrade) : this.#acceptClient(upgrade)
    } catch (error) {
      if (!(error instanceof TunnelError)) throw error
      return Response.json({ code: error.code, message: error.message }, { status: errorCodes[error.code].status })
    }
  }

  /** The exact state now; null for an endpoint that stopped cleanly or never had an agent. */
  presence(): Presence | null {
    this.#settle()
    const record = this.#store.record
    if (record === undefined) return null
    const agent = this.#legs.current()
    const lastSeen = this.#legs.lastHeardAt(agent)
    const status = statusOf({ record, socketOpen: agent !== undefined, heardAt: lastSeen, now: Date.now() })
    if (status === undefined) return null
    return { ...record, status, lastSeen, clients: this.#sockets.clients().length, rttMs: null }
  }

  /** Whether this is the ticket's first use, also for a link that goes another way than over this object. */
  useTicket({ nonce, expiresAt }: TicketUse): boolean {
    return this.#store.useTicket(nonce, expiresAt, Date.now())
  }

  /** Closes every socket with 1012, before the gateway goes down for a moment; returns when the registry knows. */
  async drain(): Promise<DrainCounts> {
    const counts = this.#legs.closeAll()
    await this.#announcer.announce()
    return counts
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    const role = this.#sockets.role(socket)
    switch (role?.type) {
      case "client":
        if (typeof message === "string")
          this.#legs.closeClient({ socket, role }, closeCodes.protocolError, "a client sends no text but pings")
        else this.#fromClient({ socket, role }, new Uint8Array(message))
        return
      case "agent":
        this.#fromAgent({ socket, role }, message)
        return
      case "pending":
        this.#firstMessage({ socket, role }, message)
        return
      case "retired":
        return
      case undefined:
        this.#sockets.retire(socket, closeCodes.restart, "the gateway is another version now: dial again")
        return
    }
  }

  override webSocketClose(socket: WebSocket, code: number, reason: string, wasClean: boolean): void {
    this.#gone(socket, code, reason, wasClean)
  }

  override webSocketError(socket: WebSocket): void {
    this.#gone(socket, closeCodes.protocolError, "the connection broke", false)
  }

  /** Set only after the registry could not be told. */
  override async alarm(): Promise<void> {
    await this.#announcer.announce()
  }

  #fromClient(from: Leg<"client">, bytes: Uint8Array): void {
    const verdict = routeFromClient(bytes, from.role.slot, this.#legs.current(), this.#bufferedBytes)
    switch (verdict.type) {
      case "forward":
        this.#sockets.send(verdict.to.socket, bytes)
        return
      case "close-sender":
        this.#legs.closeClient(from, verdict.code, verdict.reason)
        return
      case "drop":
        return
    }
  }

  #fromAgent(from: Leg<"agent">, message: string | ArrayBuffer): void {
    if (!this.#legs.isCurrent(from)) return
    this.#legs.heard()
    if (typeof message === "string") {
      this.#controlFromAgent(from, message)
      return
    }
    const bytes = new Uint8Array(message)
    const verdict = routeFromAgent(bytes, this.#legs.client, this.#bufferedBytes)
    switch (verdict.type) {
      case "forward":
        this.#sockets.send(verdict.to.socket, bytes)
        return
      case "close-sender":
        this.#legs.closeAgent(from, verdict.code, verdict.reason)
        return
      case "close-receiver":
        this.#legs.closeClient(verdict.to, verdict.code, verdict.reason)
        return
      case "drop":
        return
    }
  }

  readonly #bufferedBytes = (leg: { readonly socket: WebSocket }): number => this.#sockets.bufferedBytes(leg.socket)

  #controlFromAgent(from: Leg<"agent">, message: string): void {
    this.#announceSoon()
    const control = readControl(message)
    if (control instanceof InvalidBody) {
      this.#legs.closeAgent(from, closeCodes.protocolError, control.message)
      return
    }
    switch (control.type) {
      case "hello":
        this.#legs.closeAgent(from, closeCodes.protocolError, "a second hello on one connection")
        return
      case "drain":
        this.#legs.startDraining()
        return
      case "bye":
        this.#legs.stop(from)
        return
      case "detach": {
        const client = this.#legs.client(slot(control.slot))
        if (client !== undefined) this.#legs.closeClient(client, control.code, control.reason)
        return
      }
    }
  }

  /** Until its hello is valid, a socket is nobody. */
  #firstMessage(from: Leg<"pending">, message: string | ArrayBuffer): void {
    const control = typeof message === "string" ? readControl(message) : undefined
    if (control instanceof InvalidBody) this.#sockets.retire(from.socket, closeCodes.protocolError, control.message)
    else if (control?.type !== "hello") this.#sockets.retire(from.socket, closeCodes.protocolError, "the first message must be a hello")
    else this.#legs.becomeAgent(from.socket, from.role.name, control, this.env.TAKEOVER === "reject" ? "reject" : "replace")
  }

  #acceptAgent(upgrade: Upgrade): Response {
    const pending = this.#sockets.pending().sort((left, right) => left.role.order - right.role.order)
    for (const oldest of pending.slice(0, Math.max(0, pending.length - pendingMax + 1))) {
      this.#sockets.retire(oldest.socket, closeCodes.overloaded, "too many connections without a hello")
    }
    const pair = new WebSocketPair()
    this.#sockets.acceptAgent(pair[1], { type: "pending", name: upgrade.name, order: (pending.at(-1)?.role.order ?? 0) + 1 })
    return upgraded(pair[0], upgrade)
  }

  #acceptClient(upgrade: Extract<Upgrade, { type: "client" }>): Response {
    const { name, principal, ticket, unlessAway, readyInAnswer, first } = upgrade
    const record = admit(name, this.#store.record, Date.now())
    if (unlessAway === true && this.#legs.current() === undefined) throw new TunnelError("agent-away", `the agent "${name}" is away`)
    // Used last, so that a refusal above leaves the ticket good for another try.
    if (ticket !== undefined && !this.useTicket(ticket)) throw usedTicket()
    const pair = new WebSocketPair()
    const { client, ready, isHere } = this.#legs.acceptClient(pair[1], record, principal)
    if (readyInAnswer === true) {
      const message = first === undefined || !isHere ? undefined : base64UrlDecode(first)
      if (message !== undefined) this.#fromClient(client, message)
      return upgraded(pair[0], upgrade, { ready, tookFirst: message !== undefined })
    }
    this.#sockets.send(pair[1], ready)
    return upgraded(pair[0], upgrade)
  }

  #gone(socket: WebSocket, code: number, reason: string, wasClean: boolean): void {
    const role = this.#sockets.role(socket)
    // Answered first: without it the peer waits ten seconds and sees 1006.
    this.#sockets.retire(socket, code, reason)
    if (role?.type === "client") this.#legs.clientGone({ socket, role }, code === closeCodes.normal)
    if (role?.type === "agent" && this.#legs.isCurrent({ socket, role })) {
      this.#legs.agentGone(wasClean ? Date.now() : this.#legs.lastHeardAt({ socket, role }))
    }
    this.#announceSoon()
  }

  #settle(): void {
    this.#legs.settle()
    this.#announceSoon()
  }

  /** Clients who wait for an agent that was lost dial again where there is a URL to come to it. */
  #lookForUrl(): void {
    const { record } = this.#store
    if (record?.state !== "offline" || this.#sockets.clients().length === 0) return
    const look = async () => {
      if ((await readHeartbeat(this.env.KV, record.name as EndpointName)) !== undefined) this.#legs.sendAway()
    }
    this.ctx.waitUntil(look().catch((error: unknown) => console.warn("heartbeat.unreadable", { name: record.name, error: String(error) })))
  }

  #announceSoon(): void {
    if (this.#store.dirty) this.ctx.waitUntil(this.#announcer.announce())
  }
}

function readControl(message: string): AgentControl | InvalidBody {
  try {
    return parseAgentControl(message)
  } catch (error) {
    if (error instanceof InvalidBody) return error
    throw error
  }
}
