/** The client's end of the real thing: the SDK over `ws`. */
import { type Agent, connect, type Dial, type Terminal } from "@trunkline/client"
import { dialNode } from "@trunkline/client/node"
import { linkHeaderBytes } from "@trunkline/protocol"
import { serveEnd } from "../serve-end.ts"

/** Messages to the agent that hold an acknowledgement and nothing else. */
let acknowledgements = 0

const dial: Dial = async (target, events) => {
  const socket = await dialNode(target, events)
  return {
    send(message) {
      if (message.length === linkHeaderBytes) acknowledgements += 1
      socket.send(message)
    },
    get bufferedBytes() {
      return socket.bufferedBytes
    },
    close: (code, reason) => socket.close(code, reason),
  }
}

let connected: { agent: Agent; terminal: Terminal; output: ReadableStreamDefaultReader<Uint8Array> } | undefined

const now = (): NonNullable<typeof connected> => {
  if (connected === undefined) throw new Error("the client is not connected")
  return connected
}

async function sampled(count: number, warmup: number, once: () => Promise<unknown>): Promise<number[]> {
  const samples: number[] = []
  for (let run = 0; run < warmup + count; run++) {
    const startMs = performance.now()
    await once()
    if (run >= warmup) samples.push((performance.now() - startMs) * 1_000)
  }
  return samples
}

const tasks = {
  async connect({ gateway, secret }: { gateway: string; secret: string }): Promise<void> {
    const agent = connect({ url: gateway, token: secret, dial, idleMs: 3_600_000 }).agent("measured")
    // The terminal itself echoes what is typed; the program behind it reads nothing.
    const terminal = await agent.pty.create({ cols: 80, rows: 24, command: ["sleep", "86400"] })
    connected = { agent, terminal, output: terminal.output.getReader() }
  },

  /** Microseconds from a key to its echo, one at a time. */
  keystrokes: ({ count, warmup }: { count: number; warmup: number }): Promise<number[]> => {
    const { terminal, output } = now()
    return sampled(count, warmup, async () => {
      await terminal.write("x")
      await output.read()
    })
  },

  /** Microseconds of `exec true`, on a link that is up. */
  trues: ({ count, warmup }: { count: number; warmup: number }): Promise<number[]> => {
    const { agent } = now()
    return sampled(count, warmup, () => agent.exec(["true"]))
  },

  /** Milliseconds that the last `bytes` of a command's output took, after `warmupBytes`, and how many acknowledgements travelled alone meanwhile. */
  async consume({ bytes, warmupBytes }: { bytes: number; warmupBytes: number }): Promise<{ elapsedMs: number; acknowledgements: number }> {
    const process = await now().agent.spawn(["head", "-c", String(bytes + warmupBytes), "/dev/zero"])
    let received = 0
    let startMs = 0
    let acknowledgementsBefore = 0
    for await (const event of process.output()) {
      if (!("bytes" in event)) continue
      const before = received
      received += event.bytes.byteLength
      if (before >= warmupBytes || received < warmupBytes) continue
      startMs = performance.now()
      acknowledgementsBefore = acknowledgements
    }
    if (received !== bytes + warmupBytes) throw new Error(`${received} bytes arrived`)
    return { elapsedMs: performance.now() - startMs, acknowledgements: acknowledgements - acknowledgementsBefore }
  },

  async closeTerminal(_: undefined): Promise<void> {
    now().terminal.kill("SIGKILL")
  },
}

export type ClientTasks = typeof tasks
serveEnd(tasks)
