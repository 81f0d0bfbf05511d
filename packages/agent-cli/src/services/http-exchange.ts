/** One request and its answer, between a stream and a connection to the service (SPEC KH). */
import { type ClientRequest, type IncomingMessage, request as sendRequest } from "node:http"
import {
  encodeHead,
  endToEndHeaders,
  type HeaderList,
  httpTags,
  InvalidBody,
  limits,
  type MuxStream,
  type StreamEvents,
  TunnelError,
} from "@trunkline/protocol"
import { GatheredWrites } from "./gathered-writes.ts"
import { brokeOff, failed, noAnswer } from "./http-failure.ts"
import type { ServiceConnection } from "./service-connections.ts"
import { Silence } from "./silence.ts"

export interface ServiceRequest {
  /** Names the service in errors. */
  readonly what: string
  readonly method: string
  readonly path: string
  /** Names and values in turn. */
  readonly head: readonly string[]
  /** Null where it is not known, undefined where there is no body. */
  readonly bodyBytes: number | null | undefined
  /** Milliseconds, 0 for no limit; so is `idleMs`. */
  readonly firstByteMs: number
  readonly idleMs: number
  /** Another connection to send it on, for a request that may be sent twice. */
  readonly again: ((signal: AbortSignal) => Promise<ServiceConnection>) | undefined
}

/** One reason for all: making one costs more than the rest of an end. */
const ended = new TunnelError("aborted", "the exchange has ended")

/** Where the answer is. */
type Answer = "awaited" | "body" | "ended"

export class HttpExchange implements StreamEvents {
  readonly #stream: MuxStream
  readonly #asked: ServiceRequest
  readonly #silence: Silence
  /** Aborts when the stream is over. */
  readonly #over = new AbortController()
  #request: ClientRequest | undefined
  #response: IncomingMessage | undefined
  #answer: Answer = "awaited"
  /** Such an answer may be silent for as long as it likes. */
  #isEventStream = false
  #answerBytes = 0
  #uploadBytes = 0
  /** Consumed once the system has taken them: what waits for the service is bounded by the stream's window. */
  readonly #writes = new GatheredWrites({
    write: (bytes, taken) => {
      const request = this.#request
      // What has nowhere to go is taken as well.
      if (request === undefined || this.#deaf || request.socket?.destroyed === true) taken()
      else request.write(bytes, taken)
    },
    consumed: (cost) => {
      this.#stream.consumed(cost)
      this.#progress()
    },
  })
  /** The request is with the system to its last byte. */
  #sent = false
  /** The connection takes nothing more. */
  #deaf = false

  constructor(stream: MuxStream, asked: ServiceRequest) {
    this.#stream = stream
    this.#asked = asked
    this.#silence = new Silence((ms) => this.#tooLong(ms))
  }

  /** Sends the head, and the body as it comes. The connection is the exchange's until the answer has ended. */
  send(connection: ServiceConnection): void {
    const { method, path, head, bodyBytes, again } = this.#asked
    const { used, socket } = connection
    const heardBytes = socket.bytesRead
    this.#sent = false
    this.#deaf = false
    const request = sendRequest({
      agent: connection,
      method,
      path,
      headers: head,
      setDefaultHeaders: false,
      maxHeaderSize: limits.httpHeadBytesMax,
    })
    // Node drops what is above its own number; the bytes are bounded.
    request.maxHeadersCount = 0
    this.#request = request
    request.on("response", (response) => this.#head(response))
    request.on("upgrade", (_response, socket) => {
      socket.destroy()
      this.#upgraded()
    })
    request.on("finish", () => {
      this.#sent = true
      this.#progress()
    })
    request.on("error", (error) => {
      this.#deaf = true
      // Nor is it of this answer what stands behind it.
      if (this.#over.signal.aborted || this.#response?.complete === true) return
      // An idle connection may be closed while the request is on its way; the service has then seen nothing of it, as far as anybody can tell.
      if (used && again !== undefined && this.#answer === "awaited" && socket.bytesRead === heardBytes) this.#sendAgain(again)
      else this.#fail(this.#answer === "awaited" ? noAnswer(error, this.#asked.what) : brokeOff(error, this.#asked.what, this.#answerBytes))
    })
    request.on("close", () => {
      if (this.#request === request) this.#deaf = true
    })
    // Paused since it was connected; from here on somebody listens.
    request.on("socket", (given) => given.resume())
    if (bodyBytes === undefined || bodyBytes === 0) request.end()
    else request.flushHeaders()
    this.#await()
  }

  data(tag: number, bytes: Uint8Array, cost: number): void {
    const { bodyBytes } = this.#asked
    if (tag !== httpTags.body) throw new InvalidBody(`tag ${tag} is not ${httpTags.body}`)
    this.#uploadBytes += bytes.byteLength
    if (bodyBytes === undefined) throw new InvalidBody("a body where none was announced")
    if (bodyBytes !== null && this.#uploadBytes > bodyBytes) throw new InvalidBody(`a body of more than the ${bodyBytes} bytes announced`)
    // A service may answer and go before it has read everything; what comes then has nowhere to go.
    if (this.#deaf) return this.#stream.consumed(cost)
    this.#writes.write(bytes, cost)
    if (this.#uploadBytes === bodyBytes) this.#endBody()
    this.#await()
  }

  finished(): void {
    const { bodyBytes } = this.#asked
    if (bodyBytes === null) this.#endBody()
    if (typeof bodyBytes !== "number" || this.#uploadBytes === bodyBytes) return
    throw new InvalidBody(`a body of ${this.#uploadBytes} bytes, and ${bodyBytes} were announced`)
  }

  writable(): void {
    this.#response?.resume()
    this.#progress()
  }

  closed(error: TunnelError | undefined): void {
    this.#over.abort(error ?? ended)
    this.#silence.expect(0)
    // Both halves have ended, or somebody broke off: then the service is to see that too.
    if (error !== undefined) this.#request?.destroy()
  }

  #endBody(): void {
    this.#writes.flush()
    this.#request?.end()
  }

  #head(response: IncomingMessage): void {
    const { statusCode = 0, statusMessage = "", rawHeaders } = response
    if (statusCode === 101) return this.#upgraded()
    if (statusCode < 200) return this.#fail(failed(`${this.#asked.what} answers with the status ${statusCode}, which is none`))
    this.#answer = "body"
    this.#response = response
    this.#isEventStream = response.headers["content-type"]?.toLowerCase().startsWith("text/event-stream") === true
    // Of what a reason may hold, Node lets control characters through.
    const statusText = statusMessage.replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, "")
    this.#stream.write(httpTags.head, encodeHead({ status: statusCode, statusText, headers: endToEndHeaders(pairs(rawHeaders)) }))
    response.on("data", (chunk: Buffer) => {
      this.#answerBytes += chunk.byteLength
      // Each chunk is a view of memory that was read for it alone.
      this.#stream.write(httpTags.body, chunk)
      if (this.#stream.writableBytes === 0) response.pause()
      this.#progress()
    })
    response.on("end", () => {
      this.#answer = "ended"
      this.#stream.finish()
      this.#await()
    })
    response.on("error", (error) => this.#fail(brokeOff(error, this.#asked.what, this.#answerBytes)))
    this.#progress()
  }

  #upgraded(): void {
    this.#fail(failed(`${this.#asked.what} switches to another protocol, and was not asked to`))
  }

  #sendAgain(again: (signal: AbortSignal) => Promise<ServiceConnection>): void {
    this.#silence.expect(0)
    again(this.#over.signal).then(
      (connection) => {
        if (this.#over.signal.aborted) connection.socket.destroy()
        else this.send(connection)
      },
      (error: unknown) => this.#fail(error instanceof TunnelError ? error : failed(String(error))),
    )
  }

  /** The service has done something. */
  #progress(): void {
    this.#silence.heard()
    this.#await()
  }

  /** Whether it is the service that we wait for now, and how long: never while a client reads or writes slowly. */
  #await(): void {
    this.#silence.expect(this.#over.signal.aborted ? 0 : this.#patienceMs())
  }

  #patienceMs(): number {
    const { firstByteMs, idleMs } = this.#asked
    switch (this.#answer) {
      case "awaited":
        return this.#writes.waiting ? idleMs : this.#sent ? firstByteMs : 0
      case "body":
        return this.#isEventStream || this.#response?.isPaused() === true ? 0 : idleMs
      case "ended":
        return 0
    }
  }

  #tooLong(ms: number): void {
    const { what } = this.#asked
    const seconds = `${ms / 1_000} s`
    const happened =
      this.#answer === "body"
        ? `${what} has sent nothing for ${seconds} in the middle of its answer`
        : this.#writes.waiting
          ? `${what} has read nothing of the request's body for ${seconds}`
          : `${what} has not begun to answer within ${seconds}`
    this.#fail(new TunnelError("service-timeout", `${happened}; the agent's owner may allow more`, { delivered: "yes" }))
  }

  #fail(error: TunnelError): void {
    // Behind a whole answer nothing is wrong any more, and a reset would take what of it is still queued.
    if (this.#answer !== "ended") this.#stream.reset(error)
  }
}

function pairs(raw: readonly string[]): HeaderList {
  const headers: HeaderList = []
  for (let at = 0; at + 1 < raw.length; at += 2) headers.push([raw[at] ?? "", raw[at + 1] ?? ""])
  return headers
}
