/**
 * What `serve` and its keeper say to each other on a unix socket: frames of a length, a type and a payload.
 *
 *     length u32 | type u8 | payload
 *
 * `length` is the payload's. Both ends are this program, perhaps in two versions, so a hello and its answers stay as they
 * are in every version of the protocol, and unknown fields are ignored.
 */
import { checkBody, InvalidBody, isErrorCode, limits, parseJson } from "@trunkline/protocol"
import * as v from "valibot"
import { policySettingsSchema } from "../targets/policy-settings.ts"

/** The version of this protocol, in the name of the socket too: keepers of two versions live side by side. */
export const keeperProtocol = 1

export const frameHeaderBytes = 5

export const frameTypes = {
  /** JSON, below. */
  control: 0,
  /** A link message as it crosses the gateway, the slot in its header. */
  message: 1,
  /** To the keeper, u48: bytes of messages that the operating system has taken, or that were dropped, since the hello. */
  passed: 2,
} as const
export type FrameType = (typeof frameTypes)[keyof typeof frameTypes]

export const passedBytes = 6

/**
 * Payload bytes of one frame at most, by type. A control message holds a whole environment: Linux lets one have a quarter of
 * the stack's limit, 2 MiB, and JSON may need four times that.
 */
export const payloadBytesMax: Readonly<Record<FrameType, number>> = { 0: 8_388_608, 1: limits.messageBytesMax, 2: passedBytes }

const u32 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff))
const count = v.pipe(v.number(), v.integer(), v.minValue(0))
const closeCode = v.pipe(v.number(), v.integer(), v.minValue(1000), v.maxValue(4999))
const errorCode = v.pipe(
  v.string(),
  v.check((code) => isErrorCode(code), "not an error code"),
)

const serveHelloSchema = v.object({
  type: v.literal("hello"),
  protocol: v.object({ min: u32, max: u32 }),
  version: v.string(),
  /** What processes that are started from now on find around them. No secrets. */
  environment: v.record(v.string(), v.string()),
  /** How much output of a process is kept, in bytes, and a process after its end, in milliseconds; a keeper's own defaults without it. */
  retention: v.optional(v.object({ journalBytes: count, keepEndedMs: count })),
  /** What clients may reach; the defaults without it. */
  policy: v.optional(policySettingsSchema),
})

const serveControlSchema = v.variant("type", [
  serveHelloSchema,
  /** There is a connection to the gateway; numbered, so that what was sent to an earlier one is told apart. */
  v.object({ type: v.literal("connected"), connection: u32 }),
  v.object({ type: v.literal("disconnected") }),
  v.object({ type: v.literal("attached"), slot: u32, principal: v.object({ id: v.string(), scopes: v.array(v.string()) }) }),
  v.object({ type: v.literal("detached"), slot: u32, ended: v.optional(v.boolean()) }),
  /** No new streams. Answered with `drained` once no stream is open. */
  v.object({ type: v.literal("drain") }),
  /** Ends all links; answered with `ended` behind their last words, and with `gone` when no attached process is left. */
  v.object({ type: v.literal("end"), code: errorCode, message: v.string() }),
  /** Kills attached processes at once. */
  v.object({ type: v.literal("kill") }),
  /** End, if there is nothing to keep: a newer version takes the place. */
  v.object({ type: v.literal("retire") }),
])
export type ServeControl = v.InferOutput<typeof serveControlSchema>

const logLevels = ["debug", "info", "warn", "error"] as const
export type LogLevel = (typeof logLevels)[number]

const keeperControlSchema = v.variant("type", [
  v.object({
    type: v.literal("welcome"),
    protocol: u32,
    version: v.string(),
    /** Random per keeper: what the gateway knows the agent by. */
    instance: v.string(),
    pid: count,
    links: count,
    processes: count,
  }),
  /** No common version of this protocol. */
  v.object({ type: v.literal("unsupported"), protocol: u32, version: v.string() }),
  /** A newer serve has come: leave. */
  v.object({ type: v.literal("replaced") }),
  /** What follows is for this connection to the gateway. */
  v.object({ type: v.literal("ready"), connection: u32 }),
  /** Ask the gateway to close one client's socket. */
  v.object({ type: v.literal("detach"), slot: u32, code: closeCode, reason: v.string() }),
  v.object({ type: v.literal("drained") }),
  v.object({ type: v.literal("ended") }),
  v.object({ type: v.literal("gone") }),
  v.object({ type: v.literal("log"), level: v.picklist(logLevels), event: v.string(), fields: v.record(v.string(), v.unknown()) }),
])
export type KeeperControl = v.InferOutput<typeof keeperControlSchema>

/** Each throws `InvalidBody`. */
export const parseServeControl = (payload: Uint8Array): ServeControl => parseJson(serveControlSchema, payload)
export const parseKeeperControl = (payload: Uint8Array): KeeperControl => parseJson(keeperControlSchema, payload)

const frameTypeSchema = v.picklist(Object.values(frameTypes))

/**
 * Cuts what arrives into frames, in one buffer that is used again and again: bytes are written straight into `room`, and a
 * payload is a view that holds until its callback returns.
 */
export class FrameReader {
  /** More than the kernel gives in one read, so that a read and the frame it cuts both fit. */
  static readonly #bufferBytes = 2 * limits.messageBytesMax
  readonly #frame: (type: FrameType, payload: Uint8Array) => void
  #buffer = Buffer.allocUnsafeSlow(FrameReader.#bufferBytes)
  #start = 0
  #end = 0

  constructor(frame: (type: FrameType, payload: Uint8Array) => void) {
    this.#frame = frame
  }

  /** Where the next bytes go; never empty. */
  get room(): Uint8Array {
    return this.#buffer.subarray(this.#end)
  }

  /** So many bytes were written into `room`. Throws `InvalidBody`, after which nothing more may be read. */
  filled(bytes: number): void {
    this.#end += bytes
    let wantedBytes = frameHeaderBytes
    while (this.#end - this.#start >= frameHeaderBytes) {
      const length = this.#buffer.readUInt32BE(this.#start)
      const type = checkBody(frameTypeSchema, this.#buffer[this.#start + 4])
      if (length > payloadBytesMax[type])
        throw new InvalidBody(`a frame of type ${type} with ${length} bytes, allowed are ${payloadBytesMax[type]}`)
      wantedBytes = frameHeaderBytes + length
      if (this.#end - this.#start < wantedBytes) break
      const payload = this.#buffer.subarray(this.#start + frameHeaderBytes, this.#start + wantedBytes)
      this.#start += wantedBytes
      wantedBytes = frameHeaderBytes
      this.#frame(type, payload)
    }
    this.#makeRoom(wantedBytes)
  }

  /** For the rest of a frame of so many bytes, of which the buffer holds the beginning. */
  #makeRoom(wantedBytes: number): void {
    const heldBytes = this.#end - this.#start
    if (heldBytes > 0 && this.#start + wantedBytes <= this.#buffer.byteLength && this.#end < this.#buffer.byteLength) return
    const from = this.#buffer
    if (wantedBytes > from.byteLength) this.#buffer = Buffer.allocUnsafeSlow(wantedBytes)
    from.copy(this.#buffer, 0, this.#start, this.#end)
    this.#start = 0
    this.#end = heldBytes
  }
}
