/** Memory for messages of services: a WebSocket holds the whole of one before it gives it out, however slowly it comes and is read. */
import { limits } from "@trunkline/protocol"

/** Bytes that all WebSockets of an agent hold together beyond a window each: eight of the largest messages. */
const heldBytesMax = 8 * limits.webSocketMessageBytesMax

export class MessageMemory {
  readonly #maxBytes: number
  #heldBytes = 0

  constructor(maxBytes: number = heldBytesMax) {
    this.#maxBytes = maxBytes
  }

  /** False when there is not that much left. What is held is held all the same, until it is given back as a negative number. */
  hold(bytes: number): boolean {
    this.#heldBytes += bytes
    return this.#heldBytes <= this.#maxBytes
  }
}

/** What one WebSocket holds of it, by the bytes that its connection brings. */
export class HeldMessages {
  readonly #memory: MessageMemory
  /** Of the message that is coming. */
  #comingBytes = 0
  /** Of messages that are whole, and wait in the stream. */
  #waitingBytes = 0

  constructor(memory: MessageMemory) {
    this.#memory = memory
  }

  /** False when that is too much. */
  came(bytes: number): boolean {
    return this.#set(this.#comingBytes + bytes, this.#waitingBytes)
  }

  /** Of what came that much was a control message, which is held by nobody. */
  passed(bytes: number): void {
    this.#set(Math.max(0, this.#comingBytes - bytes), this.#waitingBytes)
  }

  /** What came was a message, which is whole now. */
  whole(): void {
    this.#set(0, this.#waitingBytes + this.#comingBytes)
  }

  /** The stream has room again, or needs none any more. */
  taken(): void {
    this.#set(this.#comingBytes, 0)
  }

  /** The WebSocket is over. */
  end(): void {
    this.#set(0, 0)
  }

  #set(comingBytes: number, waitingBytes: number): boolean {
    const before = beyondWindow(this.#comingBytes + this.#waitingBytes)
    this.#comingBytes = comingBytes
    this.#waitingBytes = waitingBytes
    return this.#memory.hold(beyondWindow(comingBytes + waitingBytes) - before)
  }
}

const beyondWindow = (bytes: number): number => Math.max(0, bytes - limits.streamWindowBytes)
