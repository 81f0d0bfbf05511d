/**
 * The far end of a transport as a script: says literal messages, valid or not, and keeps what it hears, decoded. It obeys
 * no rule by itself; tests of a hostile or a half-dead peer are written with it.
 */
import { encodeLinkControl, type LinkControl, readLinkControl } from "../link/link-control.ts"
import { controlOffset, linkHeaderBytes, readLinkHeader, writeLinkHeader } from "../link/link-header.ts"
import type { Transport, TransportEvents } from "../ports.ts"
import { decodeFrames } from "../wire/decode.ts"
import { frameBytes, writeFrame } from "../wire/encode.ts"
import type { Frame } from "../wire/frame.ts"
import { byteOffset, slot } from "../wire/ids.ts"

export type Heard =
  | { readonly type: "control"; readonly control: LinkControl }
  | {
      readonly type: "frames"
      readonly offset: number
      readonly ack: number
      readonly bodyBytes: number
      readonly frames: readonly Frame[]
    }

export class ScriptedPeer {
  /** What the tested end is given as its transport. */
  readonly transport: Transport
  /** Everything the tested end has sent, in order. */
  readonly heard: Heard[] = []
  /** What the tested end's transport says is waiting in it. */
  bufferedBytes = 0
  /** Called inside the tested end's `send`, as no honest transport would. */
  interrupt: ((heard: Heard) => void) | undefined
  /** Set when the tested end closes its transport. */
  closed: { readonly code: number; readonly reason: string } | undefined
  /** Bytes of frames this peer has said: where its next message starts. */
  said = 0
  #events: TransportEvents | undefined

  constructor() {
    const peer = this
    this.transport = {
      get bufferedBytes() {
        return peer.bufferedBytes
      },
      send: (message) => {
        for (const heard of parse(message)) {
          this.heard.push(heard)
          this.interrupt?.(heard)
        }
      },
      close: (code, reason) => {
        this.closed ??= { code, reason }
      },
    }
  }

  /** The events of the tested end, as its attaching call returned them. */
  attach(events: TransportEvents): void {
    this.#events = events
  }

  /** Bytes as they are. */
  sayBytes(message: Uint8Array): void {
    this.#events?.message(message)
  }

  sayControl(control: LinkControl): void {
    this.sayBytes(encodeLinkControl(control, byteOffset(0)))
  }

  /** A body at an offset with an ack, whatever they are; the default is what an honest peer would say. */
  sayBody(body: Uint8Array, { offset = this.said, ack = this.heardBytes }: { readonly offset?: number; readonly ack?: number } = {}): void {
    const message = new Uint8Array(linkHeaderBytes + body.byteLength)
    writeLinkHeader(message, { slot: slot(0), offset: byteOffset(offset), ack: byteOffset(ack) })
    message.set(body, linkHeaderBytes)
    this.said = Math.max(this.said, offset + body.byteLength)
    this.sayBytes(message)
  }

  sayFrames(frames: readonly Frame[], header?: { readonly offset?: number; readonly ack?: number }): void {
    const body = new Uint8Array(frames.reduce((bytes, frame) => bytes + frameBytes(frame), 0))
    let at = 0
    for (const frame of frames) at = writeFrame(body, at, frame)
    this.sayBody(body, header)
  }

  drained(): void {
    this.#events?.drained()
  }

  hangUp(code = 1006): void {
    this.#events?.closed(code, "")
  }

  /** Bytes of the tested end's sequence that were heard: the ack of a peer that has received everything. */
  get heardBytes(): number {
    let bytes = 0
    for (const heard of this.heard) if (heard.type === "frames") bytes = Math.max(bytes, heard.offset + heard.bodyBytes)
    return bytes
  }

  get frames(): readonly Frame[] {
    return this.heard.flatMap((heard) => (heard.type === "frames" ? heard.frames : []))
  }

  get controls(): readonly LinkControl[] {
    return this.heard.flatMap((heard) => (heard.type === "control" ? [heard.control] : []))
  }
}

function parse(message: Uint8Array): readonly Heard[] {
  // A copy: the sender may patch the message and send it again.
  const copy = message.slice()
  const header = readLinkHeader(copy)
  if (header === undefined) throw new Error("the tested end sent a message without a link header")
  const body = copy.subarray(linkHeaderBytes)
  if (header.offset === controlOffset) {
    const { control, data } = readLinkControl(copy)
    return [{ type: "control", control }, ...(data === undefined ? [] : parse(data))]
  }
  return [{ type: "frames", offset: header.offset, ack: header.ack, bodyBytes: body.byteLength, frames: decodeFrames(body) }]
}
