/** What is behind the slots, as a list of what it was told, and the leg it was given. */
import { type Principal, readSlot, type Slot } from "@trunkline/protocol"
import type { GatewayLeg, SlotEvents } from "../../src/agent/connection.ts"

export class RecordedKeeper implements SlotEvents {
  readonly told: string[] = []
  drains = 0
  #leg: GatewayLeg | undefined
  #waiting: (() => void)[] = []

  get leg(): GatewayLeg {
    if (this.#leg === undefined) throw new Error("there is no leg")
    return this.#leg
  }

  connected(leg: GatewayLeg): void {
    this.#leg = leg
    this.#note("connected")
  }

  disconnected(): void {
    this.#note("disconnected")
  }

  attached(slot: Slot, principal: Principal): void {
    this.#note(`attached ${slot} ${principal.id}`)
  }

  detached(slot: Slot, ended: boolean): void {
    this.#note(`${ended ? "ended" : "detached"} ${slot}`)
  }

  message(message: Uint8Array): void {
    this.#note(`message ${readSlot(message)} ${Buffer.from(message.subarray(16)).toString()}`)
  }

  drained(): void {
    this.drains += 1
  }

  async until(holds: (told: readonly string[]) => boolean): Promise<void> {
    while (!holds(this.told)) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  #note(what: string): void {
    this.told.push(what)
    for (const wake of this.#waiting.splice(0)) wake()
  }
}

/** A link message with this text behind its header. */
export function linkMessage(slot: number, text: string): Buffer {
  const message = Buffer.alloc(16 + Buffer.byteLength(text))
  message.writeUInt32BE(slot, 0)
  message.write(text, 16)
  return message
}
