/** An agent in memory, by the real protocol on a real clock: what is asked of it, and a hand on every answer. */
import { type Exit, limits, type MuxStream, type ProcessMessage } from "@trunkline/protocol"
import { AgentEnd } from "@trunkline/protocol/testing"
import { Agent } from "../src/agent.ts"
import type { SocketEvents } from "../src/dial.ts"
import { systemClock } from "../src/runtime.ts"
import { readyText } from "./scripted-dial.ts"

export const stdout = 1
export const stderr = 2
export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

/** A stream that was asked for, from the agent's side. */
export class Served {
  readonly stream: MuxStream
  readonly body: unknown
  readonly messages: ProcessMessage[] = []
  input = ""
  inputEnded = false
  closed: { readonly error: unknown } | undefined
  /** Input is granted only while it is read. */
  reading = true
  readonly #waiting = new Set<() => void>()

  constructor(stream: MuxStream, body: unknown) {
    this.stream = stream
    this.body = body
  }

  accept(answer: unknown = { processId: "p1", pid: 42 }): void {
    this.stream.accept(answer, {
      data: (_, bytes, cost) => {
        this.input += new TextDecoder().decode(bytes)
        if (this.reading) this.stream.consumed(cost)
        this.#changed()
      },
      message: (body) => {
        this.messages.push(body as ProcessMessage)
        this.#changed()
      },
      finished: () => {
        this.inputEnded = true
        this.#changed()
      },
      writable: () => this.#changed(),
      closed: (error) => {
        this.closed = { error }
        this.#changed()
      },
    })
  }

  say(tag: number, text: string | Uint8Array): void {
    this.stream.write(tag, typeof text === "string" ? utf8(text) : text)
  }

  exit(exit: Exit = { type: "code", code: 0 }): void {
    this.stream.finish({ exit, durationMs: 5 })
  }

  /** Writes until nothing more is taken; resolves with the bytes that were. */
  async fill(bytesMax: number): Promise<number> {
    let bytes = 0
    for (; bytes < bytesMax && this.stream.writableBytes > 0; bytes += 65_536) {
      this.say(stdout, new Uint8Array(65_536))
      await settle()
    }
    return bytes
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

/** Lets everything that is under way in memory arrive, and what waits there for company. */
export async function settle(): Promise<void> {
  const turns = async () => {
    for (let round = 0; round < 10; round++) await new Promise<void>((resolve) => setImmediate(resolve))
  }
  await turns()
  // Timers of one process fire in the order in which they are due.
  await new Promise<void>((resolve) => setTimeout(resolve, limits.ackDelayMs + 1))
  await turns()
}

export class MemoryAgent {
  /** The SDK's handle. */
  readonly agent: Agent
  dials = 0
  /** Resolves when the client has closed its first socket. */
  readonly left: Promise<void>
  readonly #left = Promise.withResolvers<void>()
  readonly #served: Served[] = []
  readonly #waiting: ((served: Served) => void)[] = []
  #socket: SocketEvents | undefined

  constructor() {
    this.left = this.#left.promise
    const end = new AgentEnd(() => ({
      link: { clock: systemClock },
      offered: (stream, body) => {
        const served = new Served(stream, body)
        const waiting = this.#waiting.shift()
        if (waiting === undefined) this.#served.push(served)
        else waiting(served)
      },
    }))
    this.agent = new Agent("box", {
      gateway: new URL("http://gateway.test/"),
      token: "token",
      clock: systemClock,
      idleMs: 0,
      dial: async (_, events) => {
        this.dials += 1
        this.#socket = events
        let closed = false
        const far = end.attach({
          bufferedBytes: 0,
          send: (message) => {
            const copy = message.slice()
            setImmediate(() => closed || events.message(copy))
          },
          close() {},
        })
        events.message(readyText())
        return {
          bufferedBytes: 0,
          send: (message) => {
            const copy = message.slice()
            setImmediate(() => typeof copy === "string" || far.message(copy))
          },
          close: () => {
            closed = true
            this.#left.resolve()
          },
        }
      },
    })
  }

  /** The next stream that is asked for. */
  next(): Promise<Served> {
    const served = this.#served.shift()
    return served === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(served)
  }

  /** The gateway ends the link for good. */
  stop(): void {
    this.#socket?.closed(1000, "agent stopped")
  }
}
