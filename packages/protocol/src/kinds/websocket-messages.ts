/**
 * The messages of a WebSocket as a stream of bytes: pieces of `flags u8 | length u32 | payload` (SPEC KW3). Frames of the mux may be cut and
 * joined anywhere, so the boundaries are in the bytes.
 */
import * as v from "valibot"
import { isErrorCode, TunnelError } from "../errors.ts"
import { checkBody, InvalidBody } from "../wire/json.ts"
import { limits } from "../wire/limits.ts"

/** As RFC 6455 5.2 numbers them. */
export const webSocketOpcodes = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const
export type WebSocketOpcode = (typeof webSocketOpcodes)[keyof typeof webSocketOpcodes]

/** Part of a message; `last` ends it. A control message is always whole. */
export interface WebSocketPiece {
  readonly opcode: WebSocketOpcode
  readonly last: boolean
  readonly payload: Uint8Array
}

export const pieceHeaderBytes = 5
const lastFlag = 0x80
/** RFC 6455 5.5. */
const controlBytesMax = 125
/** Stands where a close has no code. It is never written in one. */
export const noCloseCode = 1005

const isOpcode = (value: number): value is WebSocketOpcode => (value >= 8 ? value <= 10 : value === 1 || value === 2)
const isControl = (opcode: WebSocketOpcode): boolean => opcode >= webSocketOpcodes.close

/** Whether a close frame may hold this code (RFC 6455 7.4 and the registry it began). */
export const isWebSocketCloseCode = (code: number): boolean =>
  Number.isInteger(code) && ((code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) || (code >= 3000 && code <= 4999))

/** The header of a piece; its payload is written behind it. */
export function pieceHeader(opcode: WebSocketOpcode, payloadBytes: number, last = true): Uint8Array {
  return writeHeader(new Uint8Array(pieceHeaderBytes), opcode, payloadBytes, last)
}

/** A piece in bytes of its own. */
export function encodePiece(opcode: WebSocketOpcode, payload: Uint8Array, last = true): Uint8Array {
  const piece = writeHeader(new Uint8Array(pieceHeaderBytes + payload.byteLength), opcode, payload.byteLength, last)
  piece.set(payload, pieceHeaderBytes)
  return piece
}

function writeHeader(target: Uint8Array, opcode: WebSocketOpcode, payloadBytes: number, last: boolean): Uint8Array {
  target[0] = opcode | (last ? lastFlag : 0)
  new DataView(target.buffer).setUint32(1, payloadBytes)
  return target
}

/** A close, with the reason cut behind a whole character where it is too long. Code 1005 says nothing, and so has no reason. */
export function encodeClose(code: number, reason: string): Uint8Array {
  if (code === noCloseCode) return encodePiece(webSocketOpcodes.close, new Uint8Array(0))
  const text = new TextEncoder().encode(reason)
  let textBytes = Math.min(text.byteLength, controlBytesMax - 2)
  while (textBytes < text.byteLength && isContinuation(text[textBytes])) textBytes -= 1
  const payload = new Uint8Array(2 + textBytes)
  new DataView(payload.buffer).setUint16(0, code)
  payload.set(text.subarray(0, textBytes), 2)
  return encodePiece(webSocketOpcodes.close, payload)
}

/** Of a character in UTF-8 that began before this byte. */
const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** The code is one that may be sent, or 1005. Throws InvalidBody. */
export function readClose(payload: Uint8Array): { readonly code: number; readonly reason: string } {
  if (payload.byteLength === 0) return { code: noCloseCode, reason: "" }
  if (payload.byteLength === 1) throw new InvalidBody("a close of one byte")
  const code = new DataView(payload.buffer, payload.byteOffset).getUint16(0)
  if (!isWebSocketCloseCode(code)) throw new InvalidBody(`a close with code ${code}, which is not for sending`)
  try {
    return { code, reason: decoder.decode(payload.subarray(2)) }
  } catch {
    throw new InvalidBody("a close whose reason is not UTF-8")
  }
}

const endSchema = v.object({ code: v.pipe(v.string(), v.maxLength(64)), message: v.pipe(v.string(), v.maxLength(2_048)) })

/** The trailer of a service that is gone without a close: why (SPEC KW4). */
export const webSocketEnd = ({ code, message }: TunnelError): v.InferInput<typeof endSchema> => ({ code, message: message.slice(0, 2_048) })

/** Throws InvalidBody. */
export function readWebSocketEnd(trailer: unknown): TunnelError {
  const { code, message } = checkBody(endSchema, trailer)
  return new TunnelError(isErrorCode(code) ? code : "internal", message, { delivered: "yes" })
}

/**
 * Cuts bytes into pieces, as they come: a long piece is given out in parts, so that nothing waits for its end, and pieces without payload
 * only where they end a message. Bytes given out are views of those put in, but for control messages.
 */
export class PieceReader {
  readonly #piece: (piece: WebSocketPiece) => void
  readonly #header = new DataView(new ArrayBuffer(pieceHeaderBytes))
  #headerLength = 0
  #opcode: WebSocketOpcode = webSocketOpcodes.binary
  #last = false
  /** Payload of the piece that is still to come. */
  #rest = 0
  /** Of a control message, until it is whole. */
  #control = new Uint8Array(0)
  /** The message whose pieces have begun and not ended. */
  #message: { readonly opcode: WebSocketOpcode; bytes: number } | undefined
  #closed = false

  constructor(piece: (piece: WebSocketPiece) => void) {
    this.#piece = piece
  }

  /** The close was there: nothing may follow. */
  get closed(): boolean {
    return this.#closed
  }

  /** Throws InvalidBody, after which nothing more may be put in. */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength; ) {
      if (this.#closed) throw new InvalidBody("bytes behind the close")
      if (this.#headerLength < pieceHeaderBytes) {
        this.#header.setUint8(this.#headerLength, bytes[at] ?? 0)
        this.#headerLength += 1
        at += 1
        if (this.#headerLength === pieceHeaderBytes) this.#begin()
        continue
      }
      const part = bytes.subarray(at, at + this.#rest)
      at += part.byteLength
      this.#rest -= part.byteLength
      this.#payload(part)
    }
  }

  #begin(): void {
    const flags = this.#header.getUint8(0)
    const opcode = flags & 0x0f
    if (!isOpcode(opcode) || (flags & 0x70) !== 0) throw new InvalidBody(`a piece with flags ${flags}`)
    this.#opcode = opcode
    this.#last = (flags & lastFlag) !== 0
    this.#rest = this.#header.getUint32(1)
    if (isControl(opcode)) {
      if (!this.#last || this.#rest > controlBytesMax)
        throw new InvalidBody(`a control message of more than ${controlBytesMax} bytes or one piece`)
      this.#control = new Uint8Array(this.#rest)
    } else {
      this.#message ??= { opcode, bytes: 0 }
      if (this.#message.opcode !== opcode) throw new InvalidBody("pieces of two messages mixed")
      this.#message.bytes += this.#rest
      if (this.#message.bytes > limits.webSocketMessageBytesMax)
        throw new InvalidBody(`a message of more than ${limits.webSocketMessageBytesMax} bytes`)
    }
    if (this.#rest === 0) this.#payload(new Uint8Array(0))
  }

  #payload(part: Uint8Array): void {
    const whole = this.#rest === 0
    if (whole) this.#headerLength = 0
    const opcode = this.#opcode
    if (isControl(opcode)) {
      this.#control.set(part, this.#control.byteLength - this.#rest - part.byteLength)
      if (!whole) return
      if (opcode === webSocketOpcodes.close) this.#closed = true
      return this.#piece({ opcode, last: true, payload: this.#control })
    }
    const last = whole && this.#last
    if (last) this.#message = undefined
    if (last || part.byteLength > 0) this.#piece({ opcode, last, payload: part })
  }
}
