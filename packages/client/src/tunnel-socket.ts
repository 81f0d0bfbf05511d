/** The Web streams of one connection through the tunnel, over a stream of the link: what nobody has read yet is bounded by its credit. */
import { InvalidBody, type MuxStream, type StreamEvents, TunnelError, tcpTag } from "@trunkline/protocol"
import { CreditedReadable } from "./credited-readable.ts"
import type { LinkConnection } from "./link-connection.ts"
import { resetAtAbort } from "./reset-at-abort.ts"

/**
 * Bytes both ways, each way with an end of its own: closing `writable` is a half-close, and `readable` ends when the target has ended its half. Reading grants the
 * target more room, and a write resolves when there is room for the next; its bytes must not change afterwards. Aborting `writable`, or cancelling `readable`,
 * resets the connection.
 */
export interface TunnelSocket {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
  /** Resolves when both halves have ended; rejects with TunnelError when the connection was broken off. */
  readonly closed: Promise<void>
  /** The IP address the agent has connected to; undefined for a unix socket. */
  readonly address: string | undefined
}

interface SocketRequest {
  readonly kind: "tcp" | "accept"
  readonly body: unknown
  /** Reads the agent's answer. Throws InvalidBody for what is none. */
  readonly addressOf: (answer: unknown) => string | undefined
}

/** Resolves once the agent has the connection. Rejects with TunnelError. */
export async function openTunnelSocket(connection: LinkConnection, request: SocketRequest, signal?: AbortSignal): Promise<TunnelSocket> {
  const streams = new SocketStreams(request.addressOf)
  const stream = await connection.open(request.kind, request.body, streams.events, signal)
  streams.stream = stream
  if (signal !== undefined) resetAtAbort(stream, streams.closed, signal)
  const address = await streams.accepted
  return { readable: streams.readable, writable: streams.writable, closed: streams.closed, address }
}

class SocketStreams {
  stream: MuxStream | undefined
  readonly writable: WritableStream<Uint8Array>
  readonly accepted: Promise<string | undefined>
  readonly closed: Promise<void>
  readonly events: StreamEvents
  readonly #accepted = Promise.withResolvers<string | undefined>()
  readonly #closed = Promise.withResolvers<void>()
  /** Reading is what grants the target more room. */
  readonly #received = new CreditedReadable<Uint8Array>({
    consumed: (cost) => this.stream?.consumed(cost),
    left: (reason) => this.#breakOff("the reader", reason),
  })
  #writing: WritableStreamDefaultController | undefined
  #wakeWriter: (() => void) | undefined

  constructor(addressOf: SocketRequest["addressOf"]) {
    this.accepted = this.#accepted.promise
    this.closed = this.#closed.promise
    // Looked at by whoever cares; nobody has to.
    this.closed.catch(() => {})
    this.events = {
      accepted: (answer) => this.#accepted.resolve(addressOf(answer)),
      data: (tag, bytes, cost) => {
        if (tag !== tcpTag) throw new InvalidBody(`tag ${tag} is not ${tcpTag}`)
        this.#received.push(bytes, cost)
      },
      finished: () => this.#received.end(),
      writable: () => this.#wakeWriter?.(),
      closed: (error) => this.#streamClosed(error),
    }
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        this.#writing = controller
        // The stream itself would call `abort` only after a write that waits.
        controller.signal.addEventListener("abort", () => {
          // It fails with the caller's reason; failing it here would make the call itself fail.
          this.#writing = undefined
          this.#breakOff("the writer", controller.signal.reason)
        })
      },
      write: (bytes) => this.#write(bytes),
      close: () => this.stream?.finish(),
    })
  }

  get readable(): ReadableStream<Uint8Array> {
    return this.#received.readable
  }

  #write(bytes: Uint8Array): Promise<void> | undefined {
    if (!(bytes instanceof Uint8Array)) {
      const error = new TunnelError("bad-request", "a socket takes Uint8Array")
      this.stream?.reset(error)
      throw error
    }
    this.stream?.write(tcpTag, bytes)
    if (this.stream?.phase !== "open" || this.stream.writableBytes > 0) return undefined
    return new Promise((resolve) => {
      this.#wakeWriter = resolve
    })
  }

  #breakOff(who: string, cause: unknown): void {
    this.stream?.reset(new TunnelError("aborted", `${who} of the connection has left`, { delivered: "yes", cause }))
  }

  #streamClosed(error: TunnelError | undefined): void {
    if (error === undefined) {
      this.#closed.resolve()
    } else {
      this.#received.end(error)
      this.#writing?.error(error)
      this.#accepted.reject(error)
      this.#closed.reject(error)
    }
    this.#wakeWriter?.()
  }
}
