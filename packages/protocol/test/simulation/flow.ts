/** One direction of one stream: who writes knows what, and who reads checks every byte against it. */
import { InvalidBody, limits, type MuxStream, TunnelError } from "../../src/index.ts"
import type { SeededRandom, VirtualClock } from "../../src/testing/index.ts"
import { check } from "./check.ts"

export interface FlowPlan {
  /** Makes this flow's bytes its own. */
  readonly salt: number
  readonly totalBytes: number
  readonly chunkBytesMax: number
  /** Milliseconds between two writes, 0 for as fast as the stream takes them. */
  readonly writePauseMs: number
  readonly messages: number
  readonly trailer: boolean
  /** Milliseconds the reader takes for each piece, 0 for at once. */
  readonly readPauseMs: number
  /** Milliseconds after its first byte during which the reader takes nothing. */
  readonly readStartsMs: number
  /** Position at which the reader finds fault with what it reads, or -1. */
  readonly faultAt: number
  /** Position at which the reader resets the stream, or -1. */
  readonly resetAt: number
  /** Its end waits for the other half's. */
  readonly endsLast: boolean
  /** One tag for all of it: pieces are as large as they can be. */
  readonly oneTag: boolean
}

const byteAt = (salt: number, at: number): number => (salt + at * 31 + (at >>> 8) * 7 + (at >>> 16) * 3) & 0xff
/** The tag changes every 3,000 bytes, so that pieces of different tags are side by side. */
const tagBytes = 3_000
const tagAt = ({ oneTag }: FlowPlan, at: number): number => (oneTag ? 0 : Math.floor(at / tagBytes) % 3)

/** Writes a flow into a stream, within what the stream takes. */
export class FlowWriter {
  readonly #stream: MuxStream
  readonly #plan: FlowPlan
  readonly #clock: VirtualClock
  readonly #random: SeededRandom
  #at = 0
  #waiting = false
  #otherEnded = false
  messagesSent = 0

  constructor(stream: MuxStream, plan: FlowPlan, clock: VirtualClock, random: SeededRandom) {
    this.#stream = stream
    this.#plan = plan
    this.#clock = clock
    this.#random = random
  }

  pump(): void {
    if (this.#waiting) return
    while (this.#stream.phase !== "closed") {
      if (this.messagesSent < this.#plan.messages && this.#random.chance(30)) this.#message()
      if (this.#at === this.#plan.totalBytes) break
      const free = this.#stream.writableBytes
      if (free === 0) return
      const untilTag = this.#plan.oneTag ? free : tagBytes - (this.#at % tagBytes)
      const length = Math.min(free, untilTag, this.#plan.totalBytes - this.#at, this.#random.integer(1, this.#plan.chunkBytesMax))
      const bytes = new Uint8Array(length)
      for (let index = 0; index < length; index++) bytes[index] = byteAt(this.#plan.salt, this.#at + index)
      this.#stream.write(tagAt(this.#plan, this.#at), bytes)
      this.#at += length
      check(this.#stream.queuedBytes <= limits.streamWindowBytes, `a queue of ${this.#stream.queuedBytes} bytes`)
      if (this.#plan.writePauseMs > 0) return this.#pause()
    }
    while (this.messagesSent < this.#plan.messages && this.#stream.phase !== "closed") this.#message()
    if (this.#plan.endsLast && !this.#otherEnded) return
    this.#stream.finish(this.#plan.trailer ? { salt: this.#plan.salt } : undefined)
  }

  /** The half that comes has ended. */
  otherEnded(): void {
    this.#otherEnded = true
    this.pump()
  }

  #pause(): void {
    this.#waiting = true
    this.#clock.schedule(this.#random.integer(1, this.#plan.writePauseMs), () => {
      this.#waiting = false
      this.pump()
    })
  }

  #message(): void {
    this.#stream.sendMessage({ salt: this.#plan.salt, number: this.messagesSent, pad: "x".repeat(this.#random.integer(0, 200)) })
    this.messagesSent += 1
  }
}

/** Reads a flow: every byte, tag, message and end in its place; gives credit back in its own time. */
export class FlowReader {
  readonly #plan: FlowPlan
  readonly #clock: VirtualClock
  readonly #pieces: number[] = []
  #reading = false
  #at = 0
  #heldCost = 0
  consumedCost = 0
  messages = 0
  finished = false
  stream: MuxStream | undefined

  constructor(plan: FlowPlan, clock: VirtualClock) {
    this.#plan = plan
    this.#clock = clock
  }

  get receivedBytes(): number {
    return this.#at
  }

  data(tag: number, bytes: Uint8Array, cost: number): void {
    check(!this.finished, "data after the end")
    for (let index = 0; index < bytes.byteLength; index++) {
      const at = this.#at + index
      if (bytes[index] !== byteAt(this.#plan.salt, at))
        check(false, `byte ${at} is ${bytes[index]}, written was ${byteAt(this.#plan.salt, at)}`)
      if (tag !== tagAt(this.#plan, at)) check(false, `byte ${at} has tag ${tag}, written was ${tagAt(this.#plan, at)}`)
    }
    const isNow = (position: number) => position >= this.#at && position < this.#at + bytes.byteLength
    const [faulty, unwanted] = [isNow(this.#plan.faultAt), isNow(this.#plan.resetAt)]
    this.#at += bytes.byteLength
    if (faulty) throw new InvalidBody("planned fault")
    if (unwanted) return this.stream?.reset(new TunnelError("aborted", "planned"))
    this.#heldCost += cost
    check(
      this.#heldCost <= (this.consumedCost === 0 ? limits.streamWindowBytes : limits.streamWindowBytesMax),
      `a reader holds ${this.#heldCost}`,
    )
    this.#pieces.push(cost)
    this.#read(this.#plan.readStartsMs > 0 && this.consumedCost === 0 ? this.#plan.readStartsMs : this.#plan.readPauseMs)
  }

  message(body: unknown): void {
    check(!this.finished, "a message after the end")
    check(
      typeof body === "object" && body !== null && "number" in body && body.number === this.messages,
      `message ${this.messages} is ${JSON.stringify(body)}`,
    )
    this.messages += 1
  }

  finish(trailer: unknown): void {
    check(!this.finished, "a second end")
    this.finished = true
    const expected = this.#plan.trailer ? JSON.stringify({ salt: this.#plan.salt }) : undefined
    check(JSON.stringify(trailer) === expected, `trailer ${JSON.stringify(trailer)}, sent was ${expected}`)
    check(this.#at === this.#plan.totalBytes, `the end after ${this.#at} of ${this.#plan.totalBytes} bytes`)
    check(this.messages === this.#plan.messages, `the end after ${this.messages} of ${this.#plan.messages} messages`)
  }

  #read(pauseMs: number): void {
    if (this.#reading) return
    if (pauseMs === 0) return this.#consume()
    this.#reading = true
    this.#clock.schedule(pauseMs, () => {
      this.#reading = false
      this.#consume()
      if (this.#pieces.length > 0) this.#read(this.#plan.readPauseMs)
    })
  }

  #consume(): void {
    const take = this.#plan.readPauseMs === 0 ? this.#pieces.length : 1
    for (const cost of this.#pieces.splice(0, take)) {
      this.#heldCost -= cost
      this.consumedCost += cost
      this.stream?.consumed(cost)
    }
  }
}
