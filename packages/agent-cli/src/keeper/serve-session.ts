/** One `serve` at the keeper: what it says is done to the links, and what the links send goes to it. */
import type { Duplex } from "node:stream"
import {
  assertNever,
  InvalidBody,
  isErrorCode,
  linkHeaderBytes,
  readSlot,
  type Slot,
  type Transport,
  TunnelError,
  slot as toSlot,
} from "@trunkline/protocol"
import type { SlotPort } from "../agent/links.ts"
import { KeeperChannel } from "./keeper-channel.ts"
import { type FrameType, frameTypes, type KeeperControl, parseServeControl, passedBytes, type ServeControl } from "./keeper-wire.ts"
import type { Kept } from "./kept.ts"
import type { LogLine } from "./log-relay.ts"

export type ServeHello = Extract<ServeControl, { type: "hello" }>

export interface SessionEvents {
  /** The first thing a serve says. */
  hello(hello: ServeHello): void
  retire(): void
  closed(): void
}

/** Bytes on the way under which links never wait for room. */
const drainedBytes = 131_072

export class ServeSession implements SlotPort {
  readonly #kept: Kept
  readonly #events: SessionEvents
  readonly #channel: KeeperChannel
  readonly #closed = new AbortController()
  #phase: "greeting" | "waiting" | "serving" | "replaced" = "greeting"
  /** There is a connection to the gateway. */
  #connected = false
  #sentBytes = 0
  #passedBytes = 0
  /** A link was told of more than it may add to, and waits for less. */
  #congested = false

  constructor(stream: Duplex, kept: Kept, events: SessionEvents) {
    this.#kept = kept
    this.#events = events
    this.#channel = KeeperChannel.over(stream, {
      frame: (type, payload) => this.#frame(type, payload),
      drained() {},
      closed: () => this.#ended(),
    })
  }

  /** Aborted once its socket is closed. */
  get closed(): AbortSignal {
    return this.#closed.signal
  }

  say(message: KeeperControl): void {
    this.#channel.control(message)
  }

  log({ level, event, fields }: LogLine): void {
    this.say({ type: "log", level, event, fields })
  }

  /** It owns the links from now on. */
  welcome(welcome: Extract<KeeperControl, { type: "welcome" }>): void {
    this.#phase = "serving"
    this.#kept.open()
    this.say(welcome)
  }

  /** Tells it to leave; what it says from now on is not heard. */
  replace(): void {
    this.#disconnected()
    this.#phase = "replaced"
    this.say({ type: "replaced" })
  }

  /** Hangs up behind what was said. */
  close(): void {
    this.#channel.close("closed by the keeper")
  }

  destroy(): void {
    this.#channel.destroy("the other end does not leave")
  }

  transport(slot: Slot): Transport {
    const session = this
    return {
      send: (message) => session.#send(slot, message),
      /** What serve has not yet handed to the operating system waits somewhere on the way and counts. */
      get bufferedBytes() {
        const bytes = session.#sentBytes - session.#passedBytes
        if (bytes > drainedBytes) session.#congested = true
        return bytes
      },
      close: (code, reason) => session.detach(slot, code, reason),
    }
  }

  detach(slot: Slot, code: number, reason: string): void {
    if (this.#connected) this.say({ type: "detach", slot, code, reason })
  }

  #send(slot: Slot, message: Uint8Array): void {
    if (!this.#connected) return
    this.#sentBytes += message.byteLength
    this.#channel.message(slot, message)
  }

  #frame(type: FrameType, payload: Uint8Array): void {
    if (this.#phase === "replaced") return
    switch (type) {
      case frameTypes.control:
        return this.#control(parseServeControl(payload))
      case frameTypes.message:
        if (payload.byteLength < linkHeaderBytes) throw new InvalidBody("a message without a link header")
        // Input waits for its process in the bytes it came in.
        if (this.#connected) this.#kept.links.message(readSlot(payload), Buffer.from(payload))
        return
      case frameTypes.passed:
        if (payload.byteLength !== passedBytes) throw new InvalidBody(`a count of ${payload.byteLength} bytes`)
        return this.#passed(Buffer.from(payload).readUIntBE(0, passedBytes))
      default:
        return assertNever(type)
    }
  }

  #passed(totalBytes: number): void {
    if (totalBytes < this.#passedBytes || totalBytes > this.#sentBytes) throw new InvalidBody("a count of what was never sent")
    this.#passedBytes = totalBytes
    if (!this.#congested) return
    this.#congested = false
    this.#kept.links.drained()
  }

  #control(message: ServeControl): void {
    if ((this.#phase === "greeting") !== (message.type === "hello")) throw new InvalidBody(`"${message.type}" out of turn`)
    const { links } = this.#kept
    switch (message.type) {
      case "hello":
        this.#phase = "waiting"
        return this.#events.hello(message)
      case "connected":
        this.#disconnected()
        this.#connected = true
        this.say({ type: "ready", connection: message.connection })
        return links.connected(this)
      case "disconnected":
        return this.#disconnected()
      case "attached":
        return links.attached(toSlot(message.slot), message.principal)
      case "detached":
        return links.detached(toSlot(message.slot), message.ended === true)
      case "drain":
        return this.#answer(this.#kept.drain(this.closed), { type: "drained" })
      case "end":
        if (isErrorCode(message.code)) this.#kept.end(new TunnelError(message.code, message.message, { delivered: "unknown" }))
        this.say({ type: "ended" })
        return this.#answer(this.#kept.gone(this.closed), { type: "gone" })
      case "kill":
        this.#kept.kill()
        return this.say({ type: "gone" })
      case "retire":
        return this.#events.retire()
      default:
        return assertNever(message)
    }
  }

  #answer(work: Promise<void>, answer: KeeperControl): void {
    work.then(
      () => this.say(answer),
      (error: unknown) => this.log({ level: "error", event: "keeper.failed", fields: { error: String(error) } }),
    )
  }

  #disconnected(): void {
    if (!this.#connected) return
    this.#connected = false
    this.#kept.links.disconnected()
  }

  #ended(): void {
    this.#disconnected()
    this.#closed.abort()
    this.#events.closed()
  }
}
