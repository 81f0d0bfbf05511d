/** The far end of a tunnel socket, played by a test; and pairs of real sockets of this machine. */
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import type { TunnelSocket } from "@trunkline/client"
import { onTestFinished } from "vitest"

/** Looks again whenever something may have happened; the test's own time limit ends it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

export class ScriptedTunnel {
  readonly socket: TunnelSocket
  readonly received: Uint8Array[] = []
  receivedEnd = false
  /** Why the near end has broken it off. */
  brokenOff: { readonly reason: unknown } | undefined
  /** Bytes that were asked for. */
  pulledBytes = 0
  #reading: ReadableStreamDefaultController<Uint8Array> | undefined
  #source: Iterator<Uint8Array> | undefined
  #wanted = false
  #gate: PromiseWithResolvers<void> | undefined
  #halves = 2
  readonly #closed = Promise.withResolvers<void>()

  constructor() {
    this.#closed.promise.catch(() => {})
    const breakOff = (reason: unknown) => {
      this.brokenOff ??= { reason }
      this.#closed.reject(reason)
    }
    this.socket = {
      closed: this.#closed.promise,
      address: undefined,
      readable: new ReadableStream<Uint8Array>(
        {
          start: (controller) => {
            this.#reading = controller
          },
          pull: () => {
            this.#wanted = true
            this.#giveNext()
          },
          cancel: breakOff,
        },
        { highWaterMark: 0 },
      ),
      writable: new WritableStream<Uint8Array>({
        write: async (bytes) => {
          await this.#gate?.promise
          this.received.push(bytes)
        },
        close: () => {
          this.receivedEnd = true
          this.#half()
        },
        abort: breakOff,
      }),
    }
  }

  get receivedText(): string {
    return Buffer.concat(this.received).toString()
  }

  send(text: string): void {
    this.#reading?.enqueue(Buffer.from(text))
  }

  /** Gives these when they are asked for, one at a time. */
  give(source: Iterable<Uint8Array>): void {
    this.#source = source[Symbol.iterator]()
    this.#giveNext()
  }

  end(): void {
    this.#reading?.close()
    this.#half()
  }

  fail(error: Error): void {
    this.#reading?.error(error)
    this.#closed.reject(error)
  }

  /** Takes nothing until the result is called. */
  hold(): () => void {
    this.#gate = Promise.withResolvers<void>()
    return this.#gate.resolve
  }

  #giveNext(): void {
    if (!this.#wanted) return
    const next = this.#source?.next()
    if (next === undefined || next.done === true) return
    this.#wanted = false
    this.pulledBytes += next.value.byteLength
    this.#reading?.enqueue(next.value)
  }

  #half(): void {
    this.#halves -= 1
    if (this.#halves === 0) this.#closed.resolve()
  }
}

export async function listening(
  server: Server,
  options: { readonly path: string } | { readonly host: string } = { host: "127.0.0.1" },
): Promise<Server> {
  server.listen("path" in options ? options : { ...options, port: 0 })
  await once(server, "listening")
  onTestFinished(() => void server.close())
  return server
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}

/** What comes until the other end's half is over, or all is. Unlike Node's own it leaves the socket as it is. */
export function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  return new Promise((resolve) => {
    const done = () => resolve(Buffer.concat(chunks))
    socket
      .on("data", (chunk: Buffer) => chunks.push(chunk))
      .on("end", done)
      .on("close", done)
  })
}

/** Whether it ended with a reset. */
export const closing = (socket: Socket): Promise<boolean> => new Promise((resolve) => socket.on("close", resolve))

/** A connection of this machine: `far` is the program's, `near` ours, paused. */
export async function socketPair(path?: string): Promise<{ readonly near: Socket; readonly far: Socket }> {
  const server = await listening(createServer({ allowHalfOpen: true, pauseOnConnect: true }), path === undefined ? undefined : { path })
  const far = connect({ ...(path === undefined ? { port: portOf(server), host: "127.0.0.1" } : { path }), allowHalfOpen: true })
  const [[near]] = (await Promise.all([once(server, "connection"), once(far, "connect")])) as [[Socket], unknown]
  for (const socket of [near, far]) {
    socket.on("error", () => {})
    onTestFinished(() => void socket.destroy())
  }
  return { near, far }
}
