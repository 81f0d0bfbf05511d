/** Link control messages (SPEC LC): JSON bodies outside the byte sequence, end to end between client and agent. */
import * as v from "valibot"
import { ProtocolViolation } from "../wire/frame.ts"
import { type ByteOffset, byteOffset } from "../wire/ids.ts"
import { encodeJson, parseJson } from "../wire/json.ts"
import { limits } from "../wire/limits.ts"
import { controlOffset, copyAck, linkHeaderBytes, unassignedSlot, writeLinkHeader, writeOffset } from "./link-header.ts"

const offset = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(controlOffset - 1), v.transform(byteOffset))
const windowBytes = v.pipe(v.number(), v.integer(), v.minValue(limits.linkWindowBytesMin), v.maxValue(limits.linkWindowBytesMax))
const version = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff))
/** 16 and 32 random bytes in base64url. */
const linkId = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{22}$/, "not a link id"))
const linkSecret = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{43}$/, "not a link secret"))

/** The client's first message on every transport. */
const linkHelloSchema = v.object({
  type: v.literal("hello"),
  protocol: v.object({ min: version, max: version }),
  link: linkId,
  secret: linkSecret,
  /** Counts this client's transports for the link from 1; a hello that is not newer than the last is refused. */
  attempt: v.pipe(v.number(), v.integer(), v.minValue(1)),
  received: offset,
  window: windowBytes,
})
export type LinkHello = v.InferOutput<typeof linkHelloSchema>

const linkControlSchema = v.variant("type", [
  linkHelloSchema,
  /** The agent's answer. `resumed` is false for a link that is new to it. */
  v.object({ type: v.literal("welcome"), protocol: version, received: offset, window: windowBytes, resumed: v.boolean() }),
  /** The agent's other answer. */
  v.object({ type: v.literal("refused"), code: v.pipe(v.string(), v.maxLength(64)), message: v.pipe(v.string(), v.maxLength(1024)) }),
  /** The sender now grants another window. */
  v.object({ type: v.literal("window"), window: windowBytes }),
  /** The sender has given the link up; it cannot be resumed. */
  v.object({ type: v.literal("end"), code: v.pipe(v.string(), v.maxLength(64)), message: v.pipe(v.string(), v.maxLength(1024)) }),
])
export type LinkControl = v.InferOutput<typeof linkControlSchema>

/** Throws InvalidBody. */
export const parseLinkControl = (json: Uint8Array): LinkControl => parseJson(linkControlSchema, json)

/** Ends the JSON of a control message that carries data; JSON text holds no such byte. */
const dataMark = 0

/** A control message, and the data message that it carries, which is the first of its sender (SPEC LC8). Throws InvalidBody and ProtocolViolation. */
export function readLinkControl(message: Uint8Array): { readonly control: LinkControl; readonly data: Uint8Array | undefined } {
  const body = message.subarray(linkHeaderBytes)
  const mark = body.indexOf(dataMark)
  const json = mark < 0 ? body : body.subarray(0, mark)
  if (json.byteLength > limits.controlBytesMax)
    throw new ProtocolViolation("LC1", `a control message of ${json.byteLength} bytes, allowed are ${limits.controlBytesMax}`)
  const control = parseLinkControl(json)
  if (mark < 0) return { control, data: undefined }
  if (!(control.type === "welcome" && !control.resumed) && !(control.type === "hello" && control.attempt === 1))
    throw new ProtocolViolation("LC8", `data behind a ${control.type} that may carry none`)
  const frames = body.subarray(mark + 1)
  const data = new Uint8Array(linkHeaderBytes + frames.byteLength)
  data.set(message.subarray(0, linkHeaderBytes))
  writeOffset(data, byteOffset(0))
  data.set(frames, linkHeaderBytes)
  return { control, data }
}

export function encodeLinkControl(control: LinkControl, ack: ByteOffset): Uint8Array {
  const body = encodeJson(control)
  const message = new Uint8Array(linkHeaderBytes + body.byteLength)
  writeLinkHeader(message, { slot: unassignedSlot, offset: controlOffset, ack })
  message.set(body, linkHeaderBytes)
  return message
}

/** One message of a greeting and the first data message; the ack is the data's. */
export function carrying(greeting: Uint8Array, data: Uint8Array): Uint8Array {
  const frames = data.subarray(linkHeaderBytes)
  const message = new Uint8Array(greeting.byteLength + 1 + frames.byteLength)
  message.set(greeting)
  message[greeting.byteLength] = dataMark
  message.set(frames, greeting.byteLength + 1)
  copyAck(message, data)
  return message
}
