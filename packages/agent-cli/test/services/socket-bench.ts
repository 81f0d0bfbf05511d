/** An agent that serves the kinds of sockets, clients at the other ends of lines in memory, and real sockets of this machine to reach. */
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { type AddressInfo, createServer, type Server, Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { systemClock } from "@trunkline/client/runtime"
import {
  type Incoming,
  InvalidBody,
  type ListenAccept,
  type MuxStream,
  type Principal,
  silentLogger,
  TunnelError,
} from "@trunkline/protocol"
import { AgentEnd, ClientEnd } from "@trunkline/protocol/testing"
import { Listeners } from "../../src/services/listeners.ts"
import { serveTcp } from "../../src/services/tcp.ts"
import type { Hop } from "../../src/targets/owner-policy.ts"
import { connected } from "../agent/memory-line.ts"
import { settle } from "./settle.ts"

/** More than the kernel, the stream and the link take together. */
export const muchBytes = 33_554_432

/** What the owner lets clients reach: each target where it says, unless a test decides. */
interface Policy {
  hops(target: object): Promise<readonly Hop[]>
  checkListen(address: object): void
}

export class SocketBench {
  readonly listeners = new Listeners(silentLogger)
  /** A directory for unix sockets. */
  readonly folder = mkdtempSync(join(tmpdir(), "sockets-"))
  policy: Policy = {
    hops: async (target) => {
      if ("path" in target) return [{ type: "unix", path: String(target.path) }]
      const { host, port } = target as { host: string; port: number }
      return [{ type: "tcp", host, address: host, port }]
    },
    checkListen() {},
  }
  /** How the streams that were served have been answered, if not accepted. */
  readonly refused: unknown[] = []
  readonly #clients: Client[] = []
  readonly #servers: Server[] = []
  readonly #sockets = new Set<Socket>()
  readonly #waiting = new Set<() => void>()

  client(id = "me"): Client {
    const client = new Client(this, { id, scopes: ["tcp"] } as unknown as Principal)
    this.#clients.push(client)
    return client
  }

  /** A server of this machine, with what it does for each connection; gives the target it is. */
  async serve(target: "tcp" | "unix", serve: (socket: Socket) => void): Promise<{ host: string; port: number } | { path: string }> {
    const server = createServer({ allowHalfOpen: true }, (socket) => serve(this.watch(socket)))
    this.#servers.push(server)
    const path = join(this.folder, `s${this.#servers.length}`)
    server.listen(target === "unix" ? { path } : { host: "127.0.0.1", port: 0 })
    await once(server, "listening")
    return target === "unix" ? { path } : { host: "127.0.0.1", port: (server.address() as AddressInfo).port }
  }

  /** Begins to connect to what listens there. */
  knock(address: { host: string; port: number } | { path: string }): Socket {
    return this.watch(new Socket({ allowHalfOpen: true }).connect(address))
  }

  async dial(address: { host: string; port: number } | { path: string }): Promise<Socket> {
    const socket = this.knock(address)
    await once(socket, "connect")
    return socket
  }

  /** Ended with the bench; its errors are no test's failure. */
  watch(socket: Socket): Socket {
    this.#sockets.add(socket)
    for (const event of ["error", "end", "close", "drain"]) socket.on(event, () => this.changed())
    return socket
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.add(resolve))
  }

  changed(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }

  answer(stream: MuxStream, body: unknown, principal: Principal): void {
    this.#serve(stream, body, principal).catch((error: unknown) => {
      this.refused.push(error)
      if (error instanceof TunnelError) stream.reject(error)
      else if (error instanceof InvalidBody) stream.reject(new TunnelError("bad-request", error.message))
      else throw error
      this.changed()
    })
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.leave()
    for (const socket of this.#sockets) socket.destroy()
    for (const server of this.#servers) {
      server.close()
      await once(server, "close")
    }
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #serve(stream: MuxStream, body: unknown, principal: Principal): Promise<void> {
    switch (stream.kind) {
      case "tcp":
        return serveTcp(stream, body, this.policy)
      case "listen":
        return this.listeners.listen(stream, body, principal, this.policy)
      default:
        return this.listeners.accept(stream, body, principal)
    }
  }
}

/** One client on a link of its own. */
export class Client {
  readonly #bench: SocketBench
  readonly #end = new ClientEnd({ link: { clock: systemClock } })
  readonly #agent: AgentEnd
  #cut: () => void

  constructor(bench: SocketBench, principal: Principal) {
    this.#bench = bench
    this.#agent = new AgentEnd(() => ({
      link: { clock: systemClock },
      offered: (stream, body) => bench.answer(stream, body, principal),
    }))
    this.#cut = connected(this.#end, this.#agent)
  }

  open(kind: "tcp" | "listen" | "accept", body: unknown): Asked {
    return new Asked(this.#bench, this.#end, kind, body)
  }

  /** Opens a stream and waits for the answer to it. */
  async opened(kind: "tcp" | "listen" | "accept", body: unknown): Promise<Asked> {
    const asked = this.open(kind, body)
    await this.#bench.until(() => asked.answer !== undefined || asked.closed !== undefined)
    return asked
  }

  /** Loses the path to the agent. */
  cut(): void {
    this.#cut()
  }

  /** Loses the path to the agent and takes another. */
  reconnect(): void {
    this.#cut()
    this.#cut = connected(this.#end, this.#agent)
  }

  /** Gives its link up, and the agent hears of it. */
  leave(): void {
    const error = new TunnelError("aborted", "left")
    this.#end.mux.link.end(error)
    for (const link of this.#agent.links.values()) link.mux.link.end(error)
  }
}

/** A stream from the client's side. */
export class Asked {
  readonly stream: MuxStream
  answer: unknown
  readonly chunks: Uint8Array[] = []
  receivedBytes = 0
  readonly incoming: Incoming[] = []
  finished = false
  closed: { readonly error: TunnelError | undefined } | undefined
  /** What is received is granted only while it is read. */
  #reading = true
  #unpaid = 0
  readonly #bench: SocketBench

  constructor(bench: SocketBench, end: ClientEnd, kind: string, body: unknown) {
    this.#bench = bench
    this.stream = end.mux.open(kind, body, {
      accepted: (answer) => {
        this.answer = answer
        bench.changed()
      },
      data: (_tag, bytes, cost) => {
        this.chunks.push(bytes)
        this.receivedBytes += bytes.byteLength
        if (this.#reading) this.stream.consumed(cost)
        else this.#unpaid += cost
        bench.changed()
      },
      message: (message) => {
        this.incoming.push(message as Incoming)
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

  get listening(): ListenAccept {
    return this.answer as ListenAccept
  }

  get received(): Buffer {
    return Buffer.concat(this.chunks)
  }

  get code(): string | undefined {
    return this.closed?.error?.code
  }

  set reading(reading: boolean) {
    this.#reading = reading
    if (!reading) return
    this.stream.consumed(this.#unpaid)
    this.#unpaid = 0
  }

  write(bytes: Uint8Array | string): void {
    this.stream.write(0, typeof bytes === "string" ? Buffer.from(bytes) : bytes)
  }

  /** Writes all of it as the stream takes it. */
  async writeAll(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.byteLength; at += 65_536) {
      await this.#bench.until(() => this.stream.writableBytes > 0)
      this.write(bytes.subarray(at, at + 65_536))
    }
  }

  /** Writes for as long as it is taken; resolves with the bytes that were. */
  async fill(): Promise<number> {
    let bytes = 0
    for (let quietRounds = 0; quietRounds < 20; quietRounds++) {
      for (; this.stream.writableBytes > 0 && bytes < muchBytes; bytes += 65_536) {
        this.write(new Uint8Array(65_536))
        quietRounds = 0
      }
      await settle(20)
    }
    return bytes
  }
}
