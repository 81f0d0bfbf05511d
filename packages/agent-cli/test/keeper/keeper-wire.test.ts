/** Frames on the keeper's socket: cut anywhere, put together again, and refused when they are too long or of no type. */
import { InvalidBody, limits } from "@trunkline/protocol"
import { describe, expect, test } from "vitest"
import {
  FrameReader,
  frameHeaderBytes,
  frameTypes,
  parseKeeperControl,
  parseServeControl,
  payloadBytesMax,
} from "../../src/keeper/keeper-wire.ts"

const frameOf = (type: number, payload: Uint8Array): Buffer => {
  const frame = Buffer.alloc(frameHeaderBytes + payload.byteLength)
  frame.writeUInt32BE(payload.byteLength, 0)
  frame[4] = type
  frame.set(payload, frameHeaderBytes)
  return frame
}

const payloadOf = (bytes: number, salt: number): Buffer =>
  Buffer.from(Array.from({ length: bytes }, (_, index) => (index * 7 + salt) & 0xff))

/** Gives the reader the bytes in pieces, and collects copies of what it hands out. */
function read(bytes: Uint8Array, pieceBytes: number): { readonly type: number; readonly payload: Buffer }[] {
  const frames: { type: number; payload: Buffer }[] = []
  const reader = new FrameReader((type, payload) => frames.push({ type, payload: Buffer.from(payload) }))
  for (let at = 0; at < bytes.byteLength; ) {
    const { room } = reader
    const piece = bytes.subarray(at, at + Math.min(pieceBytes, room.byteLength))
    room.set(piece)
    reader.filled(piece.byteLength)
    at += piece.byteLength
  }
  return frames
}

describe("frames", () => {
  const sizes = [0, 1, 16, 4_096, 65_561, 3, 262_144, 100]
  const sent = sizes.map((bytes, index) => ({ type: index % 2, payload: payloadOf(bytes, index) }))
  const bytes = Buffer.concat(sent.map(({ type, payload }) => frameOf(type, payload)))

  test.each([1, 4, 5, 6, 1_000, 65_536, 212_992, 10_000_000])("arrive whole and in order in pieces of %i bytes", (pieceBytes) => {
    expect(read(bytes, pieceBytes)).toEqual(sent)
  })

  test("of the largest sizes arrive, beyond what the reader holds at first, and small ones after them", () => {
    const largest = [
      { type: frameTypes.message, payload: payloadOf(limits.messageBytesMax, 1) },
      { type: frameTypes.control, payload: payloadOf(5_000_000, 2) },
      { type: frameTypes.message, payload: payloadOf(limits.messageBytesMax, 3) },
      { type: frameTypes.passed, payload: payloadOf(6, 4) },
    ]
    const stream = Buffer.concat(largest.map(({ type, payload }) => frameOf(type, payload)))
    for (const frames of [read(stream, 200_000), read(stream, 100_000_000)]) {
      expect(frames.map(({ type, payload }) => [type, payload.byteLength])).toEqual(
        largest.map(({ type, payload }) => [type, payload.byteLength]),
      )
      expect(frames.every(({ payload }, index) => payload.equals(largest[index]?.payload ?? Buffer.alloc(0)))).toBe(true)
    }
  })

  test.each(Object.values(frameTypes))("of type %i above their bound are refused by their header alone", (type) => {
    const header = frameOf(type, new Uint8Array())
    header.writeUInt32BE(payloadBytesMax[type] + 1, 0)
    expect(() => read(header, 5)).toThrow(InvalidBody)
  })

  test("of an unknown type are refused", () => {
    expect(() => read(frameOf(3, new Uint8Array(1)), 100)).toThrow(InvalidBody)
  })
})

describe("control messages", () => {
  const encode = (value: unknown) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value))

  test.each([
    "{",
    [],
    { type: "dance" },
    { type: "hello" },
    { type: "attached", slot: -1, principal: { id: "", scopes: [] } },
    { type: "end", code: "toString", message: "" },
    { type: "connected", connection: 1.5 },
  ])("of serve that are malformed are refused: %j", (value) => {
    expect(() => parseServeControl(encode(value))).toThrow(InvalidBody)
  })

  test.each([
    { type: "welcome" },
    { type: "detach", slot: 1, code: 99, reason: "" },
    { type: "log", level: "toString", event: "", fields: {} },
  ])("of a keeper that are malformed are refused: %j", (value) => {
    expect(() => parseKeeperControl(encode(value))).toThrow(InvalidBody)
  })

  test("may have fields of a newer version", () => {
    expect(parseServeControl(encode({ type: "drain", soon: true }))).toEqual({ type: "drain" })
  })
})
