/** An agent's machine on a real socket: the protocol's own agent end, and processes that do what the test says. */

import { systemClock } from "@trunkline/client/runtime"
import {
  type AttachAccept,
  type AttachOpen,
  attachOpenSchema,
  checkBody,
  type ExecOpen,
  type Exit,
  encodeControl,
  execOpenSchema,
  type MuxStream,
  type ProcessesOpen,
  parseGatewayToAgent,
  processesOpenSchema,
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
export class Arrivals<Item> {
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

/** A stream of a process: one that started it, or a view of it. */
class ProcessStream<Open> {
  readonly open: Open
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

  constructor(open: Open, stream: MuxStream) {
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

  protected accept(body: object): this {
    this.stream.accept({ processId: "process-1", pid: 4711, ...body }, this.#events)
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

  /** The output between these offsets is forgotten; `screen` is what the terminal shows behind it. */
  truncated(from: number, to: number, screen = ""): this {
    this.stream.sendMessage({ type: "truncated", from, to, repaintBytes: bytesOf(screen).byteLength })
    return screen === "" ? this : this.stdout(screen)
  }

  exit(exit: Exit = { type: "code", code: 0 }): void {
    this.stream.finish({ exit, durationMs: 5 })
  }

  /** No more of it, and the process runs on. */
  end(): void {
    this.stream.finish()
  }
}

/** A process that was asked for. */
export class Run extends ProcessStream<ExecOpen> {
  start(): this {
    return this.accept({})
  }
}

/** A process that somebody wants to see. */
export class View extends ProcessStream<AttachOpen> {
  /** Shows it from where it was asked for; `liveOffset` is what it has written. */
  show(fields: Partial<AttachAccept> = {}): this {
    const offset = typeof this.open.from === "number" ? this.open.from : 0
    return this.accept({ kind: "exec", offset, liveOffset: offset, repaintBytes: 0, ...fields })
  }
}

/** A question about the machine's processes. */
export class Question {
  readonly open: ProcessesOpen
  readonly stream: MuxStream

  constructor(open: ProcessesOpen, stream: MuxStream) {
    this.open = open
    this.stream = stream
  }

  answer(answer: unknown): void {
    this.stream.accept({}, { data: () => {}, closed: () => {} })
    this.stream.write(0, bytesOf(JSON.stringify(answer)))
    this.stream.finish()
  }
}

/** A stream to a service: its kind, what it was opened with, and nothing done about it yet. */
export interface Offer {
  readonly kind: string
  readonly open: unknown
  readonly stream: MuxStream
}

const serviceKinds: readonly string[] = ["http", "websocket", "tcp"]

const bytesOf = (output: string | Uint8Array): Uint8Array => (typeof output === "string" ? new TextEncoder().encode(output) : output)

export class Machine {
  readonly name: string
  readonly #runs = new Arrivals<Run>()
  readonly #views = new Arrivals<View>()
  readonly #questions = new Arrivals<Question>()
  readonly #offers = new Arrivals<Offer>()
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

  nextView(): Promise<View> {
    return this.#views.next()
  }

  nextQuestion(): Promise<Question> {
    return this.#questions.next()
  }

  nextOffer(): Promise<Offer> {
    return this.#offers.next()
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
        clients.get(number)?.closed(control.ended === true ? 1000 : 1006, "detached")
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

  /** Takes no new clients. */
  drain(): void {
    this.#socket?.send(encodeControl({ type: "drain" }))
  }

  /** Stops on purpose. */
  stop(): void {
    this.#socket?.send(encodeControl({ type: "bye" }))
  }

  #newEnd(): AgentEnd {
    return new AgentEnd(() => ({
      link: { clock: systemClock },
      offered: (stream, body) => this.#offered(stream, body),
    }))
  }

  #offered(stream: MuxStream, body: unknown): void {
    if (stream.kind === "attach") this.#views.push(new View(checkBody(attachOpenSchema, body), stream))
    else if (serviceKinds.includes(stream.kind)) this.#offers.push({ kind: stream.kind, open: body, stream })
    else if (stream.kind === "processes") this.#questions.push(new Question(checkBody(processesOpenSchema, body), stream))
    else this.#runs.push(new Run(checkBody(execOpenSchema, body), stream))
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
