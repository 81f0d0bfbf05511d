/** One end of the socket between `serve` and its keeper: frames in and out, corked by turn, with what waits to be written. */
import { connect } from "node:net"
import type { Duplex } from "node:stream"
import { InvalidBody, linkHeaderBytes, type Slot, writeSlot } from "@trunkline/protocol"
import {
  FrameReader,
  type FrameType,
  frameHeaderBytes,
  frameTypes,
  type KeeperControl,
  passedBytes,
  type ServeControl,
} from "./keeper-wire.ts"

export interface ChannelEvents {
  /** The payload's bytes change when the call has returned. May throw `InvalidBody`, which closes the channel. */
  frame(type: FrameType, payload: Uint8Array): void
  /** Everything that was sent has been taken by the operating system. */
  drained(): void
  /** Once, whoever closed it. */
  closed(reason: string): void
}

/** Bytes of a message that are copied behind its header instead of being written by themselves: what a keystroke needs. */
const copiedBytesMax = 4_096

export class KeeperChannel {
  readonly #stream: Duplex
  readonly #reader: FrameReader
  #corked = false
  #paused = false
  #reason = "closed"

  private constructor(events: ChannelEvents, open: (channel: KeeperChannel, reader: FrameReader) => Duplex) {
    this.#reader = new FrameReader((type, payload) => {
      if (!this.#stream.destroyed) events.frame(type, payload)
    })
    this.#stream = open(this, this.#reader)
    this.#stream.on("drain", () => events.drained())
    this.#stream.on("error", (error) => {
      this.#reason = error.message
    })
    this.#stream.once("end", () => this.close("the other end hung up"))
    this.#stream.once("close", () => events.closed(this.#reason))
  }

  /** Over a stream that is open. */
  static over(stream: Duplex, events: ChannelEvents): KeeperChannel {
    return new KeeperChannel(events, (channel, reader) => {
      stream.on("data", (chunk: Buffer) => {
        for (let at = 0; at < chunk.byteLength && !stream.destroyed; ) {
          const { room } = reader
          const part = chunk.subarray(at, at + room.byteLength)
          room.set(part)
          at += part.byteLength
          channel.#filled(part.byteLength)
        }
      })
      return stream
    })
  }

  /**
   * To a socket, whose bytes are read straight into the reader's buffer: output passes here at hundreds of megabytes a
   * second. Rejects with the system's error when nobody listens there.
   */
  static connect(path: string, events: ChannelEvents): Promise<KeeperChannel> {
    const { promise, resolve, reject } = Promise.withResolvers<KeeperChannel>()
    const channel: KeeperChannel = new KeeperChannel(events, (self, reader) => {
      const callback = (bytes: number): boolean => {
        self.#filled(bytes)
        return !self.#paused
      }
      const socket = connect({ path, onread: { buffer: () => reader.room, callback } })
      return socket.once("connect", () => resolve(channel)).once("error", reject)
    })
    return promise
  }

  /** Bytes sent and not yet taken by the operating system. */
  get bufferedBytes(): number {
    return this.#stream.writableLength
  }

  control(message: ServeControl | KeeperControl): void {
    const payload = Buffer.from(JSON.stringify(message))
    this.#write(frame(frameTypes.control, payload.byteLength), payload)
  }

  /**
   * A link message to or from a slot. Its link header is copied; its body must not change until it is written, which is
   * certain before the far end can acknowledge it.
   */
  message(slot: Slot, message: Uint8Array): void {
    const whole = message.byteLength <= copiedBytesMax
    const head = frame(frameTypes.message, message.byteLength, whole ? message.byteLength : linkHeaderBytes)
    head.set(whole ? message : message.subarray(0, linkHeaderBytes), frameHeaderBytes)
    writeSlot(head.subarray(frameHeaderBytes), slot)
    if (whole) this.#write(head)
    else this.#write(head, message.subarray(linkHeaderBytes))
  }

  passed(totalBytes: number): void {
    const whole = frame(frameTypes.passed, passedBytes, passedBytes)
    whole.writeUIntBE(totalBytes, frameHeaderBytes, passedBytes)
    this.#write(whole)
  }

  /** Stops reading, so that the far end waits in the end. */
  pause(): void {
    this.#paused = true
    this.#stream.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#stream.resume()
  }

  /** Closes behind what was sent. */
  close(reason: string): void {
    if (this.#stream.destroyed) return
    if (this.#reason === "closed") this.#reason = reason
    // What an end nobody waits for still says is of no use, and reading it is how the stream comes to its close.
    this.resume()
    this.#stream.end(() => this.#stream.destroy())
  }

  /** Closes at once. */
  destroy(reason: string): void {
    this.#reason = reason
    this.#stream.destroy()
  }

  #filled(bytes: number): void {
    try {
      this.#reader.filled(bytes)
    } catch (error) {
      if (!(error instanceof InvalidBody)) throw error
      this.destroy(`the other end broke the protocol: ${error.message}`)
    }
  }

  #write(...chunks: readonly Uint8Array[]): void {
    if (this.#stream.destroyed || this.#stream.writableEnded) return
    if (!this.#corked) {
      this.#corked = true
      this.#stream.cork()
      process.nextTick(() => {
        this.#corked = false
        this.#stream.uncork()
      })
    }
    for (const chunk of chunks) this.#stream.write(chunk)
  }
}

/** A frame's header and room for so much of its payload. */
function frame(type: FrameType, payloadBytes: number, room = 0): Buffer {
  const buffer = Buffer.allocUnsafe(frameHeaderBytes + room)
  buffer.writeUInt32BE(payloadBytes, 0)
  buffer[4] = type
  return buffer
}
