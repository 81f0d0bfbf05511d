/** One socket to the gateway: its handshake, its liveness and its two kinds of message. It knows nothing of dialling again. */

import {
  type AgentControl,
  type AgentHello,
  assertNever,
  type Clock,
  closeCodes,
  encodeControl,
  errorCodes,
  InvalidBody,
  isErrorCode,
  limits,
  linkHeaderBytes,
  parseGatewayToAgent,
  pingText,
  pongText,
  readSlot,
  type Slot,
  type Transport,
  TunnelError,
  slot as toSlot,
  writeSlot,
} from "@trunkline/protocol"
import { WebSocket } from "ws"
import type { Links, SlotPort } from "./links.ts"

export interface ConnectionOptions {
  readonly url: URL
  readonly secret: string
  readonly hello: AgentHello
  readonly clock: Clock
  readonly links: Links
}

export interface ConnectionEnd {
  readonly code: number
  readonly reason: string
  /** Why the gateway refused the dial for good; not to be dialled again. */
  readonly refused?: TunnelError
}

/** Bytes of an error answer that are read. */
const errorBytesMax = 16_384
/** Bytes in the socket's queue under which links that waited for room are told. */
const drainedBytes = 131_072

export class AgentConnection implements SlotPort {
  readonly ended: Promise<ConnectionEnd>
  readonly welcomed: Promise<{ readonly generation: number }>
  readonly #socket: WebSocket
  readonly #options: ConnectionOptions
  readonly #end = Promise.withResolvers<ConnectionEnd>()
  readonly #welcome = Promise.withResolvers<{ readonly generation: number }>()
  #phase: "dialling" | "greeting" | "up" | "ended" = "dialling"
  #heardAtMs: number
  #congested = false
  #cancelTimer: (() => void) | undefined

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.ended = this.#end.promise
    this.welcomed = this.#welcome.promise
    this.welcomed.catch(() => {})
    this.#heardAtMs = options.clock.now()
    this.#socket = new WebSocket(options.url, "trunkline.v1", {
      headers: { authorization: `Bearer ${options.secret}` },
      // Output is often compressed already, and a context for each socket would cost the gateway its memory.
      perMessageDeflate: false,
      maxPayload: limits.messageBytesMax,
      handshakeTimeout: limits.handshakeMs,
    })
    this.#listen()
  }

  /** A control message to the gateway. */
  control(message: AgentControl): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(encodeControl(message))
  }

  detach(slot: Slot, code: number, reason: string): void {
    this.control({ type: "detach", slot, code, reason: reason.slice(0, 120) })
  }

  transport(slot: Slot): Transport {
    const connection = this
    return {
      send(message) {
        writeSlot(message, slot)
        connection.#send(message)
      },
      get bufferedBytes() {
        const bytes = connection.#socket.bufferedAmount
        if (bytes > drainedBytes) connection.#congested = true
        return bytes
      },
      close: (code, reason) => connection.detach(slot, code, reason),
    }
  }

  /** Closes the socket; `ended` resolves when it is closed, or after the handshake time at the latest. */
  close(code: number, reason: string): void {
    this.#cancelTimer?.()
    this.#cancelTimer = this.#options.clock.schedule(limits.handshakeMs, () => this.#finish({ code, reason }))
    this.#socket.close(code, reason)
  }

  #send(message: Uint8Array): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return
    this.#socket.send(message, () => {
      if (!this.#congested || this.#socket.bufferedAmount > drainedBytes) return
      this.#congested = false
      this.#options.links.drained()
    })
  }

  #listen(): void {
    const socket = this.#socket
    socket.on("open", () => {
      this.#phase = "greeting"
      this.control(this.#options.hello)
      this.#cancelTimer = this.#options.clock.schedule(limits.handshakeMs, () => this.#fail("no welcome from the gateway"))
    })
    socket.on("message", (data, binary) => {
      if (!(data instanceof Buffer) || this.#phase === "ended") return
      this.#heardAtMs = this.#options.clock.now()
      if (!binary) return this.#text(data.toString())
      if (data.byteLength >= linkHeaderBytes) this.#options.links.message(readSlot(data), data)
    })
    socket.on("close", (code, reason) => this.#finish({ code, reason: reason.toString() }))
    socket.on("error", (error) => this.#finish({ code: 1006, reason: error.message }))
    socket.on("unexpected-response", (_request, response) => {
      let body = ""
      response.setEncoding("utf8")
      response.on("data", (chunk: string) => {
        if (body.length < errorBytesMax) body += chunk
      })
      response.on("close", () => {
        const status = response.statusCode ?? 0
        const error = refusalOf(status, body)
        this.#finish({ code: 1006, reason: `HTTP ${status}`, ...(error === undefined ? {} : { refused: error }) })
      })
    })
  }

  #text(text: string): void {
    if (text === pongText) return
    try {
      const message = parseGatewayToAgent(text)
      switch (message.type) {
        case "welcome":
          this.#phase = "up"
          this.#schedulePing()
          this.#options.links.connected(this)
          return this.#welcome.resolve({ generation: message.generation })
        case "attached":
          return this.#options.links.attached(toSlot(message.slot), message.principal)
        case "detached":
          return this.#options.links.detached(toSlot(message.slot))
        default:
          return assertNever(message)
      }
    } catch (error) {
      if (!(error instanceof InvalidBody)) throw error
      this.#fail(`malformed control message: ${error.message}`)
    }
  }

  #schedulePing(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = this.#options.clock.schedule(limits.pingIntervalMs, () => {
      if (this.#options.clock.now() - this.#heardAtMs > limits.pingDeadMs) return this.#fail("no pong from the gateway")
      if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(pingText)
      this.#schedulePing()
    })
  }

  #fail(reason: string): void {
    this.#socket.terminate()
    this.#finish({ code: 1006, reason })
  }

  #finish(end: ConnectionEnd): void {
    if (this.#phase === "ended") return
    this.#phase = "ended"
    this.#cancelTimer?.()
    if (this.#socket.readyState !== WebSocket.CLOSED) this.#socket.terminate()
    this.#options.links.disconnected()
    this.#welcome.reject(new TunnelError("gateway-unreachable", end.reason))
    this.#end.resolve(end)
  }
}

/** Answers that another try would not change. */
function refusalOf(status: number, body: string): TunnelError | undefined {
  if (status !== 400 && status !== 401 && status !== 403 && status !== 404 && status !== 426) return undefined
  try {
    const { code, message } = JSON.parse(body).error
    if (typeof code === "string" && isErrorCode(code) && typeof message === "string" && !errorCodes[code].retryable)
      return new TunnelError(code, message)
  } catch {
    // Not a gateway's answer.
  }
  return new TunnelError("protocol-error", `HTTP ${status} that is not a gateway's answer; is the gateway's URL right?`)
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
