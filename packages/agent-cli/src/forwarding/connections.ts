/** Every connection that is carried: how many there may be, what each comes to, and the end of them all. */
import { connect, type Socket } from "node:net"
import type { IncomingConnection, TunnelSocket } from "@trunkline/client"
import { limits, type StreamTarget, TunnelError, targetText } from "@trunkline/protocol"
import { errnoOf, sentenceOf } from "../errno.ts"
import { breakOff } from "../services/socket-stream.ts"
import type { Complaints } from "./complaints.ts"
import { closed, pipeSockets } from "./pipe-sockets.ts"
import { readSocksRequest } from "./socks-connection.ts"
import { replyOf, socksReplies } from "./socks-handshake.ts"
import { linksMax, type Place, type StreamPlaces, streamsPerLinkMax } from "./stream-places.ts"

/** Connections at once. The half of them that has no stream waits, with nothing read, for one that ends; a further one is reset. */
const connectionsMax = 2 * linksMax * streamsPerLinkMax

export interface ConnectionsOptions {
  readonly places: StreamPlaces
  readonly complaints: Complaints
  /** The credential is not valid any more: nothing will be carried. */
  refused(error: TunnelError): void
}

export class Connections {
  readonly #options: ConnectionsOptions
  readonly #sockets = new Set<Socket>()
  #ended = false
  readonly #idle: (() => void)[] = []

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  get count(): number {
    return this.#sockets.size
  }

  /** Resolves when there is none. */
  drained(): Promise<void> {
    return this.count === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Resets all there are. */
  end(): void {
    this.#ended = true
    for (const socket of this.#sockets) breakOff(socket)
  }

  /** Somebody has connected here to what is at the agent. */
  forward(socket: Socket, target: StreamTarget): void {
    this.#carry(socket, async () => {
      const place = await this.#options.places.take()
      try {
        const remote = await place.agent.connect(target)
        await pipeSockets(socket, remote)
      } catch (error) {
        this.#complainOf(target, error)
      } finally {
        place.release()
      }
    })
  }

  /** Somebody has connected here who says where to. `listener` is how people know this port. */
  socks(socket: Socket, listener: string): void {
    this.#carry(socket, async () => {
      const request = await readSocksRequest(socket, (why) =>
        this.#options.complaints.say(`${listener} ${why}`, `trunkline: a program at ${listener} was refused: ${why}`),
      )
      if (request === undefined) return
      const { target } = request
      const place = await this.#options.places.take()
      try {
        const remote = await place.agent.connect(target)
        request.succeed()
        await pipeSockets(socket, remote)
      } catch (error) {
        this.#complainOf(target, error)
        request.fail(error instanceof TunnelError ? replyOf(error) : socksReplies.failed)
        await closed(socket)
      } finally {
        place.release()
      }
    })
  }

  /** Somebody has connected at the agent to what is here. */
  reverse(incoming: IncomingConnection, target: StreamTarget, listener: Place): void {
    const socket = connect({ ...target, allowHalfOpen: true, noDelay: true, keepAlive: true, timeout: limits.targetConnectMs })
    socket.pause()
    this.#carry(socket, async () => {
      const connected = connectFailure(socket)
      const place = await this.#options.places.take(listener.agent)
      try {
        const remote = await incoming.accept()
        const failure = await connected
        if (failure === undefined) return await pipeSockets(socket, remote)
        await abandon(remote, failure)
        throw failure
      } catch (error) {
        this.#complainOf(target, error)
      } finally {
        place.release()
      }
    })
  }

  #carry(socket: Socket, carry: () => Promise<void>): void {
    // Whoever has a use for it listens as well; without any listener an error would end the program.
    socket.on("error", () => {})
    if (this.#ended) return breakOff(socket)
    if (this.count >= connectionsMax) {
      breakOff(socket)
      return this.#options.complaints.say("full", `trunkline: ${connectionsMax} connections are open: a further one was refused`)
    }
    this.#sockets.add(socket)
    carry()
      .catch((error) => this.#options.complaints.say("defect", `trunkline: a connection failed: ${String(error)}`))
      .finally(() => {
        if (!socket.destroyed) breakOff(socket)
        this.#sockets.delete(socket)
        if (this.count > 0) return
        for (const resolve of this.#idle.splice(0)) resolve()
      })
  }

  #complainOf(target: StreamTarget, error: unknown): void {
    if (this.#ended) return
    const reason = error instanceof Error ? error.message : String(error)
    if (error instanceof TunnelError && error.code === "unauthorised") return this.#options.refused(error)
    const place = targetText(target)
    this.#options.complaints.say(`${place} ${reason}`, `trunkline: a connection to ${place} failed: ${reason}`)
  }
}

/** Resolves to why it is not connected. */
function connectFailure(socket: Socket): Promise<TunnelError | undefined> {
  return new Promise((resolve) => {
    socket
      .once("connect", () => {
        socket.setTimeout(0)
        resolve(undefined)
      })
      .once("timeout", () => {
        resolve(new TunnelError("service-timeout", `no answer on this side within ${limits.targetConnectMs / 1_000} s`))
        socket.destroy()
      })
      .once("error", (cause) => {
        const why = errnoOf(cause) === "ECONNREFUSED" ? "nothing listens there" : (errnoOf(cause) ?? sentenceOf(cause))
        resolve(new TunnelError("service-refused", `${why}, on this side`, { cause }))
      })
      .once("close", () => resolve(new TunnelError("aborted", "it was closed")))
  })
}

/** So that whoever has connected at the agent sees a reset. */
async function abandon(remote: TunnelSocket, reason: unknown): Promise<void> {
  await Promise.allSettled([remote.writable.abort(reason), remote.readable.cancel(reason), remote.closed])
}
