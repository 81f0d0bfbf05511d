/** The kinds `listen` and `accept` at the agent (SPEC KR). */
import {
  acceptOpenSchema,
  checkBody,
  type ListenAccept,
  type Logger,
  listenOpenSchema,
  type MuxStream,
  type Principal,
  TunnelError,
  targetText,
} from "@trunkline/protocol"
import type { OwnerPolicy } from "../targets/owner-policy.ts"
import { Listener } from "./listener.ts"
import { joinSocket } from "./socket-stream.ts"

export class Listeners {
  readonly #logger: Logger
  readonly #listeners = new Map<string, Listener>()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** Rejects with TunnelError or InvalidBody. */
  async listen(stream: MuxStream, body: unknown, principal: Principal, policy: Pick<OwnerPolicy, "checkListen">): Promise<void> {
    const asked = checkBody(listenOpenSchema, body).address
    policy.checkListen(asked)
    for (const other of this.#listeners.values()) {
      // Its link could come back for minutes yet, and whoever starts his forward again would find his own port taken.
      if (other.givesWayTo(principal.id, asked))
        other.end(new TunnelError("aborted", "the listener was opened again", { delivered: "yes" }))
    }
    const listener = new Listener(stream, principal.id, asked)
    const { id } = listener
    const address = await listener.bind((error) => this.#logger.warn("listener.failed", { listener: id, error: error.message }))
    this.#listeners.set(id, listener)
    this.#logger.info("listener.opened", { listener: id, principal: principal.id, address: targetText(address) })
    const ended = (): void => {
      this.#listeners.delete(id)
      this.#logger.info("listener.closed", { listener: id, ...listener.counts })
    }
    const answer: ListenAccept = { listener: id, address }
    if (stream.accept(answer, listener.events(ended))) return
    listener.close()
    ended()
  }

  /** Ends all of them; connections that were taken go on. */
  end(error: TunnelError): void {
    for (const listener of [...this.#listeners.values()]) listener.end(error)
  }

  /** Throws TunnelError or InvalidBody. */
  accept(stream: MuxStream, body: unknown, principal: Principal): void {
    const { listener: id, connection } = checkBody(acceptOpenSchema, body)
    const listener = this.#listeners.get(id)
    if (listener !== undefined && listener.principalId !== principal.id) {
      throw new TunnelError("denied", `that listener is somebody else's; its connections are not for "${principal.id}"`)
    }
    const socket = listener?.take(connection)
    if (socket === undefined) {
      throw new TunnelError("not-found", `connection ${connection} does not wait, or not any more; the agent keeps one for 10 s`)
    }
    joinSocket(stream, socket, {}, `whoever had connected from ${socket.remoteAddress ?? "there"}`)
  }
}
