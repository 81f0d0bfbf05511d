/** Connections to HTTP services that wait for another request, or carry one. */
import { Agent, type ClientRequestArgs } from "node:http"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"
import { keepAliveMs } from "../targets/connect-hops.ts"
import { connectService, type ServicePlace } from "./connect-service.ts"

/** Connections that wait, over all services: what the requests of one web page take. */
const idleMax = 32
/** Milliseconds they wait, unless the service says that it closes them sooner: less than the 5 s after which many do. */
const idleMs = 4_000
/** Milliseconds for a request that cannot be sent twice: the shortest time after which a service may close a connection under it is a second or two. */
const freshMs = 1_000

/** One connection: requests go over it one after the other, and Node decides whether it can take another. */
export class ServiceConnection extends Agent {
  readonly place: ServicePlace
  readonly socket: Socket
  #used = false
  readonly #idle: (connection: ServiceConnection) => void
  #waits = false

  /** `idle` is told whenever it can take another request. */
  constructor(place: ServicePlace, socket: Socket, idle: (connection: ServiceConnection) => void) {
    super({ keepAlive: true, keepAliveMsecs: keepAliveMs, maxSockets: 1, timeout: idleMs })
    this.place = place
    this.socket = socket
    this.#idle = idle
    socket.setNoDelay(true)
    // Node writes the head of a request as a string in this encoding.
    socket.setDefaultEncoding("latin1")
    // A service that ends a connection nobody uses, or speaks unasked on one, is not asked anything on it any more; not every Node we run on sees to that.
    const unasked = (): void => {
      if (this.#waits) socket.destroy()
    }
    socket.on("data", unasked)
    socket.on("end", unasked)
  }

  /** A request was given to it already. */
  get used(): boolean {
    return this.#used
  }

  /** For the first request alone: with the socket gone there is no second. */
  override createConnection(_options: ClientRequestArgs, callback?: (error: Error | null, stream: Duplex) => void): Duplex | undefined {
    if (!this.#used) {
      this.#used = true
      return this.socket
    }
    callback?.(Object.assign(new Error("the connection is gone"), { code: "ECONNRESET" }), this.socket)
    return undefined
  }

  override keepSocketAlive(socket: Duplex): boolean {
    const keeps: unknown = super.keepSocketAlive(socket)
    this.#waits = keeps !== false && !socket.readableEnded
    if (this.#waits) this.#idle(this)
    return this.#waits
  }

  override reuseSocket(socket: Duplex, request: Parameters<Agent["reuseSocket"]>[1]): void {
    this.#waits = false
    super.reuseSocket(socket, request)
  }
}

interface Waiting {
  readonly connection: ServiceConnection
  readonly sinceMs: number
}

export class ServiceConnections {
  /** Oldest first. */
  #waiting: Waiting[] = []

  /** One that waits; for a request that must not be sent twice, only one that has not waited for long. */
  take(place: ServicePlace, twice: boolean): ServiceConnection | undefined {
    const key = keyOf(place)
    const oldestMs = twice ? Number.NEGATIVE_INFINITY : performance.now() - freshMs
    const at = this.#waiting.findLastIndex(({ connection, sinceMs }) => sinceMs >= oldestMs && keyOf(connection.place) === key)
    return at === -1 ? undefined : this.#waiting.splice(at, 1)[0]?.connection
  }

  /** A new one. Rejects as `connectService` does. */
  async connect(place: ServicePlace, signal?: AbortSignal): Promise<ServiceConnection> {
    const socket = await connectService(place, signal)
    socket.once("close", () => {
      this.#waiting = this.#waiting.filter(({ connection }) => connection.socket !== socket)
    })
    return new ServiceConnection(place, socket, (connection) => this.#idle(connection))
  }

  #idle(connection: ServiceConnection): void {
    this.#waiting.push({ connection, sinceMs: performance.now() })
    if (this.#waiting.length > idleMax) this.#waiting.shift()?.connection.socket.destroy()
  }
}

/** Connections are alike when the same places were allowed for them: what the owner has denied since is not asked over an old one. */
const keyOf = ({ hops, tls, serverName }: ServicePlace): string =>
  JSON.stringify([
    tls?.verify,
    tls === undefined ? "" : serverName,
    hops.map((hop) => (hop.type === "unix" ? hop.path : `${hop.address} ${hop.port}`)).sort(),
  ])
