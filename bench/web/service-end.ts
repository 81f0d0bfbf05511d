/** The services behind the agent, and for the direct connections beside it: HTTP and plain TCP, as little as each can be. */
import { once } from "node:events"
import { createServer as createHttpServer, type ServerResponse } from "node:http"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import type { Writable } from "node:stream"
import { setTimeout as delay } from "node:timers/promises"
import { serveEnd } from "../serve-end.ts"
import { pieceGapMs, pieces, stampBytes } from "./pieces.ts"

const block = Buffer.alloc(65_536, "bench")

/** Writes so many bytes as fast as the reader takes them. */
async function pour(bytes: number, to: Writable): Promise<void> {
  for (let rest = bytes; rest > 0 && !to.destroyed; rest -= block.byteLength) {
    if (to.write(block.subarray(0, rest))) continue
    // Rejects when the reader has left.
    await once(to, "drain")
  }
  to.end()
}

/** Each piece is the time of its writing: the clock that counts from the machine's start is the same in every process. */
async function trickle(response: ServerResponse, type: string): Promise<void> {
  response.writeHead(200, { "content-type": type })
  for (let piece = 0; piece < pieces; piece++) {
    await delay(pieceGapMs)
    response.write(`data: ${String(process.hrtime.bigint()).padStart(stampBytes)}\n\n`)
  }
  response.end()
}

const http = createHttpServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://service")
  switch (url.pathname) {
    case "/events":
      return void trickle(response, "text/event-stream")
    case "/chunks":
      return void trickle(response, "application/octet-stream")
    case "/large": {
      const bytes = Number(url.searchParams.get("bytes"))
      response.writeHead(200, { "content-type": "application/octet-stream", "content-length": bytes })
      return void pour(bytes, response).catch(() => {})
    }
    default:
      return void response.end("served")
  }
})

/** A connection asks with 8 bytes for so many, and may say at once that it asks for no more. */
const tcp = createServer({ allowHalfOpen: true }, (socket: Socket) => {
  socket.on("error", () => socket.destroy())
  socket.once("data", (asked: Buffer) => void pour(asked.readDoubleLE(), socket).catch(() => {}))
})

const listening = (server: Server): Promise<number> =>
  new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)))

const tasks = {
  /** The two ports. */
  listen: async (_: undefined): Promise<{ readonly http: number; readonly tcp: number }> => ({
    http: await listening(http),
    tcp: await listening(tcp),
  }),
}

export type ServiceTasks = typeof tasks
serveEnd(tasks)
