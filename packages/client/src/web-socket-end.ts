/** Our end of a WebSocket through the tunnel, over a stream of the link: its answer, its messages and its goodbyes (SPEC KW). */
import {
  encodeClose,
  encodePiece,
  HeadReader,
  type HttpHead,
  httpTags,
  InvalidBody,
  isWebSocketCloseCode,
  limits,
  type MuxStream,
  noCloseCode,
  PieceReader,
  pieceHeaderBytes,
  readClose,
  readWebSocketEnd,
  type StreamEvents,
  TunnelError,
  type WebSocketOpcode,
  type WebSocketPiece,
  webSocketOpcodes,
} from "@trunkline/protocol"
import { CreditedReadable } from "./credited-readable.ts"

export interface WebSocketClose {
  /** 1005 where the peer gave none. */
  readonly code: number
  readonly reason: string
}

type Message = string | Uint8Array

/** Payload of a piece: with its header it fills a frame. */
const partBytesMax = limits.dataBytesMax - pieceHeaderBytes

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

export class WebSocketEnd {
  stream: MuxStream | undefined
  /** The service's answer; a status of 101 opens the socket. */
  readonly answered: Promise<HttpHead>
  readonly closed: Promise<WebSocketClose>
  /** Settles when the stream is over. */
  readonly over: Promise<void>
  readonly #answered = Promise.withResolvers<HttpHead>()
  readonly #closed = Promise.withResolvers<WebSocketClose>()
  readonly #over = Promise.withResolvers<void>()
  readonly #head = new HeadReader()
  #status: number | undefined
  readonly #reader = new PieceReader((piece) => this.#piece(piece))
  readonly #messages: CreditedReadable<Message>
  readonly #body: CreditedReadable<Uint8Array>
  /** Of the message that has begun to come, and those that have come whole with the bytes that are looked at. */
  #parts: Uint8Array[] = []
  #whole: Message[] = []
  /** Why nothing more can be sent. */
  #sendError: TunnelError | undefined
  /** Settles when what was asked to be sent so far has gone. */
  #sent: Promise<void> = Promise.resolve()
  #wakeSender: (() => void) | undefined

  constructor() {
    this.answered = this.#answered.promise
    this.closed = this.#closed.promise
    this.over = this.#over.promise
    // Looked at by whoever cares; nobody has to.
    this.answered.catch(() => {})
    this.closed.catch(() => {})
    const consumed = (cost: number) => this.stream?.consumed(cost)
    this.#messages = new CreditedReadable({ consumed, left: () => this.close(noCloseCode, "") })
    this.#body = new CreditedReadable({ consumed, left: (cause) => this.reset("the reader of the answer has left", cause) })
  }

  get messages(): ReadableStream<Message> {
    return this.#messages.readable
  }

  /** Of an answer that is no WebSocket. */
  get body(): ReadableStream<Uint8Array> {
    return this.#body.readable
  }

  readonly events: StreamEvents = {
    data: (tag, bytes, cost) => this.#data(tag, bytes, cost),
    finished: (trailer) => this.#finished(trailer),
    writable: () => this.#wakeSender?.(),
    closed: (error) => this.#streamClosed(error),
  }

  async send(message: Message): Promise<void> {
    const opcode = typeof message === "string" ? webSocketOpcodes.text : webSocketOpcodes.binary
    const bytes = typeof message === "string" ? encoder.encode(message) : message
    if (!ArrayBuffer.isView(bytes)) throw new TunnelError("bad-request", "a WebSocket takes a string or Uint8Array")
    if (bytes.byteLength > limits.webSocketMessageBytesMax) {
      throw new TunnelError("too-large", `a message of ${bytes.byteLength} bytes, allowed are ${limits.webSocketMessageBytesMax}`)
    }
    if (this.#sendError !== undefined) throw this.#sendError
    const sent = this.#sent.then(() => this.#write(opcode, bytes))
    this.#sent = sent.catch(() => {})
    return await sent
  }

  close(code: number, reason: string): void {
    if (code !== noCloseCode && !isWebSocketCloseCode(code)) {
      throw new TunnelError("bad-request", `${code} is no code to close with: 1000 to 1003, 1007 to 1014 and 3000 to 4999 are`)
    }
    if (this.#sendError !== undefined) return
    this.#sendError = new TunnelError("bad-request", "the WebSocket was closed here before", { delivered: "no" })
    this.#sent = this.#sent.then(() => {
      this.stream?.write(httpTags.messages, encodeClose(code, reason))
      this.stream?.finish()
    })
  }

  reset(message: string, cause: unknown): void {
    this.stream?.reset(new TunnelError("aborted", message, { delivered: "yes", cause }))
  }

  async #write(opcode: WebSocketOpcode, bytes: Uint8Array): Promise<void> {
    for (let at = 0, last = false; !last; at += partBytesMax) {
      const part = bytes.subarray(at, at + partBytesMax)
      last = at + part.byteLength === bytes.byteLength
      this.stream?.write(httpTags.messages, encodePiece(opcode, part, last))
      while (this.#takesMore && this.stream?.writableBytes === 0) {
        await new Promise<void>((resolve) => {
          this.#wakeSender = resolve
        })
      }
      if (!this.#takesMore) throw this.#sendError
    }
  }

  /** Also behind a close of ours: what was asked to be sent before it is still sent. */
  get #takesMore(): boolean {
    return this.stream?.phase === "open" && !this.#reader.closed
  }

  #data(tag: number, bytes: Uint8Array, cost: number): void {
    if (tag === httpTags.head) {
      this.stream?.consumed(cost)
      const head = this.#head.push(bytes)
      if (head === undefined) return
      this.#status = head.status
      // A request that was refused has nothing to say.
      if (head.status !== 101) this.stream?.finish()
      this.#answered.resolve(head)
    } else if (tag === httpTags.messages && this.#status === 101) {
      this.#reader.push(bytes)
      const whole = this.#whole
      this.#whole = []
      const last = whole.pop()
      for (const message of whole) this.#messages.push(message, 0)
      if (last === undefined) this.#messages.hold(cost)
      else this.#messages.push(last, cost)
      if (this.#reader.closed) this.#messages.end()
    } else if (tag === httpTags.body && this.#status !== undefined && this.#status !== 101) {
      this.#body.push(bytes, cost)
    } else {
      throw new InvalidBody(`data of tag ${tag} where there is none`)
    }
  }

  #piece({ opcode, last, payload }: WebSocketPiece): void {
    switch (opcode) {
      case webSocketOpcodes.text:
      case webSocketOpcodes.binary: {
        this.#parts.push(payload)
        if (last) this.#whole.push(opcode === webSocketOpcodes.text ? textOf(this.#takeParts()) : this.#takeParts())
        return
      }
      case webSocketOpcodes.ping:
        // One that finds no room is dropped: who asks often hears less often.
        if (this.#sendError === undefined && this.stream?.writableBytes !== 0) {
          this.stream?.write(httpTags.messages, encodePiece(webSocketOpcodes.pong, payload))
        }
        return
      case webSocketOpcodes.pong:
        return
      case webSocketOpcodes.close:
        return this.#peerClosed(readClose(payload))
    }
  }

  /** In memory of its own, so that a small message does not keep all that it came with. */
  #takeParts(): Uint8Array {
    const parts = this.#parts
    this.#parts = []
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
    let at = 0
    for (const part of parts) {
      bytes.set(part, at)
      at += part.byteLength
    }
    return bytes
  }

  #peerClosed(close: WebSocketClose): void {
    this.#sendError = new TunnelError("service-failed", `the service has closed the WebSocket with ${close.code}`, { delivered: "unknown" })
    this.#closed.resolve(close)
    this.stream?.finish()
    this.#wakeSender?.()
  }

  #finished(trailer: unknown): void {
    if (this.#status === undefined) throw new InvalidBody("an end without an answer")
    if (this.#status !== 101) this.#body.end()
    // The service is gone: nobody is there to take what waits to be sent.
    else if (!this.#reader.closed) this.stream?.reset(readWebSocketEnd(trailer))
  }

  #streamClosed(error: TunnelError | undefined): void {
    if (error !== undefined) {
      this.#sendError = error
      this.#answered.reject(error)
      this.#closed.reject(error)
    }
    this.#parts = []
    this.#messages.end(error)
    this.#body.end(error)
    this.#over.resolve()
    this.#wakeSender?.()
  }
}

function textOf(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new InvalidBody("a text message that is not UTF-8")
  }
}
