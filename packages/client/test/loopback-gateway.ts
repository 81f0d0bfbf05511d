/** A gateway on loopback that answers as a test wants: real HTTP, real sockets, no rules of its own. */
import { createHash } from "node:crypto"
import { once } from "node:events"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo, Socket as TcpSocket } from "node:net"
import type { Duplex } from "node:stream"
import { type WebSocket, WebSocketServer } from "ws"

export interface LoopbackAnswers {
  readonly request?: (request: IncomingMessage, response: ServerResponse) => void
  /** Undefined: the upgrade is accepted. */
  readonly upgrade?: (request: IncomingMessage, socket: Duplex) => void
}

/** What the answer to a WebSocket's handshake has to prove. */
export const acceptKey = ({ headers }: IncomingMessage): string =>
  createHash("sha1").update(`${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")

export class LoopbackGateway {
  readonly url: URL
  readonly requests: IncomingMessage[] = []
  readonly #server: Server
  readonly #sockets = new WebSocketServer({ noServer: true, maxPayload: 2_097_152, handleProtocols: () => "trunkline.v1" })
  readonly #connections = new Set<TcpSocket>()
  readonly #waiting: ((socket: WebSocket) => void)[] = []

  private constructor(server: Server, answers: LoopbackAnswers) {
    this.#server = server
    this.url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    server.on("connection", (connection) => {
      this.#connections.add(connection)
      connection.on("close", () => this.#connections.delete(connection))
    })
    server.on("request", (request, response) => {
      this.requests.push(request)
      if (answers.request !== undefined) answers.request(request, response)
      else response.end(JSON.stringify({ ticket: "a.b" }))
    })
    server.on("upgrade", (request, socket, head) => {
      this.requests.push(request)
      if (answers.upgrade !== undefined) answers.upgrade(request, socket)
      else this.#sockets.handleUpgrade(request, socket, head, (accepted) => this.#waiting.shift()?.(accepted))
    })
  }

  static async start(answers: LoopbackAnswers = {}): Promise<LoopbackGateway> {
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    return new LoopbackGateway(server, answers)
  }

  /** The far end of the next socket, from the moment it is accepted. */
  accepted(): Promise<WebSocket> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  async stop(): Promise<void> {
    for (const connection of this.#connections) connection.destroy()
    this.#server.close()
    await once(this.#server, "close")
  }
}
