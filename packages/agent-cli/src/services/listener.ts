/** One listener of a client: those who have connected and wait to be taken (SPEC KR2). It lasts as long as its stream. */
import { randomBytes } from "node:crypto"
import type { Server, Socket } from "node:net"
import { type Incoming, type ListenAddress, limits, type MuxStream, type StreamEvents, TunnelError, targetText } from "@trunkline/protocol"
import { bindAddress } from "./bind-address.ts"
import { breakOff } from "./socket-stream.ts"

interface Waiting {
  readonly socket: Socket
  readonly expiry: NodeJS.Timeout
}

export class Listener {
  readonly id = randomBytes(16).toString("base64url")
  readonly principalId: string
  /** What its client asked for; once it listens, with the port that was taken. */
  #address: ListenAddress
  readonly #stream: MuxStream
  readonly #waiting = new Map<number, Waiting>()
  #servers: readonly Server[] = []
  /** Connections that the client was told of. */
  #told = 0
  #turnedAway = 0

  constructor(stream: MuxStream, principalId: string, asked: ListenAddress) {
    this.principalId = principalId
    this.#address = asked
    this.#stream = stream
  }

  get counts(): { readonly connections: number; readonly turnedAway: number } {
    return { connections: this.#told, turnedAway: this.#turnedAway }
  }

  /** Resolves with the address that was taken. `failed` is told of connections that the system could not give us. Rejects with TunnelError. */
  async bind(failed: (error: Error) => void): Promise<ListenAddress> {
    const bound = await bindAddress(this.#address, (socket) => this.#incoming(socket))
    this.#servers = bound.servers
    this.#address = bound.address
    for (const server of this.#servers) server.on("error", failed)
    return bound.address
  }

  /** `ended` is called once, when it listens no more. */
  events(ended: () => void): StreamEvents {
    return {
      data: (_tag, _bytes, cost) => this.#stream.consumed(cost),
      finished: () => {
        this.close()
        this.#stream.finish()
      },
      closed: () => {
        this.close()
        ended()
      },
    }
  }

  /** One that waits, which is the caller's from now on. */
  take(connection: number): Socket | undefined {
    const waiting = this.#waiting.get(connection)
    if (waiting === undefined) return undefined
    this.#waiting.delete(connection)
    clearTimeout(waiting.expiry)
    return waiting.socket
  }

  /** Whether it stands where another is wanted and may give way: the same principal asks, and the client it was for is gone. */
  givesWayTo(principalId: string, asked: ListenAddress): boolean {
    return !this.#stream.attached && this.principalId === principalId && targetText(this.#address) === targetText(asked)
  }

  /** Ends it, and tells its client why. */
  end(error: TunnelError): void {
    this.#stream.reset(error)
  }

  /** Ends it, and the connections that wait; those taken go on. Idempotent. */
  close(): void {
    for (const server of this.#servers) server.close()
    this.#servers = []
    for (const connection of this.#waiting.keys()) this.#turnAway(connection)
  }

  #incoming(socket: Socket): void {
    // Until it is taken nobody listens, and an error would end the agent.
    socket.on("error", () => {})
    if (!this.#tell(socket)) {
      this.#turnedAway += 1
      return breakOff(socket)
    }
    const connection = this.#told
    this.#waiting.set(connection, { socket, expiry: setTimeout(() => this.#turnAway(connection), limits.listenBacklogMs) })
  }

  /** False for one that the client could not take, or would not in time. */
  #tell(socket: Socket): boolean {
    if (this.#stream.phase !== "open" || this.#waiting.size >= limits.listenBacklogMax) return false
    const { remoteAddress: address, remotePort: port } = socket
    const from = address === undefined || port === undefined ? undefined : { address, port }
    const incoming: Incoming = { type: "incoming", connection: this.#told + 1, from }
    try {
      this.#stream.sendMessage(incoming)
    } catch (error) {
      if (error instanceof TunnelError) return false
      throw error
    }
    this.#told += 1
    return true
  }

  #turnAway(connection: number): void {
    const socket = this.take(connection)
    if (socket === undefined) return
    this.#turnedAway += 1
    breakOff(socket)
  }
}
