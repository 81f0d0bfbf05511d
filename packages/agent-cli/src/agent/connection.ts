/** One socket to the gateway: its handshake, its liveness and its two kinds of message. It knows nothing of dialling again. */
import { randomFillSync } from "node:crypto"
import {
  type AgentControl,
  type AgentHello,
  assertNever,
  type Clock,
  closeCodes,
  encodeControl,
  InvalidBody,
  Liveness,
  limits,
  linkHeaderBytes,
  type Principal,
  parseGatewayToAgent,
  pingText,
  pongText,
  type Slot,
  subprotocol,
  TunnelError,
  slot as toSlot,
} from "@trunkline/protocol"
import { type ClientOptions, WebSocket } from "ws"
import { gatewayRefusal } from "./gateway-refusal.ts"
import { giveBackWrittenFrames } from "./written-frames.ts"

/** What is behind the slots of a connection: the keeper. */
export interface SlotEvents {
  connected(leg: GatewayLeg): void
  /** The connection is gone, and with it every slot. Also called when there never was a `connected`. */
  disconnected(): void
  attached(slot: Slot, principal: Principal): void
  /** `ended`: with its leg the client has ended its link. */
  detached(slot: Slot, ended: boolean): void
  /** A link message, the slot in its header. The bytes belong to the receiver. */
  message(message: Uint8Array): void
  /** The socket has handed bytes to the operating system. */
  drained(): void
}

/** A connection that is up, as far as what is behind the slots sees it. */
export interface GatewayLeg {
  /** A link message, the slot in its header. The bytes are free again when it returns. */
  send(message: Uint8Array): void
  /** Bytes not yet handed to the operating system. */
  readonly bufferedBytes: number
  /** Asks the gateway to close a client's socket. */
  detach(slot: Slot, code: number, reason: string): void
  /** Whether messages are read; those on the way at a stop still come. */
  setReading(reading: boolean): void
}

export interface ConnectionOptions {
  readonly url: URL
  readonly secret: string
  readonly hello: AgentHello
  readonly clock: Clock
  readonly slots: SlotEvents
}

export interface ConnectionEnd {
  readonly code: number
  readonly reason: string
  /** Why the dial was refused, where the same dial would be refused again. `protocol-error`: not by a gateway. */
  readonly refused?: TunnelError
}

/** Characters of an error answer that are read. */
const errorLengthMax = 16_384
/**
 * Milliseconds for the other end of a closing handshake: a line of a megabit empties what our links leave in the socket.
 * Some gateways keep the connection for ten seconds; nothing of it is of use.
 */
const closeTimeoutMs = 2_000

export class AgentConnection implements GatewayLeg {
  readonly ended: Promise<ConnectionEnd>
  readonly welcomed: Promise<{ readonly generation: number }>
  readonly #socket: WebSocket
  readonly #options: ConnectionOptions
  readonly #end = Promise.withResolvers<ConnectionEnd>()
  readonly #welcome = Promise.withResolvers<{ readonly generation: number }>()
  #phase: "greeting" | "up" | "ended" = "greeting"
  #liveness: Liveness | undefined
  readonly #cancelHandshake: () => void

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.ended = this.#end.promise
    this.welcomed = this.#welcome.promise
    this.welcomed.catch(() => {})
    const socketOptions: ClientOptions & { readonly closeTimeout: number } = {
      headers: { authorization: `Bearer ${options.secret}` },
      // Output is often compressed already, and a context for each socket would cost the gateway its memory.
      perMessageDeflate: false,
      maxPayload: limits.messageBytesMax,
      generateMask,
      closeTimeout: closeTimeoutMs,
    }
    this.#socket = new WebSocket(options.url, subprotocol, socketOptions)
    this.#listen()
    this.#cancelHandshake = options.clock.schedule(limits.handshakeMs, () => this.#cut("no welcome from the gateway"))
  }

  /** A control message to the gateway. */
  control(message: AgentControl): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(encodeControl(message))
  }

  detach(slot: Slot, code: number, reason: string): void {
    this.control({ type: "detach", slot, code, reason: reason.slice(0, 120) })
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }

  /** The library masks into memory of its own before it returns. */
  send(message: Uint8Array): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return
    this.#liveness?.sent()
    this.#socket.send(message, () => this.#options.slots.drained())
  }

  setReading(reading: boolean): void {
    if (reading === !this.#socket.isPaused) return
    if (reading) this.#socket.resume()
    else this.#socket.pause()
  }

  /** Closes the socket behind what was sent; `ended` resolves when it is closed, however long the gateway keeps it. */
  close(code: number, reason: string): void {
    this.#socket.close(code, reason)
  }

  #listen(): void {
    const socket = this.#socket
    socket.on("upgrade", (response) => giveBackWrittenFrames(response.socket))
    socket.on("open", () => this.control(this.#options.hello))
    socket.on("message", (data, binary) => {
      if (!(data instanceof Buffer) || this.#phase === "ended") return
      this.#liveness?.heard()
      if (!binary) this.#text(data.toString())
      else if (data.byteLength < linkHeaderBytes) this.#violated("a binary message without a link header")
      else this.#options.slots.message(data)
    })
    socket.on("close", (code, reason) => this.#finish({ code, reason: reason.toString() }))
    socket.on("error", (error) => this.#finish({ code: 1006, reason: error.message }))
    socket.on("unexpected-response", (_request, response) => {
      let body = ""
      response.setEncoding("utf8")
      response.on("data", (chunk: string) => {
        if (body.length < errorLengthMax) body += chunk
      })
      response.on("close", () => {
        const status = response.statusCode ?? 0
        const refused = gatewayRefusal(status, body)
        this.#finish({ code: 1006, reason: `HTTP ${status}`, ...(refused.retryable ? {} : { refused }) })
        socket.terminate()
      })
    })
  }

  #text(text: string): void {
    if (text === pongText) return
    try {
      const message = parseGatewayToAgent(text)
      switch (message.type) {
        case "welcome":
          return this.#welcomed(message.protocol, message.generation)
        case "attached":
          return this.#options.slots.attached(toSlot(message.slot), message.principal)
        case "detached":
          return this.#options.slots.detached(toSlot(message.slot), message.ended === true)
        default:
          return assertNever(message)
      }
    } catch (error) {
      if (!(error instanceof InvalidBody)) throw error
      this.#violated("malformed control message", error.message)
    }
  }

  #welcomed(protocol: number, generation: number): void {
    if (this.#phase !== "greeting") return this.#violated("a second welcome")
    const { min, max } = this.#options.hello.protocol
    if (protocol < min || protocol > max) return this.#leave(closeCodes.version, `a welcome in protocol version ${protocol}`)
    this.#phase = "up"
    this.#cancelHandshake()
    this.#liveness = new Liveness({
      clock: this.#options.clock,
      ping: () => {
        if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(pingText)
      },
      dead: () => this.#cut("no answer from the gateway"),
    })
    this.#options.slots.connected(this)
    this.#welcome.resolve({ generation })
  }

  #violated(reason: string, detail = reason): void {
    this.#leave(closeCodes.protocolError, reason, detail)
  }

  /** Says goodbye to a gateway that would hear it, and waits for no answer. */
  #leave(code: number, reason: string, detail = reason): void {
    this.#socket.close(code, reason)
    this.#finish({ code, reason: detail })
  }

  /** Hangs up on a gateway that would not hear a goodbye. */
  #cut(reason: string): void {
    this.#finish({ code: 1006, reason })
    this.#socket.terminate()
  }

  #finish(end: ConnectionEnd): void {
    if (this.#phase === "ended") return
    this.#phase = "ended"
    this.#cancelHandshake()
    this.#liveness?.stop()
    this.#options.slots.disconnected()
    this.#welcome.reject(new TunnelError("gateway-unreachable", end.reason))
    this.#end.resolve(end)
  }
}

/** Random bytes for masks; asking for four at a time would cost more than the masking. */
const maskPool = Buffer.alloc(8_192)
let maskAt = maskPool.byteLength

/**
 * As the library does it, but for the mask that is all zero: with that one it would keep a reference to the message instead
 * of masking a copy, once in 2^32 times, and by the time it writes them the bytes may be another message's, or given back.
 */
function generateMask(mask: Buffer): void {
  do {
    if (maskAt === maskPool.byteLength) {
      randomFillSync(maskPool)
      maskAt = 0
    }
    maskPool.copy(mask, 0, maskAt, maskAt + mask.byteLength)
    maskAt += mask.byteLength
  } while (mask.readUInt32LE(0) === 0)
}

/** The close code's meaning, for a final one. */
export function finalError(end: ConnectionEnd): TunnelError {
  if (end.refused !== undefined) return end.refused
  const reason = end.reason === "" ? "" : ` (${end.reason})`
  switch (end.code) {
    case closeCodes.replaced:
      return new TunnelError("agent-replaced", `another agent took this name${reason}; choose another with --name, or stop the other`, {
        retryable: false,
      })
    case closeCodes.nameInUse:
      return new TunnelError("agent-replaced", `another agent holds this name${reason}; choose another with --name, or stop the other`, {
        retryable: false,
      })
    case closeCodes.version:
      return new TunnelError("unsupported-version", `the gateway speaks another protocol version${reason}; update the older of the two`)
    default:
      return new TunnelError("unauthorised", `the gateway refused the credentials${reason}`)
  }
}
