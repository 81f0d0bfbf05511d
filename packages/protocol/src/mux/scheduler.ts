/**
 * Who sends next (SPEC PC): control frames first, then interactive streams, then bulk, round-robin inside a class. An
 * interactive stream with more queued than one frame is no keystroke: it waits with the bulk.
 */
import type { Room } from "../link/link-user.ts"
import { frameBytes } from "../wire/encode.ts"
import { type Frame, type FrameType, frameHeaderBytes } from "../wire/frame.ts"
import { limits } from "../wire/limits.ts"
import type { MuxStream } from "./stream.ts"

/**
 * Frames that open, answer, abandon or ping and wait to be sent: a peer that makes us answer without reading our answers is
 * cut off here. MESSAGE, CREDIT and PONG do not count; each has a bound of its own.
 */
export const controlFramesMax = 4 * limits.streamsMax

const boundedElsewhere: ReadonlySet<FrameType> = new Set<FrameType>(["message", "credit", "pong"])

/** Payload below which part of a stream's bytes is not worth a message of its own. */
const sliverBytes = 4_096

export class Scheduler {
  #control: Frame[] = []
  #controlFrames = 0
  /** Insertion order is the round-robin order: a stream that has sent goes to the end. */
  readonly #ready = new Set<MuxStream>()

  get controlFrames(): number {
    return this.#controlFrames
  }

  pushControl(frame: Frame): void {
    this.#control.push(frame)
    if (!boundedElsewhere.has(frame.type)) this.#controlFrames += 1
  }

  /** Drops what is queued for a stream whose OPEN is among it, so that it is not opened at all. False when the OPEN was sent. */
  withdrawOpen(stream: MuxStream): boolean {
    if (!this.#control.some((frame) => frame.type === "open" && frame.stream === stream.id)) return false
    this.#control = this.#control.filter((frame) => !("stream" in frame && frame.stream === stream.id))
    this.#controlFrames -= 1
    return true
  }

  ready(stream: MuxStream): void {
    if (stream.sendable) this.#ready.add(stream)
  }

  forget(stream: MuxStream): void {
    this.#ready.delete(stream)
  }

  take(room: Room, sent: (frame: Frame, stream?: MuxStream) => void): Frame[] {
    const frames: Frame[] = []
    let bytes = 0
    const add = (frame: Frame, stream?: MuxStream) => {
      frames.push(frame)
      bytes += frameBytes(frame)
      sent(frame, stream)
    }

    let next = 0
    for (; next < this.#control.length; next++) {
      const frame = this.#control[next]
      if (frame === undefined) break
      // An OPEN goes before its stream's data, so nothing overtakes a control frame that has to wait for room.
      if (bytes + frameBytes(frame) > room.bytes && !(room.whole && frames.length === 0)) break
      add(frame)
      if (!boundedElsewhere.has(frame.type)) this.#controlFrames -= 1
    }
    if (next > 0) this.#control = this.#control.slice(next)
    if (this.#control.length > 0) return frames

    const takeClass = (classBytes: number, payloadMax: number, member: (stream: MuxStream) => boolean) => {
      const full: MuxStream[] = []
      // One that has sent stands behind the others and comes again: what it says in several small frames goes out in one message.
      for (const stream of this.#ready) {
        const free = classBytes - bytes - frameHeaderBytes
        if (free <= 0) break
        // A sliver now would cost a whole message: more room comes with the next acknowledgement.
        if (free < sliverBytes && stream.queuedBytes > free) continue
        if (!member(stream)) continue
        const frame = stream.take(Math.min(free, payloadMax))
        // An end whose trailer needs more room than this message has.
        if (frame === undefined && stream.sendable) continue
        this.#ready.delete(stream)
        if (frame === undefined) continue
        add(frame, stream)
        if (frameBytes(frame) < frameHeaderBytes + payloadMax) this.ready(stream)
        else full.push(stream)
      }
      // With frames of its full size a stream would make the message longer than others, who type, may have to wait for.
      for (const stream of full) this.ready(stream)
    }
    takeClass(room.bytes, limits.interactiveDataBytesMax, urgent)
    takeClass(Math.min(room.bytes, room.bulkBytes), room.bulkPayloadBytes, (stream) => !urgent(stream))
    return frames
  }
}

const urgent = (stream: MuxStream): boolean => stream.class === "interactive" && stream.queuedBytes <= limits.interactiveDataBytesMax
