/** Frames to bytes. */
import { assertNever, type Frame, frameHeaderBytes, frameTypes } from "./frame.ts"

const noBytes = new Uint8Array(0)

function payloadOf(frame: Frame): Uint8Array {
  switch (frame.type) {
    case "open":
    case "accept":
    case "reject":
    case "message":
    case "reset":
    case "goAway":
      return frame.body
    case "data":
      return frame.bytes
    case "fin":
      return frame.trailer
    case "ping":
    case "pong":
      return frame.token
    case "credit":
      return noBytes
    default:
      return assertNever(frame)
  }
}

/** Bytes the frame takes on the wire, header included. */
export function frameBytes(frame: Frame): number {
  if (frame.type === "credit") return frameHeaderBytes + 4
  let bytes = frameHeaderBytes + payloadOf(frame).byteLength
  if (frame.type === "data" && frame.more !== undefined) for (const piece of frame.more) bytes += piece.byteLength
  return bytes
}

/** Writes the frame at `at`; the target must have room. Returns the position after it. */
export function writeFrame(target: Uint8Array, at: number, frame: Frame): number {
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength)
  const length = frameBytes(frame) - frameHeaderBytes
  view.setUint8(at, frameTypes[frame.type])
  view.setUint8(at + 1, frame.type === "data" ? frame.tag : 0)
  view.setUint8(at + 2, length >>> 16)
  view.setUint16(at + 3, length & 0xffff)
  view.setUint32(at + 5, "stream" in frame ? frame.stream : 0)
  const body = at + frameHeaderBytes
  if (frame.type === "credit") view.setUint32(body, frame.bytes)
  else target.set(payloadOf(frame), body)
  if (frame.type === "data" && frame.more !== undefined) {
    let end = body + frame.bytes.byteLength
    for (const piece of frame.more) {
      target.set(piece, end)
      end += piece.byteLength
    }
  }
  return body + length
}
