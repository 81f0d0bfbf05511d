/**
 * A keeper as `serve` sees it: what is behind the slots of the gateway connection. Messages pass through whole in both
 * directions, and whoever does not keep up is waited for: neither side is read further than the other takes.
 */
import type { Duplex } from "node:stream"
import {
  assertNever,
  InvalidBody,
  type Logger,
  linkHeaderBytes,
  type Principal,
  readSlot,
  type Slot,
  type TunnelError,
  slot as toSlot,
} from "@trunkline/protocol"
import type { GatewayLeg, SlotEvents } from "../agent/connection.ts"
import type { Retention } from "../processes/process-table.ts"
import type { PolicySettings } from "../targets/policy-settings.ts"
import { type ChannelEvents, KeeperChannel } from "./keeper-channel.ts"
import { type FrameType, frameTypes, type KeeperControl, keeperProtocol, parseKeeperControl, type ServeControl } from "./keeper-wire.ts"

export type KeeperWelcome = Extract<KeeperControl, { type: "welcome" }>

export interface KeeperClientOptions {
  readonly logger: Logger
  /** This program's. */
  readonly version: string
  /** Of processes that are started from now on; without secrets. */
  readonly environment: Readonly<Record<string, string>>
  readonly retention?: Required<Retention>
  readonly policy?: PolicySettings
  /** Whether it goes on when this process ends. */
  readonly outlivesUs: boolean
}

/** Why a keeper is no longer ours. */
export type KeeperLoss =
  /** A newer serve has taken it over. */
  | { readonly type: "replaced" }
  /** It speaks another version of the protocol. */
  | { readonly type: "unsupported"; readonly version: string }
  | { readonly type: "gone"; readonly reason: string }

/** Bytes that the gateway's socket may have queued before the keeper is read no more: links stop far below it, but resends do not. */
const gatewayQueueBytesMax = 1_048_576
/** Bytes in that queue under which it is read again. */
const gatewayQueueLowBytes = 131_072
/** Bytes that may wait for the keeper before the gateway is read no more: what a link has in flight as a rule. */
const keeperQueueBytesMax = 1_048_576
/** Bytes after which the keeper is told that they have left: a quarter of what it stops at, and no word for a keystroke. */
const passedStepBytes = 65_536

export class KeeperClient implements SlotEvents {
  /** The first answer; undefined when the keeper was lost before. */
  readonly welcomed: Promise<KeeperWelcome | undefined>
  readonly outlivesUs: boolean
  readonly #options: KeeperClientOptions
  readonly #welcome = Promise.withResolvers<KeeperWelcome | undefined>()
  readonly #drained = Promise.withResolvers<void>()
  readonly #ended = Promise.withResolvers<void>()
  readonly #gone = Promise.withResolvers<void>()
  readonly #lost = new AbortController()
  #channel: KeeperChannel | undefined
  #instance = ""
  #loss: KeeperLoss | undefined
  #leg: GatewayLeg | undefined
  #connection = 0
  /** The connection that the keeper's messages are for: those to an earlier one, whose slots were others', are dropped. */
  #readyConnection = 0
  #receivedBytes = 0
  #passedBytes = 0

  private constructor(options: KeeperClientOptions) {
    this.#options = options
    this.outlivesUs = options.outlivesUs
    this.welcomed = this.#welcome.promise
  }

  /** To the keeper that listens on a socket. Rejects with the system's error when none does. */
  static async connect(path: string, options: KeeperClientOptions): Promise<KeeperClient> {
    const client = new KeeperClient(options)
    client.#greet(await KeeperChannel.connect(path, client.#channelEvents))
    return client
  }

  /** Over a stream that is open. */
  static over(stream: Duplex, options: KeeperClientOptions): KeeperClient {
    const client = new KeeperClient(options)
    client.#greet(KeeperChannel.over(stream, client.#channelEvents))
    return client
  }

  /** What the gateway knows this agent by; empty before the welcome. */
  get instance(): string {
    return this.#instance
  }

  /** Aborted when the keeper is no longer ours; `loss` then says why. */
  get lost(): AbortSignal {
    return this.#lost.signal
  }

  get loss(): KeeperLoss | undefined {
    return this.#loss
  }

  connected(leg: GatewayLeg): void {
    this.#leg = leg
    this.#connection += 1
    this.#say({ type: "connected", connection: this.#connection })
  }

  disconnected(): void {
    if (this.#leg === undefined) return
    this.#leg = undefined
    this.#say({ type: "disconnected" })
    this.#channel?.resume()
    this.#report()
  }

  attached(slot: Slot, principal: Principal): void {
    this.#say({ type: "attached", slot, principal: { id: principal.id, scopes: [...principal.scopes] } })
  }

  detached(slot: Slot, ended: boolean): void {
    this.#say({ type: "detached", slot, ended })
  }

  message(message: Uint8Array): void {
    if (this.#channel === undefined) return
    this.#channel.message(readSlot(message), message)
    if (this.#channel.bufferedBytes > keeperQueueBytesMax) this.#leg?.setReading(false)
  }

  /** The gateway's socket has handed something to the operating system. */
  drained(): void {
    this.#report()
    if (this.#leg !== undefined && this.#leg.bufferedBytes <= gatewayQueueLowBytes) this.#channel?.resume()
  }

  /** No new streams; resolves when none is open any more, or when the keeper is lost. */
  drain(): Promise<void> {
    this.#say({ type: "drain" })
    return this.#drained.promise
  }

  /** Ends all links; resolves when their last words have been passed on, or when the keeper is lost. */
  end({ code, message }: TunnelError): Promise<void> {
    this.#say({ type: "end", code, message })
    return this.#ended.promise
  }

  /** After `end`: resolves when no process is left that is not detached, or when the keeper is lost. `force` has them killed. */
  async gone(force: AbortSignal | undefined): Promise<void> {
    const kill = () => this.#say({ type: "kill" })
    force?.addEventListener("abort", kill, { once: true })
    if (force?.aborted === true) kill()
    await this.#gone.promise
    force?.removeEventListener("abort", kill)
  }

  /** Asks it to end, which it does if it keeps nothing. */
  retire(): void {
    this.#say({ type: "retire" })
  }

  /** Leaves everything with the keeper. */
  close(): void {
    this.#channel?.close("closed by us")
  }

  #greet(channel: KeeperChannel): void {
    this.#channel = channel
    const { version, environment, retention, policy } = this.#options
    this.#say({
      type: "hello",
      protocol: { min: keeperProtocol, max: keeperProtocol },
      version,
      environment,
      ...(retention === undefined ? {} : { retention }),
      ...(policy === undefined ? {} : { policy }),
    })
  }

  #say(message: ServeControl): void {
    this.#channel?.control(message)
  }

  readonly #channelEvents: ChannelEvents = {
    frame: (type, payload) => this.#frame(type, payload),
    drained: () => this.#leg?.setReading(true),
    closed: (reason) => this.#lose({ type: "gone", reason }),
  }

  #frame(type: FrameType, payload: Uint8Array): void {
    switch (type) {
      case frameTypes.control:
        return this.#control(parseKeeperControl(payload))
      case frameTypes.message:
        return this.#passOn(payload)
      case frameTypes.passed:
        throw new InvalidBody("a count from the keeper")
      default:
        return assertNever(type)
    }
  }

  #passOn(message: Uint8Array): void {
    if (message.byteLength < linkHeaderBytes) throw new InvalidBody("a message without a link header")
    this.#receivedBytes += message.byteLength
    const leg = this.#readyLeg
    if (leg !== undefined) {
      leg.send(message)
      if (leg.bufferedBytes > gatewayQueueBytesMax) this.#channel?.pause()
    }
    this.#report()
  }

  get #readyLeg(): GatewayLeg | undefined {
    return this.#readyConnection === this.#connection ? this.#leg : undefined
  }

  /** Tells the keeper how much has left, once it is worth a word. */
  #report(): void {
    const passedBytes = this.#receivedBytes - (this.#leg?.bufferedBytes ?? 0)
    if (passedBytes - this.#passedBytes < passedStepBytes) return
    this.#passedBytes = passedBytes
    this.#channel?.passed(passedBytes)
  }

  #control(message: KeeperControl): void {
    switch (message.type) {
      case "welcome":
        this.#instance = message.instance
        return this.#welcome.resolve(message)
      case "unsupported":
        return this.#lose({ type: "unsupported", version: message.version })
      case "replaced":
        return this.#lose({ type: "replaced" })
      case "ready":
        this.#readyConnection = message.connection
        return
      case "detach":
        return this.#readyLeg?.detach(toSlot(message.slot), message.code, message.reason)
      case "drained":
        return this.#drained.resolve()
      case "ended":
        return this.#ended.resolve()
      case "gone":
        return this.#gone.resolve()
      case "log":
        return this.#options.logger[message.level](message.event, message.fields)
      default:
        return assertNever(message)
    }
  }

  #lose(loss: KeeperLoss): void {
    if (this.#loss !== undefined) return
    this.#loss = loss
    this.#welcome.resolve(undefined)
    this.#drained.resolve()
    this.#ended.resolve()
    this.#gone.resolve()
    this.#lost.abort()
  }
}
