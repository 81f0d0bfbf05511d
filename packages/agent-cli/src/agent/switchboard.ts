/**
 * Several ways in over one keeper: the connection to the gateway, and clients who dial this machine. The keeper sees one leg.
 * Every client gets a slot here that is never given to another while the keeper is ours, so what is still on its way to one that
 * has left reaches nobody, whichever way it came.
 */
import { type Principal, readSlot, type Slot, slot as toSlot, writeSlot } from "@trunkline/protocol"
import type { GatewayLeg, SlotEvents } from "./connection.ts"

/** Where a client's messages go. */
export interface ClientLine {
  /** A link message. The bytes are free again when it returns. */
  send(message: Uint8Array): void
  close(code: number, reason: string): void
}

/** Where clients come from. */
export interface ClientSource {
  setReading(reading: boolean): void
}

export class Switchboard implements GatewayLeg {
  readonly #keeper: SlotEvents
  readonly #lines = new Map<Slot, ClientLine>()
  readonly #sources = new Set<ClientSource>()
  #gateway: GatewayLeg | undefined
  #nextSlot = 1
  #reading = true

  constructor(keeper: SlotEvents) {
    this.#keeper = keeper
    keeper.connected(this)
  }

  addSource(source: ClientSource): void {
    this.#sources.add(source)
    if (!this.#reading) source.setReading(false)
  }

  attach(line: ClientLine, principal: Principal): Slot {
    const slot = toSlot(this.#nextSlot)
    this.#nextSlot += 1
    this.#lines.set(slot, line)
    this.#keeper.attached(slot, principal)
    return slot
  }

  /** The client has left by itself; `ended` with its link. */
  detached(slot: Slot, ended: boolean): void {
    if (this.#lines.delete(slot)) this.#keeper.detached(slot, ended)
  }

  /** From a client. The bytes belong to the keeper from now on. */
  message(slot: Slot, message: Uint8Array): void {
    if (!this.#lines.has(slot)) return
    writeSlot(message, slot)
    this.#keeper.message(message)
  }

  /** What is behind the slots of the gateway's connections, one after the other. */
  gatewaySlots(): SlotEvents {
    const slots = new Map<Slot, Slot>()
    const release = (theirs: Slot, ended = false) => {
      const ours = slots.get(theirs)
      slots.delete(theirs)
      if (ours !== undefined) this.detached(ours, ended)
    }
    return {
      connected: (leg) => {
        this.#gateway = leg
        this.addSource(leg)
      },
      disconnected: () => {
        if (this.#gateway === undefined) return
        this.#sources.delete(this.#gateway)
        this.#gateway = undefined
        for (const theirs of [...slots.keys()]) release(theirs)
        // What waited in its socket waits no more.
        this.#keeper.drained()
      },
      attached: (theirs, principal) => {
        release(theirs)
        const leg = this.#gateway
        const line: ClientLine = {
          send(message) {
            writeSlot(message, theirs)
            leg?.send(message)
          },
          // The gateway tells us that it is gone, as of any other.
          close: (code, reason) => leg?.detach(theirs, code, reason),
        }
        slots.set(theirs, this.attach(line, principal))
      },
      detached: release,
      message: (message) => {
        const ours = slots.get(readSlot(message))
        if (ours !== undefined) this.message(ours, message)
      },
      drained: () => this.#keeper.drained(),
    }
  }

  send(message: Uint8Array): void {
    this.#lines.get(readSlot(message))?.send(message)
  }

  /** Only the gateway's, which all its clients share: one client who dialled us must not hold up the others. */
  get bufferedBytes(): number {
    return this.#gateway?.bufferedBytes ?? 0
  }

  detach(slot: Slot, code: number, reason: string): void {
    const line = this.#lines.get(slot)
    this.#lines.delete(slot)
    line?.close(code, reason)
  }

  setReading(reading: boolean): void {
    if (reading === this.#reading) return
    this.#reading = reading
    for (const source of this.#sources) source.setReading(reading)
  }
}
