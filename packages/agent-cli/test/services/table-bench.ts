/** An agent that serves real processes from a table, clients at the other ends of lines in memory, and what the log says. */
import { systemClock } from "@trunkline/client/runtime"
import {
  type Exit,
  InvalidBody,
  type Logger,
  type MuxStream,
  type Principal,
  type ProcessNotice,
  processTags,
  silentLogger,
  TunnelError,
} from "@trunkline/protocol"
import { AgentEnd, ClientEnd } from "@trunkline/protocol/testing"
import { startExec } from "../../src/processes/exec-process.ts"
import type { ScreenModel } from "../../src/processes/live-screen.ts"
import { ProcessTable } from "../../src/processes/process-table.ts"
import { startPty } from "../../src/processes/pty-process.ts"
import { RunLedger } from "../../src/processes/run-ledger.ts"
import { attach } from "../../src/services/attach.ts"
import { answerProcesses } from "../../src/services/processes.ts"
import { startProcess } from "../../src/services/start-process.ts"
import { connected } from "../agent/memory-line.ts"

/** More than the kernel, the stream and the link take together. */
export const muchBytes = 8_388_608

export type Kind = "exec" | "pty" | "attach" | "processes"

export class TableBench {
  readonly ends: { readonly exit: Exit; readonly bytesOut: number }[] = []
  readonly clients: Client[] = []
  table: ProcessTable
  ledger: RunLedger
  /** Called when a stream has been handed over. */
  onOffer: (stream: MuxStream) => void = () => {}
  readonly #ledgerPath: string | undefined
  readonly #tables: ProcessTable[] = []
  readonly #waiting = new Set<() => void>()

  constructor(ledgerPath?: string) {
    this.#ledgerPath = ledgerPath
    this.ledger = this.#newLedger()
    this.table = this.#newTable()
  }

  /** From now on streams are served by an agent that knows the ledger's file and nothing else. */
  restart(): void {
    this.ledger.close()
    this.ledger = this.#newLedger()
    this.table = this.#newTable()
  }

  client(id = "me", scopes: readonly string[] = ["exec", "pty"]): Client {
    const client = new Client(this, { id, scopes } as Principal)
    this.clients.push(client)
    return client
  }

  /** Ends everything that runs. */
  async close(): Promise<void> {
    for (const table of this.#tables) for (const process of table.list()) process.hangUp()
    for (const client of this.clients) client.leave()
    await this.until(() => this.#tables.every((table) => table.runningCount === 0))
    for (const table of this.#tables) table.close()
    this.ledger.close()
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.add(resolve))
  }

  changed(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }

  serve(stream: MuxStream, body: unknown, principal: Principal): void {
    this.#answer(stream, body, principal).catch((error: unknown) => {
      if (error instanceof TunnelError) return stream.reject(error)
      if (error instanceof InvalidBody) return stream.reject(new TunnelError("bad-request", error.message))
      throw error
    })
    this.onOffer(stream)
  }

  async #answer(stream: MuxStream, body: unknown, principal: Principal): Promise<void> {
    switch (stream.kind) {
      case "attach":
        return attach(stream, body, principal, this.table)
      case "processes":
        return answerProcesses(stream, body, principal, this.table)
      default:
        return await startProcess(stream, stream.kind === "pty" ? "pty" : "exec", body, principal, this.table)
    }
  }

  #newLedger(): RunLedger {
    return new RunLedger({ epochMs: Date.now, ...(this.#ledgerPath === undefined ? {} : { path: this.#ledgerPath }) })
  }

  #newTable(): ProcessTable {
    const logger: Logger = {
      ...silentLogger,
      info: (event, fields) => {
        if (event === "process.ended") this.ends.push(fields as { exit: Exit; bytesOut: number })
        this.changed()
      },
    }
    const table = new ProcessTable({
      clock: systemClock,
      epochMs: Date.now,
      logger,
      spawn: ({ kind, open }, events) => (kind === "exec" ? startExec(open, events) : startPty(open, events)),
      screen: () => new PlainScreen(),
      ledger: this.ledger,
    })
    this.#tables.push(table)
    return table
  }
}

/** A terminal that shows everything it was ever given. */
class PlainScreen implements ScreenModel {
  #text = ""

  write(bytes: Uint8Array, done: () => void): void {
    this.#text += new TextDecoder().decode(bytes)
    setImmediate(done)
  }

  resize(): void {}

  repaint(): Uint8Array {
    return new TextEncoder().encode(`<${this.#text}>`)
  }

  dispose(): void {}
}

/** One client on a link of its own. */
export class Client {
  readonly end: ClientEnd
  readonly #bench: TableBench
  readonly #agent: AgentEnd
  #cut: () => void

  constructor(bench: TableBench, principal: Principal) {
    this.#bench = bench
    const offered = (stream: MuxStream, body: unknown): void => bench.serve(stream, body, principal)
    this.#agent = new AgentEnd(() => ({ link: { clock: systemClock }, offered }))
    this.end = new ClientEnd({ link: { clock: systemClock } })
    this.#cut = connected(this.end, this.#agent)
  }

  open(body: object, kind: Kind = "exec"): Asked {
    return new Asked(this.#bench, this, kind, body)
  }

  cut(): void {
    this.#cut()
  }

  reconnect(): void {
    this.#cut = connected(this.end, this.#agent)
  }

  /** Gives its link up. */
  leave(): void {
    this.end.mux.link.end(new TunnelError("aborted", "left"))
  }
}

/** A stream from the client's side. */
export class Asked {
  readonly stream: MuxStream
  answer: { readonly processId: string; readonly pid: number } | undefined
  output = ""
  errorOutput = ""
  outputBytes = 0
  readonly notices: ProcessNotice[] = []
  finished = false
  exit: Exit | undefined
  closed: { readonly error: TunnelError | undefined } | undefined
  reading = true

  constructor(bench: TableBench, client: Client, kind: Kind, body: object) {
    this.stream = client.end.mux.open(kind, body, {
      accepted: (answer) => {
        this.answer = answer as { processId: string; pid: number }
        bench.changed()
      },
      data: (tag, bytes, cost) => {
        this.outputBytes += bytes.byteLength
        const text = new TextDecoder().decode(bytes.subarray(0, 100_000))
        if (tag === processTags.stderr) this.errorOutput += text
        else if (this.output.length < 10_000_000) this.output += text
        if (this.reading) this.stream.consumed(cost)
        bench.changed()
      },
      message: (notice) => {
        this.notices.push(notice as ProcessNotice)
        bench.changed()
      },
      finished: (trailer) => {
        this.finished = true
        this.exit = (trailer as { exit: Exit } | undefined)?.exit
        bench.changed()
      },
      closed: (error) => {
        this.closed = { error }
        bench.changed()
      },
    })
  }

  write(text: string): void {
    this.stream.write(processTags.stdin, new TextEncoder().encode(text))
  }
}

/** Many turns of the event loop: what was going to happen by itself has. */
export const quiet = async (): Promise<void> => {
  for (let round = 0; round < 200; round++) await new Promise<void>((resolve) => setImmediate(resolve))
}
