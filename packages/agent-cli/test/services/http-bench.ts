/** The SDK and an agent's HTTP services on a link in memory, an owner's policy that a test can change, and services on real sockets. */
import { once } from "node:events"
import { createServer, type RequestListener } from "node:http"
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from "node:net"
import { systemClock } from "@trunkline/client/runtime"
import { type HttpTarget, InvalidBody, type MuxStream, type StreamTarget, TunnelError } from "@trunkline/protocol"
import { AgentEnd } from "@trunkline/protocol/testing"
import { Agent, type Dial, type HttpAnswer, type HttpRequest } from "../../../client/src/index.ts"
import { LinkConnection } from "../../../client/src/link-connection.ts"
import { readyText } from "../../../client/test/scripted-dial.ts"
import { HttpServices } from "../../src/services/http.ts"
import type { Hop, HttpService } from "../../src/targets/owner-policy.ts"

/** Allows all that is not denied; a name stands for this machine. */
class BenchPolicy {
  firstByteMs = 0
  idleMs = 0
  readonly services = new Map<number, HttpService>()
  denied = false

  service(target: HttpTarget): HttpService {
    if (!("service" in target)) {
      const { tls, ...where } = target
      return { target: where, tls }
    }
    return this.services.get(target.service) ?? { target: { host: "localhost", port: target.service }, tls: undefined }
  }

  async hops(target: StreamTarget): Promise<readonly Hop[]> {
    if (this.denied) throw new TunnelError("denied", "the owner does not allow it")
    if ("path" in target) return [{ type: "unix", path: target.path }]
    return [{ type: "tcp", host: target.host, address: "127.0.0.1", port: target.port }]
  }
}

export class HttpBench {
  readonly policy = new BenchPolicy()
  /** The SDK's handle. */
  readonly agent: Agent
  /** Another client, whose streams a test opens itself. */
  readonly link: LinkConnection
  /** The agent's ends of what was asked, in order. */
  readonly streams: MuxStream[] = []
  readonly #services = new HttpServices()
  readonly #servers: Server[] = []
  readonly #sockets = new Set<Socket>()

  constructor() {
    const end = new AgentEnd(() => ({ link: { clock: systemClock }, offered: (stream, body) => this.#serve(stream, body) }))
    const dial: Dial = async (_, events) => {
      const far = end.attach({ bufferedBytes: 0, send: later((message) => events.message(message)), close() {} })
      events.message(readyText())
      const send = later((message) => far.message(message))
      return { bufferedBytes: 0, send: (message) => typeof message === "string" || send(message), close() {} }
    }
    const options = { clock: systemClock, idleMs: 60_000, dial }
    const target = { gateway: new URL("http://gateway.test/"), token: "token" }
    this.agent = new Agent("box", { ...target, ...options })
    this.link = new LinkConnection({ target: { ...target, agent: "box" }, ...options })
  }

  /** An HTTP service; the port. */
  http(listener: RequestListener): Promise<number> {
    return this.listen(createServer({ keepAliveTimeout: 60_000 }, listener))
  }

  /** A service on bare TCP; the port. */
  tcp(connected: (socket: Socket) => void): Promise<number> {
    return this.listen(
      createTcpServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        // A tunnel that hangs up is what some of them are for.
        socket.on("error", () => {})
        connected(socket)
      }),
    )
  }

  /** A service that says this once it has been asked, and does `after` with the socket. */
  saying(answer: string | Uint8Array, after: (socket: Socket) => void = () => {}): Promise<number> {
    return this.tcp((socket) => socket.once("data", () => socket.write(answer, () => after(socket))))
  }

  async listen(server: Server, place: object = { port: 0, host: "127.0.0.1" }): Promise<number> {
    this.#servers.push(server)
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on("close", () => this.#sockets.delete(socket))
    })
    server.listen(place)
    await once(server, "listening")
    const address = server.address()
    return address === null || typeof address === "string" ? 0 : (address satisfies AddressInfo).port
  }

  /** Connections that services have now. */
  get connections(): number {
    return this.#sockets.size
  }

  ask(port: number, request: Partial<HttpRequest> = {}): Promise<HttpAnswer> {
    return this.agent.request({ target: { service: port }, method: "GET", path: "/", headers: [], ...request })
  }

  async close(): Promise<void> {
    this.agent.close()
    this.link.close()
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))))
  }

  #serve(stream: MuxStream, body: unknown): void {
    this.streams.push(stream)
    this.#services.serve(stream, body, this.policy).catch((error: unknown) => {
      if (error instanceof TunnelError) return stream.reject(error)
      if (error instanceof InvalidBody) return stream.reject(new TunnelError("bad-request", error.message))
      throw error
    })
  }
}

/** Each message in a turn of its own, and in memory of its own: its sender may use it again. */
const later =
  (deliver: (message: Uint8Array) => void) =>
  (message: Uint8Array): void => {
    const copy = message.slice()
    setImmediate(deliver, copy)
  }

export const textOf = (answer: { readonly body: ReadableStream<Uint8Array> }): Promise<string> => new Response(answer.body).text()

/** What came before it broke off, and why it did. */
export async function readToBreak(answer: HttpAnswer): Promise<{ text: string; error: unknown }> {
  const decoder = new TextDecoder()
  let text = ""
  try {
    for await (const chunk of answer.body) text += decoder.decode(chunk, { stream: true })
    return { text, error: undefined }
  } catch (error) {
    return { text, error }
  }
}

export const bytesOf = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text)

/** A body that is read when somebody wants it. */
export function streamOf(...chunks: readonly (string | Uint8Array)[]): ReadableStream<Uint8Array> {
  const left = [...chunks]
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const chunk = left.shift()
        if (chunk === undefined) controller.close()
        else controller.enqueue(typeof chunk === "string" ? bytesOf(chunk) : chunk)
      },
    },
    { highWaterMark: 0 },
  )
}

/** A connection at a service on bare TCP, and what it has been sent. */
export class RawConnection {
  readonly socket: Socket
  text = ""
  readonly #changes = new Set<() => void>()

  constructor(socket: Socket) {
    this.socket = socket
    socket.on("data", (chunk: Buffer) => {
      this.text += chunk.toString("latin1")
      for (const changed of this.#changes) changed()
    })
  }

  /** Resolves when the text holds this. */
  async until(part: string): Promise<string> {
    while (!this.text.includes(part)) await new Promise<void>((resolve) => this.#changes.add(resolve))
    return this.text
  }
}

/** A service on bare TCP whose connections a test plays by hand. */
export class RawService {
  readonly port: number
  readonly #accepted: RawConnection[]
  readonly #waiting: ((connection: RawConnection) => void)[]

  private constructor(port: number, accepted: RawConnection[], waiting: ((connection: RawConnection) => void)[]) {
    this.port = port
    this.#accepted = accepted
    this.#waiting = waiting
  }

  static async start(bench: HttpBench): Promise<RawService> {
    const accepted: RawConnection[] = []
    const waiting: ((connection: RawConnection) => void)[] = []
    const port = await bench.tcp((socket) => {
      const connection = new RawConnection(socket)
      const next = waiting.shift()
      if (next === undefined) accepted.push(connection)
      else next(connection)
    })
    return new RawService(port, accepted, waiting)
  }

  /** Connections that nobody has asked for yet. */
  get unasked(): number {
    return this.#accepted.length
  }

  next(): Promise<RawConnection> {
    const connection = this.#accepted.shift()
    return connection === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(connection)
  }
}
