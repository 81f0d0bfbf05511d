/** A client that writes the bytes it was given and reads what comes back as it is. */
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { answerFraming, type Body, type End, type Framing, type Head, type Header, MessageReader } from "./raw-http.ts"
import { type Pieces, writeTo } from "./write.ts"

export interface RawAnswer {
  readonly version: string
  /** Of the interim answers before this one. */
  readonly interim: readonly number[]
  readonly status: number
  readonly reason: string
  readonly headers: readonly Header[]
  readonly framing: Framing
  readonly body: Body
}

export class RawClient {
  readonly socket: Socket
  readonly reader: MessageReader

  private constructor(socket: Socket) {
    this.socket = socket
    this.reader = new MessageReader(socket)
    // Told by the reader.
    socket.on("error", () => {})
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true })
    await once(socket, "connect")
    return new RawClient(socket)
  }

  write(pieces: Pieces): Promise<void> {
    return writeTo(this.socket, pieces)
  }

  /** The next answer, or how the connection ended instead. */
  async answer(method: string): Promise<RawAnswer | Exclude<End, "whole">> {
    const interim: number[] = []
    for (;;) {
      const head = await this.reader.head()
      if (typeof head === "string") return head
      const [, version = "", digits, reason = ""] = /^HTTP\/(1\.[01]) (\d{3})(?: (.*))?$/s.exec(head.line) ?? []
      const status = Number(digits)
      if (status >= 200) return this.#final(head, { version, interim, status, reason }, method)
      if (digits === undefined) throw new Error(`not a status line: ${head.line}`)
      interim.push(status)
    }
  }

  async #final(head: Head, start: Pick<RawAnswer, "version" | "interim" | "status" | "reason">, method: string): Promise<RawAnswer> {
    const [framing, sizeBytes] = answerFraming(head, start.status, method)
    return { ...start, headers: head.headers, framing, body: await this.reader.body(framing, sizeBytes) }
  }

  /** Resolves when so many bytes of an answer's body have come, framing included; rejects when they never do. */
  async bodyBytes(bytes: number): Promise<void> {
    const head = await this.reader.head()
    if (typeof head === "string") throw new Error(`${head} before an answer`)
    const { end } = await this.reader.body("sized", bytes)
    if (end !== "whole") throw new Error(`${end} in the body`)
  }

  close(): void {
    this.socket.destroy()
  }

  reset(): void {
    this.socket.resetAndDestroy()
  }
}
