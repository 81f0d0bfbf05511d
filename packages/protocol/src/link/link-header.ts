/**
 * The fixed 16 bytes in front of every binary message (SPEC LH), big-endian:
 *
 *     slot u32 | offset u48 | ack u48
 *
 * `slot` names the client inside the gateway and is the only thing the gateway ever changes. `offset` is where the
 * body starts in the link's byte sequence, or {@link controlOffset} for a link control message, which is outside
 * the sequence. `ack` is how much of the peer's sequence the sender has received.
 */
import { type ByteOffset, byteOffset, type Slot, slot } from "../wire/ids.ts"

export const linkHeaderBytes = 16

/** Reserved offset: the body is a JSON link control message. Also the bound no link ever reaches (256 TiB). */
export const controlOffset = byteOffset(0xffff_ffff_ffff)

/** The slot a client writes: the gateway puts the real one in its place. */
export const unassignedSlot = slot(0)

export interface LinkHeader {
  readonly slot: Slot
  readonly offset: ByteOffset
  readonly ack: ByteOffset
}

const viewOf = (message: Uint8Array): DataView => new DataView(message.buffer, message.byteOffset, message.byteLength)

export function writeLinkHeader(message: Uint8Array, header: LinkHeader): void {
  const view = viewOf(message)
  view.setUint32(0, header.slot)
  writeU48(view, 4, header.offset)
  writeU48(view, 10, header.ack)
}

/** The header, or undefined if the message is too short to have one. */
export function readLinkHeader(message: Uint8Array): LinkHeader | undefined {
  if (message.byteLength < linkHeaderBytes) return undefined
  const view = viewOf(message)
  return { slot: slot(view.getUint32(0)), offset: byteOffset(readU48(view, 4)), ack: byteOffset(readU48(view, 10)) }
}

/** Overwrites the slot in place; the message must hold a header. */
export const writeSlot = (message: Uint8Array, value: Slot): void => viewOf(message).setUint32(0, value)

/** Overwrites the ack in place, for a message that is sent again. */
export const writeAck = (message: Uint8Array, value: ByteOffset): void => writeU48(viewOf(message), 10, value)

/** Overwrites the offset in place. */
export const writeOffset = (message: Uint8Array, value: ByteOffset): void => writeU48(viewOf(message), 4, value)

export const copyAck = (to: Uint8Array, from: Uint8Array): void => writeAck(to, byteOffset(readU48(viewOf(from), 10)))

export const readSlot = (message: Uint8Array): Slot => slot(viewOf(message).getUint32(0))

function writeU48(view: DataView, at: number, value: number): void {
  view.setUint16(at, Math.floor(value / 0x1_0000_0000))
  view.setUint32(at + 2, value % 0x1_0000_0000)
}

const readU48 = (view: DataView, at: number): number => view.getUint16(at) * 0x1_0000_0000 + view.getUint32(at + 2)
