/** An agent that serves WebSockets, the SDK and raw streams at the other ends of lines in memory, and real services of this machine. */
import { createHash } from "node:crypto"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, type IncomingMessage, type Server } from "node:http"
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Duplex } from "node:stream"
import { Agent } from "@trunkline/client"
import { systemClock } from "@trunkline/client/runtime"
import {
  encodeControl,
  HeadReader,
  type HttpHead,
  InvalidBody,
  type MuxStream,
  PieceReader,
  TunnelError,
  type WebSocketOpcode,
} from "@trunkline/protocol"
import { AgentEnd, ClientEnd } from "@trunkline/protocol/testing"
import { type ServerOptions, type WebSocket, WebSocketServer } from "ws"
import { MessageMemory } from "../../src/services/message-memory.ts"
import { serveWebSocket } from "../../src/services/websocket.ts"
import { OwnerPolicy } from "../../src/targets/owner-policy.ts"
import { defaultPolicySettings, type PolicySettings } from "../../src/targets/policy-settings.ts"
import { connected } from "../agent/memory-line.ts"

export class WebSocketBench {
  /** The SDK's. */
  readonly agent: Agent
  settings: PolicySettings = defaultPolicySettings
  memory = new MessageMemory()
  /** A directory for unix sockets. */
  readonly folder = mkdtempSync(join(tmpdir(), "websockets-"))
  readonly #end = new AgentEnd(() => ({ link: { clock: systemClock }, offered: (stream, body) => this.#serve(stream, body) }))
  readonly #servers: (Server | TcpServer)[] = []
  readonly #sockets = new Set<Socket>()
  readonly #waiting = new Set<() => void>()

  constructor() {
    this.agent = new Agent("box", {
      gateway: new URL("http://gateway.test/"),
      token: "token",
      clock: systemClock,
      idleMs: 0,
      dial: async (_, events) => {
        const far = this.#end.attach({
          bufferedBytes: 0,
          send: (message) => {
            const copy = message.slice()
            setImmediate(() => events.message(copy))
          },
          close() {},
        })
        events.message(encodeControl({ type: "ready", protocol: 1, agent: "here", generation: 1, instance: "i", version: "v" }))
        return {
          bufferedBytes: 0,
          send: (message) => {
            const copy = message.slice()
            setImmediate(() => typeof copy === "string" || far.message(copy))
          },
          close() {},
        }
      },
    })
  }

  /** A WebSocket service; gives its port. */
  async service(serve: (socket: WebSocket) => void, options: ServerOptions = {}, path?: string): Promise<number> {
    const server = createServer()
    new WebSocketServer({ server, ...options }).on("connection", (socket) => {
      socket.on("error", () => this.changed())
      for (const event of ["message", "close", "pong"]) socket.on(event, () => this.changed())
      serve(socket)
    })
    return await this.listen(server, path)
  }

  /** One that speaks what the test says, on bare TCP. */
  tcp(serve: (socket: Socket) => void): Promise<number> {
    return this.listen(createTcpServer(serve))
  }

  /** One that shakes hands and leaves the rest to the test, to the byte. */
  byHand({ headers = [], serve = () => {} }: { headers?: string[]; serve?: (connection: Duplex, request: IncomingMessage) => void }) {
    const server = createServer().on("upgrade", (request, connection) => {
      const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
      const accept = `Sec-WebSocket-Accept: ${createHash("sha1").update(key).digest("base64")}`
      const head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", accept, ...headers]
      connection.write(`${head.join("\r\n")}\r\n\r\n`)
      serve(connection, request)
    })
    return this.listen(server)
  }

  async listen(server: Server | TcpServer, path?: string): Promise<number> {
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on("error", () => {}).on("close", () => this.changed())
    })
    this.#servers.push(server)
    server.listen(path === undefined ? { port: 0, host: "127.0.0.1" } : { path })
    await once(server, "listening")
    return path === undefined ? (server.address() as AddressInfo).port : 0
  }

  /** A raw stream to the service at this port. */
  raw(port: number): RawSocket {
    const client = new ClientEnd({ link: { clock: systemClock }, number: 1 + Math.trunc(Math.random() * 1e9) })
    connected(client, this.#end)
    return new RawSocket(this, client, { target: { service: port }, path: "/", headers: [] })
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.add(resolve))
  }

  changed(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }

  async close(): Promise<void> {
    this.agent.close()
    for (const { mux } of this.#end.links.values()) mux.link.end(new TunnelError("aborted", "the test is over"))
    for (const socket of this.#sockets) socket.destroy()
    for (const server of this.#servers) {
      if (!server.listening) continue
      server.close()
      await once(server, "close")
    }
    rmSync(this.folder, { recursive: true, force: true })
  }

  #serve(stream: MuxStream, body: unknown): void {
    serveWebSocket(stream, body, new OwnerPolicy(this.settings), this.memory).catch((error: unknown) => {
      if (error instanceof TunnelError) stream.reject(error)
      else if (error instanceof InvalidBody) stream.reject(new TunnelError("bad-request", error.message))
      else throw error
    })
  }
}

/** A stream of the kind from the client's side, to the byte. */
export class RawSocket {
  readonly stream: MuxStream
  head: HttpHead | undefined
  /** What the agent has sent, messages whole. */
  readonly pieces: { readonly opcode: WebSocketOpcode; readonly text: string }[] = []
  finished = false
  closed: { readonly error: TunnelError | undefined } | undefined

  constructor(bench: WebSocketBench, client: ClientEnd, open: object) {
    const head = new HeadReader()
    let text = ""
    const reader = new PieceReader(({ opcode, last, payload }) => {
      text += new TextDecoder().decode(payload)
      if (!last) return
      this.pieces.push({ opcode, text })
      text = ""
    })
    this.stream = client.mux.open("websocket", open, {
      data: (tag, bytes, cost) => {
        if (tag === 1) this.head = head.push(bytes)
        else reader.push(bytes)
        this.stream.consumed(cost)
        bench.changed()
      },
      finished: () => {
        this.finished = true
        bench.changed()
      },
      writable: () => bench.changed(),
      closed: (error) => {
        this.closed = { error }
        bench.changed()
      },
    })
  }

  write(bytes: Uint8Array): void {
    this.stream.write(2, bytes)
  }
}
