/** A user of a link that sends what a test queues and keeps what it is told: the link tested without a mux. */
import { type Frame, frameBytes, Link, type LinkHello, type LinkOptions, streamId, type TunnelError } from "../../src/index.ts"
import type { LinkUser, Room } from "../../src/link/link-user.ts"
import { ScriptedPeer, VirtualClock } from "../../src/testing/index.ts"

export class QueueUser implements LinkUser {
  readonly received: Frame[] = []
  readonly rooms: Room[] = []
  queue: Frame[] = []
  ended: TunnelError | undefined
  untouched: boolean | undefined
  /** Called with each frame received. */
  reaction: ((frame: Frame) => void) | undefined

  take(room: Room): readonly Frame[] {
    this.rooms.push(room)
    const frames: Frame[] = []
    let bytes = 0
    for (let frame = this.queue[0]; frame !== undefined; frame = this.queue[0]) {
      if (bytes + frameBytes(frame) > room.bytes && !(room.whole && frames.length === 0)) break
      bytes += frameBytes(frame)
      frames.push(frame)
      this.queue.shift()
    }
    return frames
  }

  receive(frame: Frame): void {
    this.received.push(frame)
    this.reaction?.(frame)
  }

  linkEnded(error: TunnelError, untouched: boolean): void {
    this.ended = error
    this.untouched = untouched
  }
}

export const hello = (attempt = 1, received = 0): LinkHello => ({
  type: "hello",
  protocol: { min: 1, max: 1 },
  link: "l".repeat(22),
  secret: "s".repeat(43),
  attempt,
  received: received as LinkHello["received"],
  window: 1_048_576,
})

export const welcome = (fields: { received?: number; window?: number; resumed?: boolean; protocol?: number } = {}) => ({
  type: "welcome" as const,
  protocol: fields.protocol ?? 1,
  received: (fields.received ?? 0) as LinkHello["received"],
  window: fields.window ?? 1_048_576,
  resumed: fields.resumed ?? false,
})

/** DATA of one stream with a payload of `bytes`: `bytes` + 9 on the wire. */
export const data = (bytes: number, value = 0): Frame => ({
  type: "data",
  stream: streamId(1),
  tag: 0,
  bytes: new Uint8Array(bytes).fill(value),
})

export interface Bench {
  readonly clock: VirtualClock
  readonly user: QueueUser
  readonly link: Link
  readonly detached: { count: number }
  /** A new peer on a new transport, greeted. */
  start(): ScriptedPeer
  resume(attempt: number): ScriptedPeer
}

/** A client's link; `start` it and let its peer answer. */
export function clientLink(options: Partial<LinkOptions> = {}): Bench {
  const clock = new VirtualClock()
  const user = new QueueUser()
  const detached = { count: 0 }
  const link = new Link({ clock, detached: () => (detached.count += 1), ...options }, user)
  const on = (attach: (peer: ScriptedPeer) => ReturnType<Link["start"]>) => {
    const peer = new ScriptedPeer()
    peer.attach(attach(peer))
    return peer
  }
  return {
    clock,
    user,
    link,
    detached,
    start: () => on((peer) => link.start(peer.transport, hello())),
    resume: (attempt) => on((peer) => link.resume(peer.transport, hello(attempt, link.received))),
  }
}

/** A client's link that was welcomed. */
export function openLink(options: Partial<LinkOptions> = {}, peerWelcome = welcome()): Bench & { readonly peer: ScriptedPeer } {
  const bench = clientLink(options)
  const peer = bench.start()
  peer.sayControl(peerWelcome)
  bench.clock.settle()
  return { ...bench, peer }
}

/** The rule that the link's end names, if it ended. */
export const brokenRule = (user: { readonly ended: TunnelError | undefined }): string | undefined => {
  const cause = user.ended?.cause
  return cause instanceof Error && "rule" in cause && typeof cause.rule === "string" ? cause.rule : undefined
}
