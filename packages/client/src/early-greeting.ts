/**
 * The way of a link that greets before there is a socket, because its dial can hand a message to the agent: a round trip to wherever the agent's connection ends is
 * saved. It holds what the link says until the dial has come to something, and knows what of it may have been heard.
 */
import type { Transport } from "@trunkline/protocol"

/** Bytes of a message that a dial takes along. */
const dialledBytesMax = 8_192

type Stage =
  /** Nobody has heard anything. */
  | { readonly type: "held" }
  /** The dial has the first message, and has not said what became of it. */
  | { readonly type: "dialled" }
  | { readonly type: "open"; readonly transport: Transport }

export class EarlyGreeting implements Transport {
  #held: Uint8Array[] = []
  #stage: Stage = { type: "held" }

  /** What the dial is to hand over, once the link has spoken; undefined for what is too large to travel so. */
  dial(): Uint8Array | undefined {
    const [first] = this.#held
    if (first === undefined || first.byteLength > dialledBytesMax) return undefined
    this.#stage = { type: "dialled" }
    return first
  }

  /** The dial has come to nothing, or to a gateway that has handed nothing over. */
  returned(): void {
    if (this.#stage.type === "dialled") this.#stage = { type: "held" }
  }

  /** The agent is there: what it has not been handed goes to it, and all that follows. */
  open(transport: Transport): void {
    const [, ...rest] = this.#held
    const unsaid = this.#stage.type === "dialled" ? rest : this.#held
    this.#stage = { type: "open", transport }
    this.#held = []
    for (const message of unsaid) transport.send(message)
  }

  get isOpen(): boolean {
    return this.#stage.type === "open"
  }

  /** Nothing of the link can have reached the agent. */
  get isUnheard(): boolean {
    return this.#stage.type === "held"
  }

  send(message: Uint8Array): void {
    if (this.#stage.type === "open") this.#stage.transport.send(message)
    // A copy: the link may use its memory again once it has ended.
    else this.#held.push(message.slice())
  }

  /** Full after the first message: what comes later may find another way open. */
  get bufferedBytes(): number {
    if (this.#stage.type === "open") return this.#stage.transport.bufferedBytes
    return this.#held.length === 0 ? 0 : Number.POSITIVE_INFINITY
  }

  close(code: number, reason: string): void {
    if (this.#stage.type === "open") this.#stage.transport.close(code, reason)
  }
}
