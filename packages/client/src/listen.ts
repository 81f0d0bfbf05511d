/** A listener at the agent whose connections come to us. */
import {
  checkBody,
  type Incoming,
  incomingSchema,
  type ListenAccept,
  type ListenAddress,
  limits,
  listenAcceptSchema,
  listenOpenSchema,
  type MuxStream,
  type StreamEvents,
  type TunnelError,
} from "@trunkline/protocol"
import { checkRequest } from "./check-request.ts"
import type { LinkConnection } from "./link-connection.ts"
import { resetAtAbort } from "./reset-at-abort.ts"
import type { SocketOptions } from "./tcp.ts"
import { openTunnelSocket, type TunnelSocket } from "./tunnel-socket.ts"

/** Somebody who has connected at the agent. */
export interface IncomingConnection {
  /** Who it is; undefined for a unix socket. */
  readonly from: { readonly address: string; readonly port: number } | undefined
  /** Takes it; one that nobody takes is closed by the agent after 10 s. Rejects with TunnelError. */
  accept(): Promise<TunnelSocket>
}

export interface Listener {
  /** With the port that was taken. */
  readonly address: ListenAddress
  /** Those who connect, until the listener ends. Leaving the iteration ends it. Throws TunnelError when it was broken off. */
  readonly connections: AsyncIterableIterator<IncomingConnection>
  /** Ends it; connections that were accepted go on. */
  close(): void
}

/** Rejects with TunnelError: `address-in-use`, `denied`. Aborting ends the listener. */
export async function listen(connection: LinkConnection, address: ListenAddress, { signal }: SocketOptions = {}): Promise<Listener> {
  const open = checkRequest(() => checkBody(listenOpenSchema, { address }))
  const listening = new Listening()
  const stream = await connection.open("listen", open, listening.events, signal)
  listening.stream = stream
  if (signal !== undefined) resetAtAbort(stream, listening.closed, signal)
  const { listener, address: taken } = await listening.accepted
  const take = (incoming: Incoming): IncomingConnection => ({
    from: incoming.from,
    accept: () => {
      const body = { listener, connection: incoming.connection }
      return openTunnelSocket(connection, { kind: "accept", body, addressOf: () => undefined })
    },
  })
  return { address: taken, connections: listening.iterate(take), close: () => listening.close() }
}

type End = { readonly type: "closed" } | { readonly type: "failed"; readonly error: TunnelError }

/** What the stream of a listener tells. */
class Listening {
  stream: MuxStream | undefined
  readonly accepted: Promise<ListenAccept>
  readonly closed: Promise<void>
  readonly events: StreamEvents
  readonly #accepted = Promise.withResolvers<ListenAccept>()
  readonly #closed = Promise.withResolvers<void>()
  #incoming: Incoming[] = []
  #end: End | undefined
  #wake: (() => void)[] = []

  constructor() {
    this.accepted = this.#accepted.promise
    this.closed = this.#closed.promise
    this.events = {
      accepted: (answer) => this.#accepted.resolve(checkBody(listenAcceptSchema, answer)),
      data: (_tag, _bytes, cost) => this.stream?.consumed(cost),
      message: (body) => this.#told(checkBody(incomingSchema, body)),
      finished: () => this.close(),
      closed: (error) => {
        if (error !== undefined) this.#accepted.reject(error)
        this.#over(error === undefined ? { type: "closed" } : { type: "failed", error })
        this.#closed.resolve()
      },
    }
  }

  close(): void {
    this.#over({ type: "closed" })
    this.stream?.finish()
  }

  iterate(take: (incoming: Incoming) => IncomingConnection): AsyncIterableIterator<IncomingConnection> {
    const done: IteratorReturnResult<undefined> = { done: true, value: undefined }
    return {
      next: async () => {
        const incoming = await this.#next()
        return incoming === undefined ? done : { done: false, value: take(incoming) }
      },
      return: async () => {
        this.close()
        return done
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  #told(incoming: Incoming): void {
    if (this.#end !== undefined) return
    // The agent keeps no more than this waiting: of more, the oldest have been closed.
    if (this.#incoming.length >= limits.listenBacklogMax) this.#incoming.shift()
    this.#incoming.push(incoming)
    this.#wakeAll()
  }

  /** Undefined when it has ended; throws TunnelError when it was broken off. */
  async #next(): Promise<Incoming | undefined> {
    for (;;) {
      if (this.#end?.type === "failed") throw this.#end.error
      const incoming = this.#incoming.shift()
      if (incoming !== undefined || this.#end !== undefined) return incoming
      await new Promise<void>((resolve) => this.#wake.push(resolve))
    }
  }

  #over(end: End): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#incoming = []
    this.#wakeAll()
  }

  #wakeAll(): void {
    const waiting = this.#wake
    this.#wake = []
    for (const wake of waiting) wake()
  }
}
