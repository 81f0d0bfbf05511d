/** A mux whose peer is a script, and an owner of streams that writes down what it is told. */
import {
  encodeJson,
  type Frame,
  type LinkHello,
  Mux,
  type MuxOptions,
  type MuxStream,
  type StreamEvents,
  streamId,
  type TunnelError,
} from "../../src/index.ts"
import { ScriptedPeer, VirtualClock } from "../../src/testing/index.ts"
import { hello, welcome } from "../link/queue-user.ts"

/** Writes down what a stream's owner is told. */
export class Diary implements StreamEvents {
  readonly entries: string[] = []
  readonly costs: number[] = []
  error: TunnelError | undefined
  trailer: unknown
  react: Partial<StreamEvents> = {}

  accepted(body: unknown): void {
    this.entries.push(`accepted ${JSON.stringify(body)}`)
    this.react.accepted?.(body)
  }

  data(tag: number, bytes: Uint8Array, cost: number): void {
    this.entries.push(`data ${tag} ${bytes.byteLength}`)
    this.costs.push(cost)
    this.react.data?.(tag, bytes, cost)
  }

  message(body: unknown): void {
    this.entries.push(`message ${JSON.stringify(body)}`)
    this.react.message?.(body)
  }

  finished(trailer: unknown): void {
    this.entries.push("finished")
    this.trailer = trailer
    this.react.finished?.(trailer)
  }

  writable(): void {
    this.entries.push("writable")
    this.react.writable?.()
  }

  closed(error: TunnelError | undefined): void {
    this.entries.push(`closed ${error?.code ?? "clean"}`)
    this.error = error
    this.react.closed?.(error)
  }
}

export interface MuxBench {
  readonly clock: VirtualClock
  readonly mux: Mux
  readonly peer: ScriptedPeer
  readonly offers: { readonly stream: MuxStream; readonly body: unknown }[]
  readonly over: { error: TunnelError | undefined }
  /** Runs what is deferred and returns the frames the mux has sent since the last call. */
  sent(): readonly Frame[]
}

function bench(role: "client" | "agent", options: Partial<MuxOptions>, attach: (mux: Mux, peer: ScriptedPeer) => void): MuxBench {
  const clock = new VirtualClock()
  const offers: MuxBench["offers"] = []
  const over: MuxBench["over"] = { error: undefined }
  const mux = new Mux({
    role,
    link: { clock },
    offered: (stream, body) => offers.push({ stream, body }),
    ended: (error) => {
      over.error = error
    },
    ...options,
  })
  const peer = new ScriptedPeer()
  attach(mux, peer)
  clock.settle()
  let seen = 0
  const sent = () => {
    clock.settle()
    const frames = peer.frames.slice(seen)
    seen = peer.frames.length
    return frames
  }
  sent()
  return { clock, mux, peer, offers, over, sent }
}

/** A client whose agent is a script. */
export const clientMux = (options: Partial<MuxOptions> = {}, peerWelcome = welcome()): MuxBench =>
  bench("client", options, (mux, peer) => {
    peer.attach(mux.link.start(peer.transport, hello()))
    peer.sayControl(peerWelcome)
  })

/** An agent whose client is a script. */
export const agentMux = (options: Partial<MuxOptions> = {}, window = 1_048_576): MuxBench =>
  bench("agent", options, (mux, peer) => {
    const received = hello().received satisfies LinkHello["received"]
    peer.attach(mux.link.welcome(peer.transport, { received, window }, welcome()))
  })

export const frames = {
  open: (id: number, kind = "exec", body: unknown = {}): Frame => ({
    type: "open",
    stream: streamId(id),
    body: encodeJson({ kind, body }),
  }),
  accept: (id: number, body: unknown = {}): Frame => ({ type: "accept", stream: streamId(id), body: encodeJson(body) }),
  reject: (id: number, code = "denied", message = "no"): Frame => ({
    type: "reject",
    stream: streamId(id),
    body: encodeJson({ code, message }),
  }),
  data: (id: number, bytes: number, tag = 0): Frame => ({ type: "data", stream: streamId(id), tag, bytes: new Uint8Array(bytes) }),
  message: (id: number, body: unknown = {}): Frame => ({ type: "message", stream: streamId(id), body: encodeJson(body) }),
  credit: (id: number, bytes: number): Frame => ({ type: "credit", stream: streamId(id), bytes }),
  fin: (id: number, trailer?: unknown): Frame => ({
    type: "fin",
    stream: streamId(id),
    trailer: trailer === undefined ? new Uint8Array(0) : encodeJson(trailer),
  }),
  reset: (id: number, code = "aborted", message = "stop"): Frame => ({
    type: "reset",
    stream: streamId(id),
    body: encodeJson({ code, message }),
  }),
  ping: (value: number): Frame => ({ type: "ping", token: new Uint8Array(8).fill(value) }),
}

export const parsed = (body: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(body))

/** Frames as short words, for expectations on order. */
export const words = (list: readonly Frame[]): string[] =>
  list.map((frame) => {
    switch (frame.type) {
      case "data":
        return `data ${frame.stream} ${frame.bytes.byteLength}`
      case "credit":
        return `credit ${frame.stream} ${frame.bytes}`
      case "ping":
      case "pong":
      case "goAway":
        return frame.type
      default:
        return `${frame.type} ${frame.stream}`
    }
  })
