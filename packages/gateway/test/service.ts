/** A service at a machine: requests and sockets as they reach it, answered as the test says. */
import {
  checkBody,
  encodeHead,
  type HeaderList,
  type HttpHead,
  type HttpOpen,
  httpOpenSchema,
  httpTags,
  type MuxStream,
  PieceReader,
  pieceHeader,
  readClose,
  TunnelError,
  type WebSocketOpen,
  webSocketOpcodes,
  webSocketOpenSchema,
} from "@trunkline/protocol"
import { Arrivals, Machine } from "./machine.ts"
import { call, freshName } from "./peers.ts"

/** Half of an exchange that every kind has. */
class ServiceStream<Open> {
  readonly open: Open
  readonly stream: MuxStream
  /** When the stream is over, with the error that ended it. */
  readonly closed: Promise<TunnelError | undefined>
  /** Whether the client gets room for more as it sends. */
  reading = true
  /** What the client has sent. */
  protected readonly received = new Arrivals<Uint8Array | "end">()
  #writable: () => void = () => {}

  constructor(open: Open, stream: MuxStream) {
    this.open = open
    this.stream = stream
    const closed = Promise.withResolvers<TunnelError | undefined>()
    this.closed = closed.promise
    stream.accept(
      {},
      {
        data: (_tag, bytes, cost) => {
          if (this.reading) stream.consumed(cost)
          this.received.push(bytes)
        },
        finished: () => this.received.push("end"),
        writable: () => this.#writable(),
        closed: closed.resolve,
      },
    )
  }

  /** The head of the answer. */
  head(status: number, headers: HeaderList = [], statusText = ""): this {
    const head: HttpHead = { status, statusText, headers }
    this.stream.write(httpTags.head, encodeHead(head))
    return this
  }

  body(bytes: string | Uint8Array): this {
    this.stream.write(httpTags.body, typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes)
    return this
  }

  end(): void {
    this.stream.finish()
  }

  fail(error = new TunnelError("service-failed", "the service broke its answer off", { delivered: "yes" })): void {
    this.stream.reset(error)
  }

  /** Resolves when there is room for more of the answer. */
  room(): Promise<void> {
    return new Promise((resolve) => {
      this.#writable = resolve
    })
  }
}

/** An HTTP request. */
export class Exchange extends ServiceStream<HttpOpen> {
  /** The next piece of the request's body; undefined at its end. */
  async next(): Promise<string | undefined> {
    const bytes = await this.received.next()
    return bytes === "end" ? undefined : new TextDecoder().decode(bytes)
  }

  async text(): Promise<string> {
    let text = ""
    for (let piece = await this.next(); piece !== undefined; piece = await this.next()) text += piece
    return text
  }

  header(name: string): string | undefined {
    return this.open.headers.find(([known]) => known === name)?.[1]
  }
}

/** A WebSocket. */
export class ServiceSocket extends ServiceStream<WebSocketOpen> {
  readonly #messages = new Arrivals<unknown>()

  constructor(open: WebSocketOpen, stream: MuxStream) {
    super(open, stream)
    void this.#read()
  }

  header(name: string): string | undefined {
    return this.open.headers.find(([known]) => known === name)?.[1]
  }

  /** The next message, or `{ code, reason }`. */
  next(): Promise<unknown> {
    return this.#messages.next()
  }

  send(message: string | Uint8Array): this {
    const isText = typeof message === "string"
    const payload = isText ? new TextEncoder().encode(message) : message
    return this.#piece(isText ? webSocketOpcodes.text : webSocketOpcodes.binary, payload)
  }

  /** Undefined is a close without a code; one that may not be sent is sent all the same. */
  close(code?: number, reason = ""): void {
    this.#piece(webSocketOpcodes.close, code === undefined ? new Uint8Array(0) : closeOf(code, reason))
    this.end()
  }

  #piece(opcode: Parameters<typeof pieceHeader>[0], payload: Uint8Array): this {
    this.stream.write(httpTags.messages, pieceHeader(opcode, payload.byteLength))
    if (payload.byteLength > 0) this.stream.write(httpTags.messages, payload)
    return this
  }

  async #read(): Promise<void> {
    let parts: Uint8Array[] = []
    const reader = new PieceReader(({ opcode, last, payload }) => {
      parts.push(payload)
      if (!last) return
      const message = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
      let at = 0
      for (const part of parts) {
        message.set(part, at)
        at += part.byteLength
      }
      parts = []
      if (opcode === webSocketOpcodes.close) this.#messages.push(readClose(message))
      else this.#messages.push(opcode === webSocketOpcodes.text ? new TextDecoder().decode(message) : message)
    })
    for (let bytes = await this.received.next(); bytes !== "end"; bytes = await this.received.next()) reader.push(bytes)
  }
}

/** Port 3000 of a machine, and the ways to it. */
export class Service {
  readonly machine: Machine
  readonly name: string

  constructor(machine: Machine) {
    this.machine = machine
    this.name = machine.name
  }

  static async start(): Promise<Service> {
    return new Service(await Machine.start(freshName("svc")))
  }

  get host(): string {
    return `3000--${this.name}.localhost`
  }

  get prefix(): string {
    return `/v1/agents/${this.name}/http/3000`
  }

  byPath(path: string, init: RequestInit = {}): Promise<Response> {
    return call(`${this.prefix}${path}`, init)
  }

  async exchange(): Promise<Exchange> {
    const { open, stream } = await this.machine.nextOffer()
    return new Exchange(checkBody(httpOpenSchema, open), stream)
  }

  async socket(): Promise<ServiceSocket> {
    const { open, stream } = await this.machine.nextOffer()
    return new ServiceSocket(checkBody(webSocketOpenSchema, open), stream)
  }

  /** Sends the next request back with 200. */
  async answer(body = "answered"): Promise<Exchange> {
    const exchange = await this.exchange()
    exchange.head(200).body(body).end()
    return exchange
  }

  /** Refuses the next request. */
  async reject(error: TunnelError): Promise<void> {
    const { stream } = await this.machine.nextOffer()
    stream.reject(error)
  }
}

function closeOf(code: number, reason: string): Uint8Array {
  const text = new TextEncoder().encode(reason)
  const payload = new Uint8Array(2 + text.byteLength)
  new DataView(payload.buffer).setUint16(0, code)
  payload.set(text, 2)
  return payload
}
