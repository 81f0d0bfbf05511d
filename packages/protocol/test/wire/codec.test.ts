/** The fast codec against the naive one, and against anything at all. */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { decodeFrames, type Frame, frameBytes, ProtocolViolation, streamId, writeFrame } from "../../src/index.ts"
import { naiveDecode, naiveEncode } from "./naive-codec.ts"

/** The same cases in every run, so that a failure is always the change's. */
const runs = { seed: 20_261_122, numRuns: 300 }

const stream = fc.integer({ min: 1, max: 0xffff_ffff }).map(streamId)
const bytes = (minLength: number, maxLength = 300) => fc.uint8Array({ minLength, maxLength })
const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({ type: fc.constant("open" as const), stream, body: bytes(2) }),
  fc.record({ type: fc.constant("accept" as const), stream, body: bytes(1) }),
  fc.record({ type: fc.constant("reject" as const), stream, body: bytes(2) }),
  fc.record({ type: fc.constant("data" as const), stream, tag: fc.integer({ min: 0, max: 255 }), bytes: bytes(1) }),
  fc.record({ type: fc.constant("message" as const), stream, body: bytes(1) }),
  fc.record({ type: fc.constant("credit" as const), stream, bytes: fc.integer({ min: 0, max: 0xffff_ffff }) }),
  fc.record({ type: fc.constant("fin" as const), stream, trailer: bytes(0) }),
  fc.record({ type: fc.constant("reset" as const), stream, body: bytes(2) }),
  fc.record({ type: fc.constant("ping" as const), token: bytes(8, 8) }),
  fc.record({ type: fc.constant("pong" as const), token: bytes(8, 8) }),
  fc.record({ type: fc.constant("goAway" as const), body: bytes(2) }),
)
const frameList = fc.array(frame, { maxLength: 12 })

/** Encodes at an odd place of a larger buffer, so that a forgotten byteOffset shows. */
function encode(frames: readonly Frame[]): Uint8Array {
  const length = frames.reduce((total, one) => total + frameBytes(one), 0)
  const target = new Uint8Array(length + 10).subarray(3, 3 + length)
  let at = 0
  for (const one of frames) at = writeFrame(target, at, one)
  expect(at).toBe(length)
  return target
}

/** What the fast decoder makes of bytes, in the naive one's words. */
function fastDecode(input: Uint8Array): Frame[] | string {
  try {
    return decodeFrames(input).map(plain)
  } catch (error) {
    if (error instanceof ProtocolViolation) return error.rule
    throw error
  }
}

/** Payloads as bytes of their own, whatever kind of view they were. */
const plain = (one: Frame): Frame =>
  Object.fromEntries(
    Object.entries(one).map(([key, value]) => [key, value instanceof Uint8Array ? Uint8Array.from(value) : value]),
  ) as unknown as Frame

describe("codec", () => {
  test("[FR1] any frames come back as they were, and are the bytes the naive codec writes", () => {
    fc.assert(
      fc.property(frameList, (frames) => {
        const encoded = encode(frames)
        expect([...encoded]).toEqual(naiveEncode(frames))
        expect(fastDecode(encoded)).toEqual(frames)
      }),
      runs,
    )
  })

  test("[FR1] any bytes are frames or break the rule the naive codec names", () => {
    const almost = fc
      .tuple(frameList, fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 3 }))
      .map(([frames, faults]) => {
        const encoded = Uint8Array.from(naiveEncode(frames))
        for (const [at, value] of faults) if (encoded.byteLength > 0) encoded[at % encoded.byteLength] = value
        return encoded
      })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 64 }), almost), (input) => {
        expect(fastDecode(input)).toEqual(naiveDecode([...input]))
      }),
      { ...runs, numRuns: 1_000 },
    )
  })

  test("[FR1] frames cut anywhere but between two are FR1, and never some of the frames", () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 4 }), fc.nat(), (frames, where) => {
        const encoded = Uint8Array.from(naiveEncode(frames))
        const cut = where % encoded.byteLength
        const boundaries = frames.map((_, index) => naiveEncode(frames.slice(0, index)).length)
        const decoded = fastDecode(encoded.subarray(0, cut))
        if (boundaries.includes(cut)) expect(decoded).toEqual(frames.slice(0, boundaries.indexOf(cut)))
        else expect(decoded).toBe("FR1")
      }),
      runs,
    )
  })
})
