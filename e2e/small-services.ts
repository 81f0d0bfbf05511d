/** Services at an agent that tell what came of a call: HTTP, WebSockets and a TCP echo, on free ports of loopback. */
import { once } from "node:events"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from "node:net"
import { gzipSync } from "node:zlib"
import { expect } from "vitest"
import { WebSocketServer } from "ws"

export class SmallServices {
  /** Requests to `/silent` that have ended without an answer. */
  abandoned = 0
  readonly #http: Server
  readonly #echo: TcpServer

  private constructor() {
    this.#http = createServer((request, response) => this.#answer(request, response)).listen(0, "127.0.0.1")
    const sockets = new WebSocketServer({ server: this.#http, path: "/socket", handleProtocols: (offered) => [...offered].at(-1) ?? false })
    sockets.on("connection", (socket) => socket.on("message", (data, binary) => socket.send(data, { binary })))
    this.#echo = createTcpServer({ allowHalfOpen: true }, (socket) => {
      // Whoever resets a connection does so on purpose.
      socket.on("error", () => {})
      // Its last word shows that its half is open after the other's end.
      socket.on("data", (bytes) => socket.write(bytes)).on("end", () => socket.end(" and the end"))
    }).listen(0, "127.0.0.1")
  }

  static async start(): Promise<SmallServices> {
    const services = new SmallServices()
    await Promise.all([once(services.#http, "listening"), once(services.#echo, "listening")])
    return services
  }

  get httpPort(): number {
    return (this.#http.address() as AddressInfo).port
  }

  get echoPort(): number {
    return (this.#echo.address() as AddressInfo).port
  }

  stop(): void {
    this.#http.closeAllConnections()
    this.#http.close()
    this.#echo.close()
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    switch (request.url) {
      case "/json":
        response.setHeader("content-type", "application/json").end(JSON.stringify({ method: request.method, headers: request.headers }))
        return
      case "/gzip":
        response.writeHead(200, { "content-encoding": "gzip", "content-type": "text/plain" }).end(gzipSync("hello ".repeat(10_000)))
        return
      case "/running": {
        // Says how much has come each time some has.
        response.writeHead(200)
        let bytes = 0
        request.on("data", (chunk: Buffer) => {
          bytes += chunk.byteLength
          response.write(`${bytes}\n`)
        })
        request.on("end", () => response.end("end\n"))
        return
      }
      case "/silent":
        request.socket.once("close", () => {
          this.abandoned += 1
        })
        return
      default:
        response.writeHead(404).end("no such page")
    }
  }
}

/** Sends a body to `/running` piece by piece, and sees each answered before the next is sent. */
export async function expectLiveUpload(ask: (init: RequestInit) => Promise<Response>): Promise<void> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const writer = writable.getWriter()
  const first = writer.write(new Uint8Array(4))
  const response = await ask({ method: "POST", body: readable, duplex: "half" } as RequestInit)
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  await first
  expect((await reader?.read())?.value).toBe("4\n")
  await writer.write(new Uint8Array(3))
  expect((await reader?.read())?.value).toBe("7\n")
  await writer.close()
  expect((await reader?.read())?.value).toBe("end\n")
}
