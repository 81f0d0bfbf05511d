/**
 * A second frame codec, slow and obvious, written from SPEC FR alone: an oracle for the fast one. It shares nothing with
 * it but the type of a frame; even its numbers are its own.
 */
import { type Frame, streamId } from "../../src/index.ts"

interface Row {
  readonly type: Frame["type"]
  readonly number: number
  readonly least: number
  readonly most: number
  readonly aboutLink: boolean
}

const rows: readonly Row[] = [
  { type: "open", number: 1, least: 2, most: 262_144, aboutLink: false },
  { type: "accept", number: 2, least: 1, most: 16_384, aboutLink: false },
  { type: "reject", number: 3, least: 2, most: 16_384, aboutLink: false },
  { type: "data", number: 4, least: 1, most: 65_536, aboutLink: false },
  { type: "message", number: 5, least: 1, most: 16_384, aboutLink: false },
  { type: "credit", number: 6, least: 4, most: 4, aboutLink: false },
  { type: "fin", number: 7, least: 0, most: 16_384, aboutLink: false },
  { type: "reset", number: 8, least: 2, most: 16_384, aboutLink: false },
  { type: "ping", number: 9, least: 8, most: 8, aboutLink: true },
  { type: "pong", number: 10, least: 8, most: 8, aboutLink: true },
  { type: "goAway", number: 11, least: 2, most: 16_384, aboutLink: true },
]

const bigEndian = (bytes: readonly number[]): number => bytes.reduce((value, byte) => value * 256 + byte, 0)
const toBigEndian = (value: number, width: number): number[] =>
  Array.from({ length: width }, (_, index) => Math.floor(value / 256 ** (width - 1 - index)) % 256)

/** The frames, or the rule that the bytes break. */
export function naiveDecode(bytes: readonly number[]): Frame[] | string {
  const frames: Frame[] = []
  let rest = [...bytes]
  while (rest.length > 0) {
    const row = rows.find(({ number }) => number === rest[0])
    if (rest.length < 9) return "FR1"
    if (row === undefined) return "FR2"
    const tag = rest[1] ?? 0
    const length = bigEndian(rest.slice(2, 5))
    const stream = bigEndian(rest.slice(5, 9))
    if (length < row.least || length > row.most) return "FR3"
    if (rest.length < 9 + length) return "FR1"
    if ((stream === 0) !== row.aboutLink) return "FR4"
    if (tag !== 0 && row.type !== "data") return "FR5"
    frames.push(build(row.type, streamId(stream), tag, rest.slice(9, 9 + length)))
    rest = rest.slice(9 + length)
  }
  return frames
}

function build(type: Frame["type"], stream: ReturnType<typeof streamId>, tag: number, payload: readonly number[]): Frame {
  const bytes = Uint8Array.from(payload)
  if (type === "data") return { type, stream, tag, bytes }
  if (type === "credit") return { type, stream, bytes: bigEndian(payload) }
  if (type === "fin") return { type, stream, trailer: bytes }
  if (type === "ping" || type === "pong") return { type, token: bytes }
  if (type === "goAway") return { type, body: bytes }
  return { type, stream, body: bytes }
}

export function naiveEncode(frames: readonly Frame[]): number[] {
  return frames.flatMap((frame) => {
    const number = rows.find(({ type }) => type === frame.type)?.number ?? 0
    const tag = frame.type === "data" ? frame.tag : 0
    const stream = "stream" in frame ? frame.stream : 0
    const payload = payloadOf(frame)
    return [number, tag, ...toBigEndian(payload.length, 3), ...toBigEndian(stream, 4), ...payload]
  })
}

function payloadOf(frame: Frame): number[] {
  if (frame.type === "credit") return toBigEndian(frame.bytes, 4)
  if (frame.type === "data") return [...frame.bytes]
  if (frame.type === "fin") return [...frame.trailer]
  if (frame.type === "ping" || frame.type === "pong") return [...frame.token]
  return [...frame.body]
}
