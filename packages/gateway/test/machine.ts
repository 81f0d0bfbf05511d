/** An agent's machine on a real socket: the protocol's own agent end, and processes that do what the test says. */

import { systemClock } from "@trunkline/client/runtime"
import {
  checkBody,
  type ExecOpen,
  type Exit,
  encodeControl,
  execOpenSchema,
  type MuxStream,
  parseGatewayToAgent,
  processTags,
  readSlot,
  type Slot,
  type StreamEvents,
  slot,
  type TransportEvents,
  type TunnelError,
  writeSlot,
} from "@trunkline/protocol"
import { AgentEnd } from "@trunkline/protocol/testing"
import { hello, socketOf, upgrade } from "./peers.ts"

/** What comes, in order, until somebody asks for it. */
class Arrivals<Item> {
  readonly #items: Item[] = []
  #wake: () => void = () => {}

  push(item: Item): void {
    this.#items.push(item)
    this.#wake()
  }

  async next(): Promise<Item> {
    for (;;) {
      const item = this.#items.shift()
      if (item !== undefined) return item
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

/** A process that was asked for. */
export class Run {
  readonly open: ExecOpen
  readonly stream: MuxStream
  /** When the stream is over, with the error that ended it. */
  readonly closed: Promise<TunnelError | undefined>
  /** Standard input, when it has ended. */
  readonly input: Promise<string>
  /** What is to happen when there is room for more output. */
  whenWritable: () => void = () => {}
  /** Whether input is read as it comes. */
  reading = true
  #unreadCost = 0
  readonly #events: StreamEvents

  constructor(open: ExecOpen, stream: MuxStream) {
    this.open = open
    this.stream = stream
    const closed = Promise.withResolvers<TunnelError | undefined>()
    const input = Promise.withResolvers<string>()
    this.closed = closed.promise
    this.input = input.promise
    const chunks: Uint8Array[] = []
    this.#events = {
      data: (_tag, bytes, cost) => {
        chunks.push(bytes)
        this.#unreadCost += cost
        if (this.reading) this.read()
      },
      finished: () => void new Blob(chunks).text().then(input.resolve),
      writable: () => this.whenWritable(),
      closed: closed.resolve,
    }
  }

  start(): this {
    this.stream.accept({ processId: "process-1", pid: 4711 }, this.#events)
    return this
  }

  /** Reads what there is of the input, and from now on what comes. */
  read(): void {
    this.reading = true
    this.stream.consumed(this.#unreadCost)
    this.#unreadCost = 0
  }

  stdout(output: string | Uint8Array): this {
    this.stream.write(processTags.stdout, bytesOf(output))
    return this
  }

  stderr(output: string | Uint8Array): this {
    this.stream.write(processTags.stderr, bytesOf(output))
    return this
  }

  exit(exit: Exit = { type: "code", code: 0 }): void {
    this.stream.finish({ exit, durationMs: 5 })
  }
}

const bytesOf = (output: string | Uint8Array): Uint8Array => (typeof output === "string" ? new TextEncoder().encode(output) : output)

export class Machine {
  readonly name: string
  readonly #runs = new Arrivals<Run>()
  #end: AgentEnd
  #socket: WebSocket | undefined

  private constructor(name: string) {
    this.name = name
    this.#end = this.#newEnd()
  }

  /** Connected under this name. */
  static async start(name: string): Promise<Machine> {
    const machine = new Machine(name)
    await machine.connect()
    return machine
  }

  /** The next process somebody asks for. */
  nextRun(): Promise<Run> {
    return this.#runs.next()
  }

  /** Runs every process in this way, until the test is over. */
  async serve(script: (run: Run) => void): Promise<never> {
    for (;;) script(await this.nextRun())
  }

  /** To the client of every link and back, behind what was sent before. */
  async roundTrip(): Promise<void> {
    await Promise.all([...this.#end.links.values()].map(({ mux }) => mux.ping()))
  }

  /** Dials, again after `cut`. */
  async connect(): Promise<void> {
    const socket = socketOf(await upgrade(`/ws/connect?name=${this.name}`))
    const clients = new Map<Slot, TransportEvents>()
    const welcomed = Promise.withResolvers<void>()
    socket.binaryType = "arraybuffer"
    socket.addEventListener("message", ({ data }) => {
      if (typeof data !== "string") {
        const message = new Uint8Array(data)
        clients.get(readSlot(message))?.message(message)
        return
      }
      const control = parseGatewayToAgent(data)
      if (control.type === "welcome") return welcomed.resolve()
      const number = slot(control.slot)
      if (control.type === "attached") clients.set(number, this.#end.attach(transportTo(socket, number)))
      else {
        clients.get(number)?.closed(1006, "detached")
        clients.delete(number)
      }
    })
    socket.addEventListener("close", ({ code, reason }) => {
      for (const client of clients.values()) client.closed(code, reason)
    })
    socket.accept()
    this.#socket = socket
    socket.send(hello())
    await welcomed.promise
  }

  /** Loses the connection and keeps what runs. */
  cut(): void {
    this.#socket?.close(1001, "cut")
  }

  /** Comes back as a process that knows nothing of what ran. */
  async restart(): Promise<void> {
    this.cut()
    this.#end = this.#newEnd()
    await this.connect()
  }

  /** Stops on purpose. */
  stop(): void {
    this.#socket?.send(encodeControl({ type: "bye" }))
  }

  #newEnd(): AgentEnd {
    return new AgentEnd(() => ({
      link: { clock: systemClock },
      offered: (stream, body) => this.#runs.push(new Run(checkBody(execOpenSchema, body), stream)),
    }))
  }
}

const transportTo = (socket: WebSocket, to: Slot) => ({
  send(message: Uint8Array) {
    writeSlot(message, to)
    if (socket.readyState === WebSocket.OPEN) socket.send(message)
  },
  bufferedBytes: 0,
  close() {},
})
