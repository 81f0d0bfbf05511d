/** One HTTP request to a service at the agent, with headers as they are: what `agent.fetch` and the gateway's HTTP edge are made of. */
import {
  checkBody,
  endToEndHeaders,
  type HeaderList,
  HeadReader,
  type HttpHead,
  type HttpOpen,
  httpOpenSchema,
  httpTags,
  InvalidBody,
  type MuxStream,
  TunnelError,
} from "@trunkline/protocol"
import { checkRequest } from "./check-request.ts"
import { CreditedReadable } from "./credited-readable.ts"
import type { LinkConnection, OpenerEvents } from "./link-connection.ts"
import { resetAtAbort } from "./reset-at-abort.ts"

export interface HttpRequest extends Omit<HttpOpen, "headers" | "bodyBytes"> {
  /** In order, a name as often as it is to be sent. The agent adds a `Host` where there is none. */
  readonly headers?: HeaderList
  /** Read as fast as the service takes it; cancelled when the service wants no more of it. Its pieces must not change once they were read. */
  readonly body?: ReadableStream<Uint8Array>
  /** Its length, if that is known. Otherwise `content-length` counts; without either the body is sent in chunks. */
  readonly bodyBytes?: number
  /** Ends the request, and the answer's body if that has not ended. */
  readonly signal?: AbortSignal
}

export interface HttpAnswer extends HttpHead {
  readonly headers: HeaderList
  /**
   * Read to let the service go on: an answer that nobody reads to its end or cancels holds one of the link's 256 streams. Errors with TunnelError when the
   * answer breaks off, behind what had come of it; cancelling ends the request.
   */
  readonly body: ReadableStream<Uint8Array>
  /** Reads the body at once, where all of it is here already, as of most short answers; otherwise undefined, and `body` is to be read. */
  readonly readWhole?: () => readonly Uint8Array[] | undefined
}

/**
 * Resolves with the head of the answer, whatever its status. What belongs to one connection (RFC 9110 7.6.1) is sent on by neither end; nothing else is touched, in
 * headers or bodies. Rejects with TunnelError: `denied`, `service-refused`, `service-unreachable`, `service-timeout`, `service-failed`, `bad-request`, `too-large`,
 * `aborted`; what comes later errors the body. A request's body that is not read to its end when the answer has ended is cancelled.
 */
export async function requestHttp(connection: LinkConnection, request: HttpRequest): Promise<HttpAnswer> {
  const { body, signal } = request
  if (body !== undefined && typeof body.getReader !== "function")
    throw new TunnelError("bad-request", "a request's body is a ReadableStream of Uint8Array; agent.fetch takes others too")
  let source: ReadableStreamDefaultReader<Uint8Array> | undefined
  try {
    const open = checkRequest(() => checkBody(httpOpenSchema, openOf(request)))
    source = readerOf(body)
    const exchange = new Exchange(open, source, signal)
    await connection.open("http", open, exchange.events, signal)
    return await exchange.answer
  } catch (error) {
    letGo(source ?? body, error)
    throw error
  }
}

function openOf(request: HttpRequest): HttpOpen {
  const { target, method, path, body, firstByteMs } = request
  if (request.headers !== undefined && !Array.isArray(request.headers))
    throw new TunnelError("bad-request", "headers are a list of [name, value]")
  const headers = endToEndHeaders(request.headers ?? [])
  const bodyBytes = body === undefined ? request.bodyBytes : (request.bodyBytes ?? lengthIn(headers) ?? null)
  if (body === undefined && typeof bodyBytes === "number" && bodyBytes > 0)
    throw new TunnelError("bad-request", `a body of ${bodyBytes} bytes was announced and not given`)
  return {
    target,
    method,
    path,
    headers,
    ...(bodyBytes === undefined ? {} : { bodyBytes }),
    ...(firstByteMs === undefined ? {} : { firstByteMs }),
  }
}

function lengthIn(headers: HeaderList): number | undefined {
  const value = headers.find(([name]) => name.toLowerCase() === "content-length")?.[1]
  return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : undefined
}

function readerOf(body: ReadableStream<Uint8Array> | undefined): ReadableStreamDefaultReader<Uint8Array> | undefined {
  if (body?.locked === true) throw new TunnelError("bad-request", "the request's body is being read by somebody else, or was read before")
  return body?.getReader()
}

/** A source may have failed already, or be somebody else's: that is its own affair. */
function letGo(source: { cancel(reason?: unknown): Promise<void> } | undefined, reason: unknown): void {
  source?.cancel(reason).catch(() => {})
}

class Exchange {
  readonly events: OpenerEvents
  readonly answer: Promise<HttpAnswer>
  readonly #open: HttpOpen
  readonly #source: ReadableStreamDefaultReader<Uint8Array> | undefined
  readonly #answer = Promise.withResolvers<HttpAnswer>()
  readonly #closed = Promise.withResolvers<void>()
  readonly #head = new HeadReader()
  #body: CreditedReadable<Uint8Array> | undefined
  #stream: MuxStream | undefined
  /** The answer is whole. */
  #answered = false
  #uploaded = false
  #wakeUpload: (() => void) | undefined

  constructor(open: HttpOpen, source: ReadableStreamDefaultReader<Uint8Array> | undefined, signal: AbortSignal | undefined) {
    this.#open = open
    this.#source = source
    this.#uploaded = source === undefined
    this.answer = this.#answer.promise
    // Looked at by whoever asked, once the stream is open.
    this.answer.catch(() => {})
    this.events = {
      opened: (stream) => this.#start(stream, signal),
      data: (tag, bytes, cost) => this.#data(tag, bytes, cost),
      finished: () => this.#finished(),
      writable: () => this.#wakeUpload?.(),
      closed: (error) => this.#streamClosed(error),
    }
  }

  #start(stream: MuxStream, signal: AbortSignal | undefined): void {
    this.#stream = stream
    if (signal !== undefined) resetAtAbort(stream, this.#closed.promise, signal)
    if (this.#source === undefined) stream.finish()
    else this.#upload(stream, this.#source).catch((error: unknown) => this.#uploadFailed(stream, error))
  }

  async #upload(stream: MuxStream, source: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    const { bodyBytes } = this.#open
    let sentBytes = 0
    for (let next = await source.read(); !next.done; next = await source.read()) {
      const { value } = next
      if (!(value instanceof Uint8Array)) throw new TunnelError("bad-request", "a body is read as Uint8Array")
      sentBytes += value.byteLength
      if (typeof bodyBytes === "number" && sentBytes > bodyBytes)
        throw new TunnelError("bad-request", `the body has more than the ${bodyBytes} bytes announced`)
      stream.write(httpTags.body, value)
      // The service need not wait for whoever reads the end of the source.
      if (sentBytes === bodyBytes) this.#uploadEnded(stream)
      if (stream.phase === "closed") return
      if (stream.writableBytes === 0 && !this.#uploaded) await this.#room()
    }
    if (typeof bodyBytes === "number" && sentBytes < bodyBytes)
      throw new TunnelError("bad-request", `the body has ${sentBytes} bytes, and ${bodyBytes} were announced`)
    this.#uploadEnded(stream)
  }

  #room(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakeUpload = resolve
    })
  }

  #uploadEnded(stream: MuxStream): void {
    this.#uploaded = true
    stream.finish()
  }

  #uploadFailed(stream: MuxStream, error: unknown): void {
    letGo(this.#source, error)
    // Whoever made us stop reading has said why.
    if (stream.phase === "closed") return
    const delivered = stream.phase === "opening" ? "unknown" : "yes"
    if (error instanceof TunnelError) return stream.reset(new TunnelError(error.code, error.message, { delivered, cause: error }))
    stream.reset(new TunnelError("aborted", `the request's body failed: ${String(error)}`, { delivered, cause: error }))
  }

  #data(tag: number, bytes: Uint8Array, cost: number): void {
    switch (tag) {
      case httpTags.head: {
        const head = this.#head.push(bytes)
        this.#stream?.consumed(cost)
        if (head !== undefined) this.#begin(head)
        return
      }
      case httpTags.body:
        if (this.#body === undefined) throw new InvalidBody("a body before its head")
        return this.#body.push(bytes, cost)
      default:
        throw new InvalidBody(`tag ${tag} is neither of a head nor of a body`)
    }
  }

  #begin(head: HttpHead): void {
    if (head.status < 200) throw new InvalidBody(`an answer of status ${head.status}`)
    const body = new CreditedReadable<Uint8Array>({
      consumed: (cost) => this.#stream?.consumed(cost),
      left: (reason) => this.#reset("the answer's body was cancelled", reason),
    })
    this.#body = body
    this.#answer.resolve({ ...head, body: body.readable, readWhole: () => body.takeWhole() })
  }

  #finished(): void {
    if (this.#body === undefined) throw new InvalidBody("an end before the head")
    this.#answered = true
    this.#body.end()
    // Without the end of its body the request must not look whole to the service.
    if (!this.#uploaded) this.#reset("the answer came before the end of the request's body")
  }

  #reset(message: string, cause?: unknown): void {
    this.#stream?.reset(new TunnelError("aborted", message, { delivered: "yes", cause }))
  }

  #streamClosed(error: TunnelError | undefined): void {
    this.#closed.resolve()
    if (!this.#answered) {
      const reason = error ?? new TunnelError("protocol-error", "the agent ended the stream without an answer", { delivered: "yes" })
      this.#answer.reject(reason)
      this.#body?.end(reason)
    }
    if (!this.#uploaded) letGo(this.#source, error)
    this.#wakeUpload?.()
  }
}
