/**
 * Slots: the number of a client socket in its agent's object. A client keeps its slot as long as its socket lives,
 * so the slot can be a tag, and one socket is found without listing all. 0 is what clients write themselves.
 */
import { type Slot, slot } from "@trunkline/protocol"

const slotMax = 0xffff_ffff

export const slotTag = (value: Slot): string => `slot:${value}`

/** The first number a new agent connection may give out: above every slot that is still taken. */
export const firstFreeSlot = (taken: Iterable<Slot>): number => {
  let highest = 0
  for (const value of taken) highest = Math.max(highest, value)
  return highest + 1
}

/** The slot for the next client, or undefined when this agent connection has used up all 2^32. */
export const slotAt = (next: number): Slot | undefined => (next > slotMax ? undefined : slot(next))
