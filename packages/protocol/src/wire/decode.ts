/** Bytes to frames. Everything is checked here, so nothing behind it sees a malformed frame. */
import { type Frame, type FrameType, frameHeaderBytes, frameTypes, ProtocolViolation, payloadBounds } from "./frame.ts"
import { streamId } from "./ids.ts"

const typeNames: ReadonlyMap<number, FrameType> = new Map(Object.entries(frameTypes).map(([name, number]) => [number, name as FrameType]))
const linkFrames: ReadonlySet<FrameType> = new Set<FrameType>(["ping", "pong", "goAway"])

/** The frames of one message body, in order. Payloads are views of `body`. Throws {@link ProtocolViolation}. */
export function decodeFrames(body: Uint8Array): Frame[] {
  const frames: Frame[] = []
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  let at = 0
  while (at < body.byteLength) {
    if (body.byteLength - at < frameHeaderBytes) throw new ProtocolViolation("FR1", "a frame header is cut short")
    const type = typeNames.get(view.getUint8(at))
    if (type === undefined) throw new ProtocolViolation("FR2", `unknown frame type ${view.getUint8(at)}`)
    const tag = view.getUint8(at + 1)
    const length = view.getUint8(at + 2) * 0x1_0000 + view.getUint16(at + 3)
    const stream = view.getUint32(at + 5)
    const { min, max } = payloadBounds[type]
    if (length < min || length > max) throw new ProtocolViolation("FR3", `${type} payload of ${length} bytes, allowed are ${min} to ${max}`)
    if (body.byteLength - at - frameHeaderBytes < length) throw new ProtocolViolation("FR1", `a ${type} frame is cut short`)
    if (linkFrames.has(type) !== (stream === 0)) throw new ProtocolViolation("FR4", `${type} frame for stream ${stream}`)
    if (type !== "data" && tag !== 0) throw new ProtocolViolation("FR5", `${type} frame with tag ${tag}`)
    const start = at + frameHeaderBytes
    frames.push(toFrame(type, stream, tag, body.subarray(start, start + length), view, start))
    at = start + length
  }
  return frames
}

function toFrame(type: FrameType, stream: number, tag: number, payload: Uint8Array, view: DataView, start: number): Frame {
  switch (type) {
    case "data":
      return { type, stream: streamId(stream), tag, bytes: payload }
    case "credit":
      return { type, stream: streamId(stream), bytes: view.getUint32(start) }
    case "fin":
      return { type, stream: streamId(stream), trailer: payload }
    case "ping":
    case "pong":
      return { type, token: payload }
    case "goAway":
      return { type, body: payload }
    default:
      return { type, stream: streamId(stream), body: payload }
  }
}
