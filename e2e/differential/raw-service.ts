/** A service that keeps each request as it came and answers with the bytes of a script. */
import { once } from "node:events"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { type Body, type End, type Head, MessageReader, requestFraming, valuesOf } from "./raw-http.ts"
import { type Pieces, writeTo } from "./write.ts"

export interface SeenRequest extends Head {
  readonly body: Body
}

/** One request at the service, and its way to answer. */
export class Exchange {
  readonly head: Head
  readonly socket: Socket
  readonly #reader: MessageReader
  #body: Promise<Body> | undefined
  #left: Promise<Exclude<End, "whole">> | undefined

  constructor(head: Head, socket: Socket, reader: MessageReader) {
    this.head = head
    this.socket = socket
    this.#reader = reader
  }

  /** Reads the request's body to where it ends. */
  body(): Promise<Body> {
    this.#body ??= this.#reader.body(...requestFraming(this.head))
    return this.#body
  }

  write(pieces: Pieces): Promise<void> {
    return writeTo(this.socket, pieces)
  }

  /** Resolves when whoever asked has closed the connection, with the manner. */
  left(): Promise<Exclude<End, "whole">> {
    this.#left ??= this.body().then(() => this.#reader.toEnd())
    return this.#left
  }
}

export type Script = (exchange: Exchange) => Promise<void> | void

/** What a script was asked. */
export interface Heard {
  readonly requests: readonly SeenRequest[]
  /** Resolves when the script of the first request is done, with that request; rejects when the script has failed. */
  readonly first: Promise<SeenRequest>
  /** A request has come. */
  begun(): boolean
}

interface Entry {
  readonly script: Script
  readonly requests: SeenRequest[]
  readonly first: PromiseWithResolvers<SeenRequest>
  begun: boolean
}

/** Names the script that answers a request. */
export const caseHeader = "x-case"

export class RawService {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #entries = new Map<string, Entry>()
  /** Request lines of all that came, for whichever script and for none. */
  readonly lines: string[] = []

  private constructor(server: Server) {
    this.#server = server
    server.on("connection", (socket) => {
      this.#sockets.add(socket)
      socket.on("close", () => this.#sockets.delete(socket)).on("error", () => {})
      socket.setNoDelay(true)
      void this.#serve(socket)
    })
  }

  static async start(): Promise<RawService> {
    const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1")
    await once(server, "listening")
    return new RawService(server)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Answers the requests that name this case. */
  on(name: string, script: Script): Heard {
    const entry: Entry = { script, requests: [], first: Promise.withResolvers(), begun: false }
    // Looked at when the answer is there.
    entry.first.promise.catch(() => {})
    this.#entries.set(name, entry)
    return { requests: entry.requests, first: entry.first.promise, begun: () => entry.begun }
  }

  async #serve(socket: Socket): Promise<void> {
    const reader = new MessageReader(socket)
    try {
      for (let head = await reader.head(); typeof head !== "string"; head = await reader.head()) {
        this.lines.push(head.line)
        const entry = this.#entries.get(valuesOf(head.headers, caseHeader).join())
        if (entry === undefined) break
        entry.begun = true
        await this.#answer(entry, new Exchange(head, socket, reader))
        if (!socket.writable) break
      }
    } finally {
      socket.end()
    }
  }

  async #answer({ script, requests, first }: Entry, exchange: Exchange): Promise<void> {
    try {
      await script(exchange)
      const seen = { ...exchange.head, body: await exchange.body() }
      requests.push(seen)
      first.resolve(seen)
    } catch (error) {
      first.reject(error)
      exchange.socket.destroy()
    }
  }

  stop(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}
