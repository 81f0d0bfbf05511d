/**
 * Clients who dialled this machine: to each of them this is the gateway, with the same words and the same bounds. It looks at
 * nothing of what they say but its slot.
 */
import {
  type Clock,
  closeCodes,
  encodeControl,
  type GatewayToClient,
  limits,
  linkHeaderBytes,
  type Principal,
  pingText,
  pongText,
  protocolVersion,
  type Slot,
  unassignedSlot,
  writeSlot,
} from "@trunkline/protocol"
import { WebSocket } from "ws"
import type { ClientSource, Switchboard } from "../agent/switchboard.ts"

export interface DirectClientsOptions {
  readonly board: Switchboard
  readonly clock: Clock
  /** The keeper's, as a gateway would tell it. */
  readonly instance: string
  readonly version: string
}

/** There is one connection to the keeper in the life of this class. */
const generation = 1

interface Leg {
  readonly socket: WebSocket
  readonly slot: Slot
  heardAtMs: number
}

export class DirectClients implements ClientSource {
  readonly #options: DirectClientsOptions
  readonly #legs = new Set<Leg>()
  #reading = true
  #cancelLook: (() => void) | undefined

  constructor(options: DirectClientsOptions) {
    this.#options = options
    options.board.addSource(this)
  }

  get count(): number {
    return this.#legs.size
  }

  /** Takes a socket that is open. */
  accept(socket: WebSocket, principal: Principal): void {
    const { board, clock, instance, version } = this.#options
    this.#say(socket, { type: "ready", protocol: protocolVersion, agent: "here", generation, instance, version })
    const line = {
      send: (message: Uint8Array) => {
        // The socket writes what it was given after we have returned.
        const own = Buffer.from(message)
        writeSlot(own, unassignedSlot)
        this.#send(socket, own)
      },
      close: (code: number, reason: string) => socket.close(code, reason),
    }
    const leg: Leg = { socket, slot: board.attach(line, principal), heardAtMs: clock.now() }
    this.#legs.add(leg)
    if (!this.#reading) socket.pause()
    this.#lookLater()
    socket.on("message", (data, binary) => {
      leg.heardAtMs = clock.now()
      if (!(data instanceof Buffer) || socket.readyState !== WebSocket.OPEN) return
      if (!binary) return this.#text(socket, data.toString())
      if (data.byteLength < linkHeaderBytes) return socket.close(closeCodes.protocolError, "a binary message without a link header")
      board.message(leg.slot, data)
    })
    socket.on("ping", (payload) => {
      if (this.#hasRoom(socket)) socket.pong(payload)
    })
    // What is too long or malformed the library has answered; the close follows.
    socket.on("error", () => {})
    socket.on("close", (code) => {
      this.#legs.delete(leg)
      if (this.#legs.size === 0) this.#cancelLook?.()
      board.detached(leg.slot, code === closeCodes.normal)
    })
  }

  /** Tells those who are here that the agent is about to stop. */
  drain(): void {
    for (const { socket } of this.#legs) this.#say(socket, { type: "agent-state", state: "draining", generation })
  }

  /** The agent has stopped: clients end their links. */
  stop(): void {
    for (const { socket } of this.#legs) this.#say(socket, { type: "agent-state", state: "stopped", generation })
    this.close(closeCodes.normal, "agent stopped")
  }

  close(code: number, reason: string): void {
    for (const { socket } of this.#legs) {
      // Else its answer would not be read.
      socket.resume()
      socket.close(code, reason)
    }
  }

  setReading(reading: boolean): void {
    this.#reading = reading
    const now = this.#options.clock.now()
    for (const leg of this.#legs) {
      if (!reading) leg.socket.pause()
      else {
        leg.heardAtMs = now
        leg.socket.resume()
      }
    }
  }

  #text(socket: WebSocket, text: string): void {
    if (text === pingText) this.#send(socket, pongText)
    else socket.close(closeCodes.protocolError, "a client sends no text but pings")
  }

  #say(socket: WebSocket, control: GatewayToClient): void {
    this.#send(socket, encodeControl(control))
  }

  #send(socket: WebSocket, message: Buffer | string): void {
    if (this.#hasRoom(socket)) socket.send(message)
  }

  #hasRoom(socket: WebSocket): boolean {
    if (socket.readyState !== WebSocket.OPEN) return false
    if (socket.bufferedAmount <= limits.clientBufferedBytesMax) return true
    socket.close(closeCodes.overloaded, `more than ${limits.clientBufferedBytesMax} bytes waiting: read faster`)
    return false
  }

  /** Clients ping: one that is silent for too long has gone without a word. */
  #lookLater(): void {
    if (this.#legs.size > 1) return
    const look = () => {
      const now = this.#options.clock.now()
      if (this.#reading) for (const leg of this.#legs) if (now - leg.heardAtMs > limits.pingDeadMs) leg.socket.terminate()
      this.#cancelLook = this.#options.clock.schedule(limits.pingIntervalMs, look)
    }
    this.#cancelLook?.()
    this.#cancelLook = this.#options.clock.schedule(limits.pingIntervalMs, look)
  }
}
