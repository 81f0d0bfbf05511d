/** The kind `websocket` at the agent: asks a service for a WebSocket, and passes on its messages or its refusal (SPEC KW). */
import type { IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import {
  checkBody,
  encodeClose,
  encodeHead,
  encodePiece,
  endToEndHeaders,
  type HeaderList,
  httpTags,
  InvalidBody,
  limits,
  type MuxStream,
  pieceHeader,
  type StreamEvents,
  TunnelError,
  targetText,
  type WebSocketOpcode,
  webSocketEnd,
  webSocketOpcodes,
  webSocketOpenSchema,
} from "@trunkline/protocol"
import type { WebSocket } from "ws"
import { errnoOf } from "../errno.ts"
import type { OwnerPolicy } from "../targets/owner-policy.ts"
import { askForWebSocket } from "./ask-for-websocket.ts"
import { connectService, serverNameOf } from "./connect-service.ts"
import { requestHead } from "./http-request-head.ts"
import { HeldMessages, MessageMemory } from "./message-memory.ts"
import { MessagesToService } from "./messages-to-service.ts"
import { whileOffered } from "./while-offered.ts"

/** The agent's. */
const agentMemory = new MessageMemory()

/** Rejects with TunnelError or InvalidBody for a request that cannot be sent. */
export async function serveWebSocket(stream: MuxStream, body: unknown, policy: OwnerPolicy, memory = agentMemory): Promise<void> {
  const open = checkBody(webSocketOpenSchema, body)
  const service = policy.service(open.target)
  const { target, tls } = service
  const head = requestHead({ ...open, method: "GET" }, target, tls !== undefined)
  const what = targetText(open.target)
  const host = open.headers.find(([name]) => name.toLowerCase() === "host")?.[1]
  const socket = await whileOffered(stream, async (signal) => {
    const hops = await policy.hops(target, "http")
    return await connectService({ what, hops, tls, serverName: serverNameOf(service, host) }, signal)
  })
  const served = new ServedWebSocket(stream, { what, limitsMs: policy, memory })
  // What came before may have ended it.
  if (stream.accept({}, served.events) && stream.phase !== "closed") served.ask(socket, () => askForWebSocket(socket, open, head))
  else socket.destroy()
}

/** Payload above which a piece is written as it is behind its header, rather than copied. */
const copiedBytesMax = 4_096

/** Of a frame of the service that is a control message (RFC 6455 5.2). */
const controlHeaderBytes = 2

interface ServedOptions {
  /** Names the service in errors. */
  readonly what: string
  readonly limitsMs: { readonly firstByteMs: number; readonly idleMs: number }
  readonly memory: MessageMemory
}

class ServedWebSocket {
  readonly #stream: MuxStream
  readonly #what: string
  readonly #limitsMs: ServedOptions["limitsMs"]
  readonly #held: HeldMessages
  readonly #toService: MessagesToService
  #service: WebSocket | undefined
  #isOpen = false
  /** The service's answer where it is not a WebSocket. */
  #refusal: IncomingMessage | undefined
  /** Runs while it is the service's turn to say something. */
  #timer: NodeJS.Timeout | undefined

  constructor(stream: MuxStream, { what, limitsMs, memory }: ServedOptions) {
    this.#stream = stream
    this.#what = what
    this.#limitsMs = limitsMs
    this.#held = new HeldMessages(memory)
    this.#toService = new MessagesToService({
      taken: (cost) => stream.consumed(cost),
      invalid: (error) => stream.reset(new TunnelError("bad-request", error.message, { delivered: "yes", cause: error })),
    })
  }

  readonly events: StreamEvents = {
    data: (tag, bytes, cost) => {
      if (tag !== httpTags.messages) throw new InvalidBody(`tag ${tag} is not ${httpTags.messages}`)
      this.#toService.push(bytes, cost)
    },
    finished: () => this.#toService.finish(),
    writable: () => {
      this.#held.taken()
      if (this.#isOpen) this.#service?.resume()
      if (this.#refusal === undefined) return
      this.#refusal.resume()
      this.#expectWithin(this.#limitsMs.idleMs)
    },
    closed: () => {
      clearTimeout(this.#timer)
      this.#service?.terminate()
      this.#held.end()
    },
  }

  ask(socket: Socket, begin: () => WebSocket): void {
    this.#expectWithin(this.#limitsMs.firstByteMs)
    const service = begin()
    this.#service = service
    let headers: HeaderList = []
    service.on("upgrade", (answer) => {
      headers = headersOf(answer).filter(([name]) => !/^sec-websocket-(?:accept|extensions)$/i.test(name))
      // What was agreed is for the client to judge, who asked.
      delete answer.headers["sec-websocket-protocol"]
    })
    service.on("open", () => {
      this.#isOpen = true
      clearTimeout(this.#timer)
      // Counted before the library makes messages of them.
      socket.prependListener("data", (chunk: Buffer) => this.#came(chunk.byteLength))
      this.#write(httpTags.head, encodeHead({ status: 101, statusText: "Switching Protocols", headers }))
      this.#toService.open(service)
    })
    service.on("unexpected-response", (_, answer) => this.#refuse(answer))
    service.on("message", (data, isBinary) => {
      if (data instanceof Buffer) this.#message(isBinary ? webSocketOpcodes.binary : webSocketOpcodes.text, data)
      this.#held.whole()
      if (this.#stream.writableBytes > 0) this.#held.taken()
    })
    service.on("ping", (payload) => this.#held.passed(payload.byteLength + controlHeaderBytes))
    service.on("pong", (payload) => {
      this.#held.passed(payload.byteLength + controlHeaderBytes)
      this.#message(webSocketOpcodes.pong, payload)
    })
    service.on("error", (error) => this.#fail(error))
    service.on("close", (code, reason) => {
      if (code === 1006) return this.#fail(undefined)
      this.#write(httpTags.messages, encodeClose(code, reason.toString()))
      this.#stream.finish()
    })
  }

  #came(bytes: number): void {
    // Of one that is over nothing is kept.
    if (this.#stream.phase === "closed" || this.#held.came(bytes)) return
    this.#end(new TunnelError("overloaded", `the agent holds as much of long messages as it can, and cannot take in one of ${this.#what}`))
    this.#service?.terminate()
  }

  #message(opcode: WebSocketOpcode, payload: Buffer): void {
    if (payload.byteLength <= copiedBytesMax) return this.#write(httpTags.messages, encodePiece(opcode, payload))
    this.#stream.write(httpTags.messages, pieceHeader(opcode, payload.byteLength))
    this.#write(httpTags.messages, payload)
  }

  #refuse(answer: IncomingMessage): void {
    this.#refusal = answer
    const { statusCode: status = 502, statusMessage: statusText = "" } = answer
    this.#expectWithin(this.#limitsMs.idleMs)
    this.#write(httpTags.head, encodeHead({ status, statusText, headers: headersOf(answer) }))
    answer.on("data", (chunk: Buffer) => {
      this.#expectWithin(this.#limitsMs.idleMs)
      this.#write(httpTags.body, chunk)
    })
    answer.on("end", () => {
      clearTimeout(this.#timer)
      this.#stream.finish()
    })
    answer.on("error", (error) => this.#fail(error))
  }

  /** Where the stream is full the service waits. */
  #write(tag: number, bytes: Uint8Array): void {
    this.#stream.write(tag, bytes)
    if (this.#stream.phase === "closed" || this.#stream.writableBytes > 0) return
    if (this.#isOpen) this.#service?.pause()
    if (this.#refusal === undefined) return
    this.#refusal.pause()
    clearTimeout(this.#timer)
  }

  #expectWithin(ms: number): void {
    clearTimeout(this.#timer)
    if (ms === 0) return
    this.#timer = setTimeout(() => {
      this.#stream.reset(new TunnelError("service-timeout", `${this.#what} has said nothing for ${ms / 1_000} s`, { delivered: "yes" }))
    }, ms)
  }

  /** At once: the library may wait for the service to hang up before it calls the WebSocket closed. */
  #fail(cause: Error | undefined): void {
    const isLong = errnoOf(cause) === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"
    const did = this.#isOpen ? "broke the WebSocket off" : "answered the request for a WebSocket with neither that nor a refusal"
    const message = isLong
      ? `${this.#what} sent a message of more than ${limits.webSocketMessageBytesMax} bytes`
      : `${this.#what} ${did}${cause === undefined ? "" : `: ${cause.message}`}`
    this.#end(new TunnelError(isLong ? "too-large" : "service-failed", message, { delivered: "yes", cause }))
  }

  /** Behind what the service has said, which a reset would overtake. */
  #end(error: TunnelError): void {
    if (this.#isOpen) this.#stream.finish(webSocketEnd(error))
    else this.#stream.reset(error)
  }
}

/** Those to send on, as they came. */
function headersOf({ rawHeaders }: IncomingMessage): HeaderList {
  return endToEndHeaders(
    Array.from({ length: rawHeaders.length / 2 }, (_, index) => [rawHeaders[2 * index] ?? "", rawHeaders[2 * index + 1] ?? ""]),
  )
}
