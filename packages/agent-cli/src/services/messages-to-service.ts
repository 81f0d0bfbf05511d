/** Messages of a client on their way to a WebSocket of a service, as fast as that takes them (SPEC KW3, KW4). */
import { InvalidBody, limits, noCloseCode, PieceReader, readClose, type WebSocketPiece, webSocketOpcodes } from "@trunkline/protocol"
import { WebSocket } from "ws"

export interface MessagesToServiceOptions {
  /** The service has taken bytes of this cost. */
  readonly taken: (cost: number) => void
  /** What the client sent is not as SPEC KW says; nothing more is looked at. */
  readonly invalid: (error: InvalidBody) => void
}

interface Chunk {
  readonly bytes: Uint8Array
  readonly cost: number
}

/** Bytes of a fragment: a message up to this goes out in one, however it came, as there are services that know no fragments. */
const fragmentBytesMax = limits.dataBytesMax

export class MessagesToService {
  readonly #options: MessagesToServiceOptions
  readonly #reader = new PieceReader((piece) => this.#piece(piece))
  /** What has not been read yet: bounded by the stream's credit, where messages, which can be tiny, would not be. */
  readonly #waiting: Chunk[] = []
  /** Frames the service's socket has not taken yet, of one chunk, and what that costs. */
  #unsent = 0
  #unsentCost = 0
  /** The fragment that is being put together, while a message comes in small parts. */
  #fragment = new Uint8Array(0)
  #fragmentBytes = 0
  #service: WebSocket | undefined
  #finished = false

  constructor(options: MessagesToServiceOptions) {
    this.#options = options
  }

  /** The service has opened its socket. */
  open(service: WebSocket): void {
    this.#service = service
    this.#pump()
  }

  push(bytes: Uint8Array, cost: number): void {
    this.#waiting.push({ bytes, cost })
    this.#pump()
  }

  /** No more will be pushed. */
  finish(): void {
    this.#finished = true
    this.#pump()
  }

  #pump(): void {
    if (this.#service === undefined) return
    try {
      while (this.#unsent === 0) {
        const chunk = this.#waiting.shift()
        if (chunk === undefined) return this.#checkEnd(this.#service)
        this.#reader.push(chunk.bytes)
        if (this.#unsent === 0) this.#options.taken(chunk.cost)
        else this.#unsentCost = chunk.cost
      }
    } catch (error) {
      if (!(error instanceof InvalidBody)) throw error
      this.#service = undefined
      this.#options.invalid(error)
    }
  }

  #checkEnd(service: WebSocket): void {
    if (this.#finished && !this.#reader.closed && service.readyState === WebSocket.OPEN) throw new InvalidBody("an end without a close")
  }

  readonly #sent = (): void => {
    this.#unsent -= 1
    if (this.#unsent > 0) return
    this.#options.taken(this.#unsentCost)
    this.#pump()
  }

  #piece({ opcode, last, payload }: WebSocketPiece): void {
    const service = this.#service
    // What comes behind the service's own close is for nobody.
    if (service?.readyState !== WebSocket.OPEN) return
    switch (opcode) {
      case webSocketOpcodes.text:
      case webSocketOpcodes.binary:
        return this.#data(service, opcode === webSocketOpcodes.binary, payload, last)
      case webSocketOpcodes.ping:
        this.#unsent += 1
        return service.ping(payload, true, this.#sent)
      case webSocketOpcodes.pong:
        // Of no ping of ours: the service's are answered here.
        return
      case webSocketOpcodes.close: {
        const { code, reason } = readClose(payload)
        return code === noCloseCode ? service.close() : service.close(code, reason)
      }
    }
  }

  #data(service: WebSocket, binary: boolean, payload: Uint8Array, last: boolean): void {
    if (this.#fragmentBytes === 0 && (last || payload.byteLength >= fragmentBytesMax)) return this.#send(service, payload, binary, last)
    // Copied, so that a few bytes do not keep the whole frame that they came in.
    if (this.#fragment.byteLength === 0) this.#fragment = new Uint8Array(fragmentBytesMax)
    const part = payload.subarray(0, fragmentBytesMax - this.#fragmentBytes)
    this.#fragment.set(part, this.#fragmentBytes)
    this.#fragmentBytes += part.byteLength
    const rest = payload.subarray(part.byteLength)
    const isEnd = last && rest.byteLength === 0
    if (!isEnd && this.#fragmentBytes < fragmentBytesMax) return
    const whole = this.#fragment.subarray(0, this.#fragmentBytes)
    this.#fragment = new Uint8Array(0)
    this.#fragmentBytes = 0
    this.#send(service, whole, binary, isEnd)
    if (rest.byteLength > 0) this.#data(service, binary, rest, last)
  }

  #send(service: WebSocket, payload: Uint8Array, binary: boolean, fin: boolean): void {
    this.#unsent += 1
    service.send(payload, { binary, fin }, this.#sent)
  }
}
