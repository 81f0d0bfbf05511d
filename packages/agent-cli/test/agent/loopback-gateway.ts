/** A gateway for one agent on loopback: real sockets, and every word of it said by the test. */
import { createHash } from "node:crypto"
import { once } from "node:events"
import { createServer, type IncomingMessage, type Server } from "node:http"
import type { AddressInfo, Socket as TcpSocket } from "node:net"
import type { Duplex } from "node:stream"
import { type WebSocket, WebSocketServer } from "ws"

/** The gateway's end of an agent's connection. */
export class Leg {
  readonly request: IncomingMessage
  readonly socket: WebSocket
  readonly texts: string[] = []
  readonly binaries: Buffer[] = []
  closed: { readonly code: number; readonly reason: string } | undefined
  readonly #waiting = new Set<() => void>()

  constructor(request: IncomingMessage, socket: WebSocket) {
    this.request = request
    this.socket = socket
    socket.on("message", (data, binary) => {
      if (!(data instanceof Buffer)) return
      if (binary) this.binaries.push(data)
      else this.texts.push(data.toString())
      this.#changed()
    })
    socket.on("close", (code, reason) => {
      this.closed = { code, reason: reason.toString() }
      this.#changed()
    })
  }

  /** Control messages of the agent, in order. */
  get controls(): readonly { readonly type: string; readonly [field: string]: unknown }[] {
    return this.texts.filter((text) => text !== "ping").map((text) => JSON.parse(text))
  }

  say(control: unknown): void {
    this.socket.send(JSON.stringify(control))
  }

  async welcome(): Promise<void> {
    await this.until(() => this.texts.length > 0)
    this.say({ type: "welcome", protocol: 1, name: "box", generation: 1 })
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.add(resolve))
  }

  #changed(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }
}

export type Upgrade = (request: IncomingMessage, socket: Duplex) => void

export class LoopbackGateway {
  /** What becomes of the next upgrades; undefined accepts them. */
  upgrade: Upgrade | undefined
  dials = 0
  readonly url: URL
  readonly #server: Server
  readonly #sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "trunkline.v1" })
  readonly #connections = new Set<TcpSocket>()
  readonly #legs: Leg[] = []
  readonly #waiting: ((leg: Leg) => void)[] = []

  private constructor(server: Server) {
    this.#server = server
    this.url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    server.on("connection", (connection) => {
      this.#connections.add(connection)
      connection.on("close", () => this.#connections.delete(connection))
    })
    server.on("upgrade", (request, socket, head) => {
      this.dials += 1
      if (this.upgrade !== undefined) return this.upgrade(request, socket)
      this.#sockets.handleUpgrade(request, socket, head, (accepted) => {
        const leg = new Leg(request, accepted)
        const waiting = this.#waiting.shift()
        if (waiting === undefined) this.#legs.push(leg)
        else waiting(leg)
      })
    })
  }

  static async start(): Promise<LoopbackGateway> {
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    return new LoopbackGateway(server)
  }

  /** The next connection that is accepted. */
  leg(): Promise<Leg> {
    const leg = this.#legs.shift()
    return leg === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(leg)
  }

  async stop(): Promise<void> {
    for (const connection of this.#connections) connection.destroy()
    this.#server.close()
    await once(this.#server, "close")
  }
}

/** Answers an upgrade with a status and a body. */
export const answer =
  (status: string, body: string): Upgrade =>
  (_, socket) =>
    void socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\n\r\n${body}`)

export const errorBody = (code: string): string => JSON.stringify({ error: { code, message: `because ${code}`, retryable: false } })

/** Shakes hands, says these bytes, and keeps the connection whatever it hears. */
export const lingering =
  (bytes: Uint8Array, ended: () => void): Upgrade =>
  (request, socket) => {
    const key = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
    const head = ["101 Switching Protocols", "upgrade: websocket", "connection: upgrade", `sec-websocket-accept: ${key}`]
    socket.write(`HTTP/1.1 ${head.join("\r\n")}\r\nsec-websocket-protocol: trunkline.v1\r\n\r\n`)
    socket.write(bytes)
    socket.on("end", ended).on("error", ended).resume()
  }
