/** The gateway of a `Links` under test, in memory: slots with a scripted client each, and what was asked of the port. */
import { byteOffset, type LinkHello, limits, type MuxStream, type Principal, type Slot, silentLogger, slot } from "@trunkline/protocol"
import { ScriptedPeer, VirtualClock } from "@trunkline/protocol/testing"
import { Links } from "../../src/agent/links.ts"

export const owner: Principal = { id: "owner", scopes: ["admin"] }

export interface Offer {
  readonly stream: MuxStream
  readonly body: unknown
  readonly principal: Principal
}

export class Slots {
  readonly clock = new VirtualClock()
  readonly offers: Offer[] = []
  readonly detaches: { readonly slot: number; readonly code: number; readonly reason: string }[] = []
  readonly links: Links
  /** Called for every stream that is offered. */
  onOffer: (offer: Offer) => void = () => {}
  readonly #peers = new Map<Slot, ScriptedPeer>()

  constructor() {
    this.links = new Links({
      clock: this.clock,
      logger: silentLogger,
      offered: (stream, body, principal) => {
        const offer = { stream, body, principal }
        this.offers.push(offer)
        this.onOffer(offer)
      },
    })
    this.connect()
  }

  /** A connection to the gateway, the first or another. */
  connect(): void {
    this.links.connected({
      transport: (to) => this.#peer(to).transport,
      detach: (from, code, reason) => this.detaches.push({ slot: from, code, reason }),
    })
  }

  /** A client's leg at a slot. */
  attach(number: number, principal: Principal = owner): ScriptedPeer {
    const at = slot(number)
    const peer = new ScriptedPeer()
    peer.attach({
      message: (bytes) => this.links.message(at, bytes),
      drained() {},
      closed: (code) => this.links.detached(at, code === 1000),
    })
    this.#peers.set(at, peer)
    this.links.attached(at, principal)
    return peer
  }

  /** Whether no timer is left. */
  get quiet(): boolean {
    return this.clock.run(this.clock.now())
  }

  #peer(at: Slot): ScriptedPeer {
    const peer = this.#peers.get(at)
    if (peer === undefined) throw new Error(`nobody is at slot ${at}`)
    return peer
  }
}

export const hello = (more: Partial<LinkHello> = {}): LinkHello => ({
  type: "hello",
  protocol: { min: 1, max: 1 },
  link: "L".repeat(22),
  secret: "S".repeat(43),
  attempt: 1,
  received: byteOffset(0),
  window: limits.linkWindowBytes,
  ...more,
})

/** The id of the n-th link. */
export const linkId = (number: number): string => `link${String(number).padStart(18, "0")}`
