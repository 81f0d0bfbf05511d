/** A remote terminal as the local one shows it: one that was started for it, or one that was there. */
import type { Agent, AttachFrom, Process, ProcessExit, SignalName } from "@trunkline/client"
import type { Size } from "./local-terminal.ts"
import { ReplayFilter } from "./replay-filter.ts"

export interface RemoteTerminal {
  readonly id: string
  /** What is to be shown, as it comes, until the program has ended. */
  readonly output: AsyncIterable<Uint8Array>
  write(bytes: Uint8Array): Promise<void>
  resize(cols: number, rows: number): void
  kill(signal: SignalName): void
  disconnect(): void
  /** How the program ended. */
  wait(): Promise<ProcessExit>
}

export interface AttachedOptions {
  readonly from: AttachFrom
  readonly readOnly: boolean
  readonly size: Size
  readonly signal: AbortSignal
}

/** Rejects with TunnelError. */
export async function attachTerminal(agent: Agent, id: string, options: AttachedOptions): Promise<RemoteTerminal> {
  const { from, readOnly, size, signal } = options
  // Nothing of it was written before we came.
  if (typeof from !== "number") return agent.pty.connect(id, { from, readOnly, ...size, signal })
  const process = await agent.processes.attach(id, { from, readOnly, signal })
  if (!readOnly) process.resize(size.cols, size.rows)
  return {
    id,
    output: shownBytes(process),
    write: (bytes) => process.write(bytes),
    resize: (cols, rows) => process.resize(cols, rows),
    kill: (name) => process.kill(name),
    disconnect: () => process.disconnect(),
    wait: () => process.wait(),
  }
}

/** All of it but the queries in what was written before we came. */
export async function* shownBytes(process: Pick<Process, "liveOffset" | "output">): AsyncGenerator<Uint8Array, void, undefined> {
  const filter = new ReplayFilter()
  for await (const event of process.output()) {
    switch (event.type) {
      case "stdout":
      case "stderr": {
        const history = event.bytes.subarray(0, Math.max(0, process.liveOffset - event.offset))
        if (history.byteLength > 0) yield filter.read(history)
        if (history.byteLength === event.bytes.byteLength) break
        yield* rest(filter)
        yield event.bytes.subarray(history.byteLength)
        break
      }
      case "repaint":
        yield event.bytes
        break
      case "truncated":
        // A repaint follows, and makes the screen whatever came before it.
        filter.end()
        break
      case "exit":
        yield* rest(filter)
        return
    }
  }
}

function* rest(filter: ReplayFilter): Generator<Uint8Array, void, undefined> {
  const held = filter.end()
  if (held.byteLength > 0) yield held
}
