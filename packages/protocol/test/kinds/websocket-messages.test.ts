import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  encodeClose,
  encodePiece,
  InvalidBody,
  isWebSocketCloseCode,
  limits,
  PieceReader,
  pieceHeader,
  readClose,
  readWebSocketEnd,
  TunnelError,
  type WebSocketOpcode,
  type WebSocketPiece,
  webSocketEnd,
  webSocketOpcodes,
} from "../../src/index.ts"

const { text, binary, close, ping, pong } = webSocketOpcodes
const utf8 = (value: string): Uint8Array => new TextEncoder().encode(value)
const joined = (parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]))

interface Message {
  readonly opcode: WebSocketOpcode
  readonly payload: readonly number[]
}

/** Whole messages of the pieces, a control message where it stood. */
class Messages {
  readonly all: Message[] = []
  readonly #open: number[] = []

  readonly take = ({ opcode, last, payload }: WebSocketPiece): void => {
    if (opcode >= close) this.all.push({ opcode, payload: [...payload] })
    else {
      this.#open.push(...payload)
      if (last) this.all.push({ opcode, payload: this.#open.splice(0) })
    }
  }
}

const read = (bytes: readonly Uint8Array[]): readonly Message[] => {
  const messages = new Messages()
  const reader = new PieceReader(messages.take)
  for (const part of bytes) reader.push(part)
  return messages.all
}

/** Messages, each in some pieces with control messages between them, and the bytes they make. */
const conversation = fc
  .array(
    fc.record({
      opcode: fc.constantFrom(text, binary),
      parts: fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 4 }),
      control: fc.option(fc.record({ opcode: fc.constantFrom(ping, pong), payload: fc.uint8Array({ maxLength: 125 }) }), {
        nil: undefined,
      }),
    }),
    { maxLength: 8 },
  )
  .map((messages) => {
    const pieces: Uint8Array[] = []
    const expected: Message[] = []
    for (const { opcode, parts, control } of messages) {
      for (const [index, part] of parts.entries()) {
        const last = index === parts.length - 1
        pieces.push(encodePiece(opcode, part, last))
        if (last || control === undefined) continue
        pieces.push(encodePiece(control.opcode, control.payload))
        expected.push({ opcode: control.opcode, payload: [...control.payload] })
      }
      expected.push({ opcode, payload: [...joined(parts)] })
    }
    return { bytes: joined(pieces), expected }
  })

describe("[KW3] pieces", () => {
  test("make the same messages however the bytes are cut", () => {
    fc.assert(
      fc.property(conversation, fc.array(fc.nat({ max: 60 }), { minLength: 1, maxLength: 30 }), ({ bytes, expected }, sizes) => {
        const parts: Uint8Array[] = []
        for (let at = 0, turn = 0; at < bytes.byteLength; turn++) {
          // Never none for ever: every round of the sizes moves on by one byte at least.
          const size = Math.max(turn % sizes.length === 0 ? 1 : 0, sizes[turn % sizes.length] ?? 1)
          parts.push(bytes.subarray(at, at + size))
          at += size
        }
        expect(read(parts)).toEqual(expected)
        expect(read([bytes])).toEqual(expected)
      }),
    )
  })

  test("are a header and the payload behind it", () => {
    expect([...encodePiece(binary, Uint8Array.of(7, 8))]).toEqual([0x82, 0, 0, 0, 2, 7, 8])
    expect([...encodePiece(text, utf8("é"), false)]).toEqual([0x01, 0, 0, 0, 2, 0xc3, 0xa9])
    expect([...pieceHeader(text, 70_000)]).toEqual([0x81, 0, 1, 0x11, 0x70])
  })

  test("are given out in parts as they come, without waiting for their end", () => {
    const parts: WebSocketPiece[] = []
    const reader = new PieceReader((piece) => parts.push(piece))
    reader.push(pieceHeader(binary, 5))
    reader.push(Uint8Array.of(1, 2))
    expect(parts).toEqual([{ opcode: binary, last: false, payload: Uint8Array.of(1, 2) }])
    reader.push(Uint8Array.of(3, 4, 5))
    expect(parts.at(-1)).toEqual({ opcode: binary, last: true, payload: Uint8Array.of(3, 4, 5) })
  })

  test("without payload count only where they end a message", () => {
    const parts: WebSocketPiece[] = []
    const reader = new PieceReader((piece) => parts.push(piece))
    const none = new Uint8Array(0)
    for (let count = 0; count < 1_000; count++) reader.push(encodePiece(text, none, false))
    expect(parts).toEqual([])
    reader.push(encodePiece(text, none))
    expect(parts).toEqual([{ opcode: text, last: true, payload: none }])
  })

  test("may make a message as long as the limit and no byte longer", () => {
    const bytesMax = limits.webSocketMessageBytesMax
    expect(() => read([pieceHeader(binary, bytesMax)])).not.toThrow()
    expect(() => read([pieceHeader(binary, bytesMax + 1)])).toThrow(InvalidBody)
    const first = encodePiece(binary, new Uint8Array(10), false)
    expect(() => read([first, pieceHeader(binary, bytesMax - 10)])).not.toThrow()
    expect(() => read([first, pieceHeader(binary, bytesMax - 9)])).toThrow(InvalidBody)
  })

  test.each([
    ["of no type", [0x80, 0, 0, 0, 0]],
    ["of a continuation", [0x80, 0, 0, 0, 1, 0]],
    ["of a reserved type", [0x83, 0, 0, 0, 0]],
    ["of a reserved control type", [0x8b, 0, 0, 0, 0]],
    ["with a reserved flag", [0xc2, 0, 0, 0, 0]],
    ["of a ping in two", [0x09, 0, 0, 0, 0]],
    ["of a ping of 126 bytes", [0x89, 0, 0, 0, 126]],
    ["of binary amid a text", [0x01, 0, 0, 0, 1, 97, 0x82, 0, 0, 0, 0]],
    ["behind the close", [0x88, 0, 0, 0, 0, 0x81]],
    ["of four gigabytes", [0x82, 0xff, 0xff, 0xff, 0xff]],
  ])("%s are refused", (_, bytes) => {
    expect(() => read([Uint8Array.from(bytes)])).toThrow(InvalidBody)
    expect(() => read(bytes.map((byte) => Uint8Array.of(byte)))).toThrow(InvalidBody)
  })

  test("of any bytes at all are messages or refused", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 }), (parts) => {
        try {
          for (const { opcode } of read(parts)) expect(Object.values(webSocketOpcodes)).toContain(opcode)
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidBody)
        }
      }),
    )
  })
})

describe("[KW4] a close", () => {
  const parse = (bytes: Uint8Array) => readClose(bytes.subarray(5))

  test("carries its code and reason, or nothing", () => {
    expect(parse(encodeClose(4321, "so long, ñ"))).toEqual({ code: 4321, reason: "so long, ñ" })
    expect(parse(encodeClose(1000, ""))).toEqual({ code: 1000, reason: "" })
    expect([...encodeClose(1005, "unheard")]).toEqual([0x88, 0, 0, 0, 0])
    expect(parse(encodeClose(1005, ""))).toEqual({ code: 1005, reason: "" })
  })

  test("with a reason that is too long has as many whole characters of it as fit", () => {
    const bytes = encodeClose(1000, "€".repeat(100))
    expect(bytes.byteLength).toBeLessThanOrEqual(5 + 125)
    expect(parse(bytes).reason).toBe("€".repeat(41))
    expect(parse(encodeClose(1000, `${"a".repeat(122)}🦊`)).reason).toBe("a".repeat(122))
  })

  test("ends its side", () => {
    const messages = new Messages()
    const reader = new PieceReader(messages.take)
    reader.push(encodePiece(text, utf8("bye")))
    expect(reader.closed).toBe(false)
    reader.push(encodeClose(1001, ""))
    expect(reader.closed).toBe(true)
  })

  test.each([999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 0, 65_535])("with code %i is refused", (code) => {
    expect(isWebSocketCloseCode(code)).toBe(false)
    const payload = new Uint8Array(2)
    new DataView(payload.buffer).setUint16(0, code)
    expect(() => readClose(payload)).toThrow(InvalidBody)
  })

  test.each([1000, 1001, 1003, 1007, 1014, 3000, 4999])("with code %i is one", (code) => {
    expect(isWebSocketCloseCode(code)).toBe(true)
    expect(parse(encodeClose(code, ""))).toEqual({ code, reason: "" })
  })

  test("that never came has a reason, which older ends may not know", () => {
    const gone = new TunnelError("service-failed", "g".repeat(3_000), { delivered: "yes" })
    expect(readWebSocketEnd(webSocketEnd(gone))).toMatchObject({ code: "service-failed", message: "g".repeat(2_048), delivered: "yes" })
    expect(readWebSocketEnd({ code: "from-the-future", message: "m" })).toMatchObject({ code: "internal", message: "m" })
    for (const none of [undefined, {}, { code: 1, message: "m" }]) expect(() => readWebSocketEnd(none)).toThrow(InvalidBody)
  })

  test("of one byte, or with a reason that is no text, is refused", () => {
    expect(() => readClose(Uint8Array.of(3))).toThrow(InvalidBody)
    expect(() => readClose(Uint8Array.of(3, 232, 0xff))).toThrow(InvalidBody)
  })
})
