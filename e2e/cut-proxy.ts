/** A TCP line between a peer and the gateway that fails on command: cut, frozen, losing what is under way, refusing. */
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"

/** Bytes a direction holds before it stops reading: what a line has under way. */
const queueBytesMax = 65_536
/** Milliseconds between portions of a line whose rate is bounded. */
const portionMs = 5
/** Milliseconds that a cut waits for the further bytes it is to lose; a line may have fallen silent. */
const loseWithinMs = 50

export interface Cut {
  /** `fin` closes in order, `rst` at once. */
  readonly how: "fin" | "rst"
  /** Whose socket is closed. The other end of a line of which one is closed hears nothing more, and not of its end. */
  readonly side?: "both" | "peer" | "gateway"
  /** In each direction that many further bytes are dropped before the cut, besides what the line holds, which every cut drops. */
  readonly loseBytes?: number
}

/** One direction of one connection. */
class Flow {
  readonly #from: Socket
  readonly #to: Socket
  readonly #line: CutProxy
  readonly #queue: Buffer[] = []
  #queuedBytes = 0
  #timer: NodeJS.Timeout | undefined
  #losing: { leftBytes: number; readonly lost: () => void } | undefined
  #ended = false

  constructor(from: Socket, to: Socket, line: CutProxy) {
    this.#from = from
    this.#to = to
    this.#line = line
    from.on("data", (chunk: Buffer) => this.#take(chunk))
    from.on("end", () => {
      this.#ended = true
      this.pump()
    })
    to.on("drain", () => this.pump())
  }

  /** Sends on what the line's state and rate allow. */
  pump(): void {
    if (this.#line.frozen || this.#losing !== undefined || this.#timer !== undefined || this.#to.writableNeedDrain) return
    let portionBytes = this.#line.bytesPerSecond === undefined ? queueBytesMax : (this.#line.bytesPerSecond * portionMs) / 1000
    for (let chunk = this.#queue.shift(); chunk !== undefined; chunk = this.#queue.shift()) {
      const now = chunk.subarray(0, portionBytes)
      if (now.byteLength < chunk.byteLength) this.#queue.unshift(chunk.subarray(now.byteLength))
      this.#queuedBytes -= now.byteLength
      portionBytes -= now.byteLength
      this.#to.write(now)
      if (portionBytes < 1) break
    }
    if (this.#queuedBytes < queueBytesMax) this.#from.resume()
    if (this.#queue.length > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined
        this.pump()
      }, portionMs)
    } else if (this.#ended) this.#to.end()
  }

  /** Drops what is under way and so many further bytes. Resolves when they came, or would not come. */
  async lose(bytes: number): Promise<void> {
    this.stop()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#losing = { leftBytes: bytes, lost: resolve }
    this.#from.resume()
    const timer = setTimeout(resolve, bytes === 0 ? 0 : loseWithinMs)
    await promise
    clearTimeout(timer)
  }

  /** Nothing more passes. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#queue.length = 0
    this.#queuedBytes = 0
    this.#losing = { leftBytes: 0, lost() {} }
  }

  #take(chunk: Buffer): void {
    if (this.#losing !== undefined) {
      this.#losing.leftBytes -= chunk.byteLength
      if (this.#losing.leftBytes <= 0) this.#losing.lost()
      return
    }
    this.#queue.push(chunk)
    this.#queuedBytes += chunk.byteLength
    if (this.#queuedBytes >= queueBytesMax || this.#line.frozen) this.#from.pause()
    this.pump()
  }
}

class Connection {
  readonly #peer: Socket
  readonly #gateway: Socket
  readonly #flows: readonly Flow[]

  constructor(peer: Socket, gateway: Socket, line: CutProxy) {
    this.#peer = peer
    this.#gateway = gateway
    this.#flows = [new Flow(peer, gateway, line), new Flow(gateway, peer, line)]
    for (const [socket, other] of [
      [peer, gateway],
      [gateway, peer],
    ] as const) {
      socket.setNoDelay(true)
      // A reset is told by `close`.
      socket.on("error", () => {})
      socket.on("close", (failed) => {
        if (failed) other.resetAndDestroy()
      })
    }
  }

  async cut({ how, side = "both", loseBytes }: Cut): Promise<void> {
    if (loseBytes !== undefined) await Promise.all(this.#flows.map((flow) => flow.lose(loseBytes)))
    for (const flow of this.#flows) flow.stop()
    for (const socket of [this.#peer, this.#gateway]) {
      socket.removeAllListeners("close")
      if (side !== "both" && socket !== (side === "peer" ? this.#peer : this.#gateway)) socket.pause()
      else if (how === "rst") socket.resetAndDestroy()
      // Not `destroy` alone: unread bytes would turn it into a reset.
      else socket.resume().end()
    }
  }

  pump(): void {
    for (const flow of this.#flows) flow.pump()
  }

  destroy(): void {
    for (const flow of this.#flows) flow.stop()
    this.#peer.destroy()
    this.#gateway.destroy()
  }
}

export class CutProxy {
  /** What a peer is told to dial. */
  readonly url: string
  /** Connections that were accepted. */
  accepted = 0
  frozen = false
  bytesPerSecond: number | undefined
  readonly #server: Server
  readonly #live = new Set<Connection>()
  /** Cut on one side only: the other is kept, deaf. */
  readonly #all = new Set<Connection>()
  readonly #waiting = new Set<() => void>()
  #refusing = false

  private constructor(server: Server, gatewayPort: number) {
    this.#server = server
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    server.on("connection", (peer: Socket) => {
      if (this.#refusing) {
        peer.resetAndDestroy()
        return
      }
      const connection = new Connection(peer, connect({ port: gatewayPort, host: "127.0.0.1", allowHalfOpen: true }), this)
      this.#live.add(connection)
      this.#all.add(connection)
      this.accepted += 1
      for (const wake of this.#waiting) wake()
      this.#waiting.clear()
    })
  }

  static async start(gatewayPort: number, bytesPerSecond?: number): Promise<CutProxy> {
    const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1")
    await once(server, "listening")
    const proxy = new CutProxy(server, gatewayPort)
    proxy.bytesPerSecond = bytesPerSecond
    return proxy
  }

  /** Resolves when a connection is accepted. */
  next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve))
  }

  /** Cuts every connection there is. */
  async cut(cut: Cut): Promise<void> {
    const live = [...this.#live]
    this.#live.clear()
    await Promise.all(live.map((connection) => connection.cut(cut)))
  }

  /** Nothing passes in either direction, on new connections neither; nobody is told. */
  freeze(): void {
    this.frozen = true
  }

  thaw(): void {
    this.frozen = false
    for (const connection of this.#live) connection.pump()
  }

  /** New connections are reset until `admit`. */
  refuse(): void {
    this.#refusing = true
  }

  admit(): void {
    this.#refusing = false
  }

  /** The rate from now on; undefined is as fast as it goes. */
  setRate(bytesPerSecond: number | undefined): void {
    this.bytesPerSecond = bytesPerSecond
    for (const connection of this.#live) connection.pump()
  }

  async stop(): Promise<void> {
    for (const connection of this.#all) connection.destroy()
    this.#server.close()
    await once(this.#server, "close")
  }
}
