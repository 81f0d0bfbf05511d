/** The golden vectors, replayed. Any other implementation can do the same with the JSON files. */
import { describe, expect, test } from "vitest"
import {
  byteOffset,
  decodeFrames,
  encodeControl,
  encodeLinkControl,
  type Frame,
  frameBytes,
  InvalidBody,
  linkHeaderBytes,
  ProtocolViolation,
  parseAgentControl,
  parseGatewayToAgent,
  parseGatewayToClient,
  parseLinkControl,
  readLinkHeader,
  slot,
  writeFrame,
  writeLinkHeader,
} from "../../src/index.ts"
import frameVectors from "../../vectors/frames.json" with { type: "json" }
import controlVectors from "../../vectors/link-control.json" with { type: "json" }
import headerVectors from "../../vectors/link-headers.json" with { type: "json" }
import textVectors from "../../vectors/text-control.json" with { type: "json" }

const fromHex = (hex: string): Uint8Array => Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16))
const toHex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")
const utf8 = new TextEncoder()

/** A frame as the vectors write it: payloads in hex, under their name with "Hex". */
const described = (frame: Frame): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(frame).map(([key, value]) => (value instanceof Uint8Array ? [`${key}Hex`, toHex(value)] : [key, value])),
  )

describe("link header vectors", () => {
  test.each(headerVectors.valid)("[LH1] $title", ({ hex, slot: slotNumber, offset, ack }) => {
    expect(readLinkHeader(fromHex(hex))).toEqual({ slot: slotNumber, offset, ack })
    const written = new Uint8Array(linkHeaderBytes + 1)
    writeLinkHeader(written, { slot: slot(slotNumber), offset: byteOffset(offset), ack: byteOffset(ack) })
    expect(toHex(written)).toBe(`${hex}00`)
  })

  test.each(headerVectors.invalid)("[LH1] $title is no header", ({ hex }) => {
    expect(readLinkHeader(fromHex(hex))).toBeUndefined()
  })
})

describe("frame vectors", () => {
  test.each(frameVectors.valid)("[FR1] $title", ({ hex, frames }) => {
    const decoded = decodeFrames(fromHex(hex))
    expect(decoded.map(described)).toEqual(frames)
    const written = new Uint8Array(decoded.reduce((total, frame) => total + frameBytes(frame), 0))
    let at = 0
    for (const frame of decoded) at = writeFrame(written, at, frame)
    expect(toHex(written)).toBe(hex)
  })

  test.each(frameVectors.invalid)("[$rule] $title", ({ hex, rule }) => {
    expect(() => decodeFrames(fromHex(hex))).toThrow(expect.objectContaining({ rule }))
    expect(() => decodeFrames(fromHex(hex))).toThrow(ProtocolViolation)
  })
})

describe("link control vectors", () => {
  test.each(controlVectors.valid)("[LC1] $title", ({ text }) => {
    const control = parseLinkControl(utf8.encode(text))
    expect(JSON.parse(text)).toMatchObject(control)
    const message = encodeLinkControl(control, byteOffset(5))
    expect(readLinkHeader(message)).toEqual({ slot: 0, offset: 2 ** 48 - 1, ack: 5 })
    expect(parseLinkControl(message.subarray(linkHeaderBytes))).toEqual(control)
  })

  test.each(controlVectors.invalid)("[LC1] $title is refused", ({ text }) => {
    expect(() => parseLinkControl(utf8.encode(text))).toThrow(InvalidBody)
  })

  test("[VR3] a field of a newer version is dropped", () => {
    expect(parseLinkControl(utf8.encode('{"type":"window","window":32768,"shiny":1}'))).toEqual({ type: "window", window: 32_768 })
  })

  test("[LC1] bytes that are not UTF-8 are refused, and so is a byte order mark", () => {
    expect(() => parseLinkControl(Uint8Array.of(0x7b, 0xff, 0x7d))).toThrow(InvalidBody)
    expect(() => parseLinkControl(utf8.encode('\ufeff{"type":"window","window":32768}'))).toThrow(InvalidBody)
  })
})

describe("text control vectors", () => {
  const parsers = { agentToGateway: parseAgentControl, gatewayToAgent: parseGatewayToAgent, gatewayToClient: parseGatewayToClient }
  const legs = Object.keys(parsers) as (keyof typeof parsers)[]

  test.each(legs.flatMap((leg) => textVectors[leg].valid.map((text) => [leg, text] as const)))("[CT2] %s takes %s", (leg, text) => {
    const control = parsers[leg](text)
    expect(JSON.parse(text)).toMatchObject(control)
    expect(parsers[leg](encodeControl(control))).toEqual(control)
  })

  test.each(legs.flatMap((leg) => textVectors[leg].invalid.map((text) => [leg, text.slice(0, 100), text] as const)))(
    "[CT2] %s refuses %s",
    (leg, _, text) => {
      expect(() => parsers[leg](text)).toThrow(InvalidBody)
    },
  )
})
