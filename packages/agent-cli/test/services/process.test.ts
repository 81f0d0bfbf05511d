/** Streams of the kinds exec and pty, bound to real processes: room, leaving, and who holds up whom. */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { systemClock } from "@trunkline/client/runtime"
import { type Exit, type Logger, silentLogger, TunnelError } from "@trunkline/protocol"
import { AgentEnd, ClientEnd } from "@trunkline/protocol/testing"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { type ProcessContext, serveProcess } from "../../src/services/process.ts"
import { connected } from "../agent/memory-line.ts"

/** More than the kernel, the stream and the link take together. */
const muchBytes = 8_388_608

/** An agent that serves processes, a client at its other end, and what the log says. */
class Bench {
  readonly ends: { readonly exit: Exit; readonly bytesOut: number }[] = []
  readonly context: ProcessContext
  readonly client: ClientEnd
  #cut: () => void
  readonly #agent: AgentEnd
  /** Called when a stream has been handed over. */
  onOffer: (stream: Parameters<typeof serveProcess>[0]) => void = () => {}
  readonly #waiting = new Set<() => void>()

  constructor() {
    const logger: Logger = {
      ...silentLogger,
      info: (event, fields) => {
        if (event === "process.ended") this.ends.push(fields as { exit: Exit; bytesOut: number })
        this.changed()
      },
    }
    this.context = { logger, running: new Set() }
    this.#agent = new AgentEnd(() => ({
      link: { clock: systemClock },
      offered: (stream, body) => {
        serveProcess(stream, stream.kind === "pty" ? "pty" : "exec", body, this.context)
        this.onOffer(stream)
      },
    }))
    this.client = new ClientEnd({ link: { clock: systemClock } })
    this.#cut = connected(this.client, this.#agent)
  }

  cut(): void {
    this.#cut()
  }

  reconnect(): void {
    this.#cut = connected(this.client, this.#agent)
  }

  open(body: object, kind: "exec" | "pty" = "exec"): Asked {
    return new Asked(this, kind, body)
  }

  /** The client gives its link up. */
  leave(): void {
    this.client.mux.link.end(new TunnelError("aborted", "left"))
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.add(resolve))
  }

  changed(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }
}

/** A stream from the client's side. */
class Asked {
  readonly stream
  pid: number | undefined
  output = ""
  outputBytes = 0
  exit: Exit | undefined
  closed: { readonly error: TunnelError | undefined } | undefined
  reading = true

  constructor(bench: Bench, kind: "exec" | "pty", body: object) {
    this.stream = bench.client.mux.open(kind, body, {
      accepted: (answer) => {
        this.pid = (answer as { pid: number }).pid
        bench.changed()
      },
      data: (_, bytes, cost) => {
        this.outputBytes += bytes.byteLength
        if (this.outputBytes < 1_000) this.output += new TextDecoder().decode(bytes)
        if (this.reading) this.stream.consumed(cost)
        bench.changed()
      },
      finished: (trailer) => {
        this.exit = (trailer as { exit: Exit }).exit
        bench.changed()
      },
      closed: (error) => {
        this.closed = { error }
        bench.changed()
      },
    })
  }
}

let bench: Bench
beforeEach(() => {
  bench = new Bench()
})
afterEach(async () => {
  bench.leave()
  await bench.until(() => bench.context.running.size === 0)
})

const quiet = async () => {
  for (let round = 0; round < 200; round++) await new Promise<void>((resolve) => setImmediate(resolve))
}

describe("a process", () => {
  test("gives its output, then its exit, and both ends close", async () => {
    const asked = bench.open({ argv: ["sh", "-c", "echo out; exit 3"] })
    await bench.until(() => asked.exit !== undefined)
    expect(asked).toMatchObject({ output: "out\n", exit: { type: "code", code: 3 } })
    asked.stream.finish()
    await bench.until(() => asked.closed !== undefined)
    expect(asked.closed).toEqual({ error: undefined })
    expect(bench.context.running.size).toBe(0)
  })

  test("reads its input to the end", async () => {
    const asked = bench.open({ argv: ["cat"], stdin: true })
    asked.stream.write(0, new TextEncoder().encode("early"))
    asked.stream.finish()
    await bench.until(() => asked.exit !== undefined)
    expect(asked.output).toBe("early")
  })

  test("that has ended takes late input, messages and the end for nothing", async () => {
    const asked = bench.open({ argv: ["true"], stdin: true })
    await bench.until(() => asked.exit !== undefined)
    asked.stream.sendMessage({ type: "signal", signal: "SIGKILL" })
    // More than one window: the rest moves only if the agent still grants.
    for (let count = 0; count < 20; count++) asked.stream.write(0, new Uint8Array(65_536))
    asked.stream.finish()
    await bench.until(() => asked.closed !== undefined)
    expect(asked.closed).toEqual({ error: undefined })
  })

  test("on a terminal does the same", async () => {
    const asked = bench.open({ argv: ["sh", "-c", "stty size"], cols: 97, rows: 31 }, "pty")
    await bench.until(() => asked.exit !== undefined)
    expect(asked).toMatchObject({ output: "31 97\r\n", exit: { type: "code", code: 0 } })
  })
})

describe("a request is refused", () => {
  test.each([
    ["that is none", "exec", { argv: [] }, "bad-request"],
    ["without a size", "pty", { argv: ["true"] }, "bad-request"],
    ["for a command that is not there", "exec", { argv: ["no-such-command-here"] }, "command-not-found"],
    ["in a directory that is not there", "exec", { argv: ["true"], cwd: "/no/such/place" }, "cwd-not-found"],
  ] as const)("%s, and nothing counts as running", async (_, kind, body, code) => {
    const asked = bench.open(body, kind)
    await bench.until(() => asked.closed !== undefined || bench.context.running.size > 9)
    expect(asked.closed).toMatchObject({ error: { code, delivered: "no" } })
    expect(bench.context.running.size).toBe(0)
  })

  test("when 1,024 processes run", async () => {
    const others = Array.from({ length: 1_024 }, () => ({ detached: true, kill() {} }))
    for (const other of others) bench.context.running.add(other)
    const asked = bench.open({ argv: ["true"] })
    await bench.until(() => asked.closed !== undefined)
    expect(asked.closed).toMatchObject({ error: { code: "overloaded", delivered: "no" } })
    for (const other of others.slice(0, 1)) bench.context.running.delete(other)
    const next = bench.open({ argv: ["true"] })
    await bench.until(() => next.exit !== undefined)
    bench.context.running.clear()
  })
})

describe("a client that says nonsense", () => {
  test.each([
    ["an unknown message", (asked: Asked) => asked.stream.sendMessage({ type: "dance" })],
    ["an unknown signal", (asked: Asked) => asked.stream.sendMessage({ type: "signal", signal: "SIGNONE" })],
    ["output", (asked: Asked) => asked.stream.write(1, new Uint8Array(1))],
  ])("like %s loses this stream, and its process is hung up", async (_, speak) => {
    const asked = bench.open({ argv: ["sleep", "1000"], stdin: true })
    const other = bench.open({ argv: ["cat"], stdin: true })
    await bench.until(() => asked.pid !== undefined && other.pid !== undefined)
    speak(asked)
    await bench.until(() => bench.ends.length === 1)
    expect(asked.closed).toMatchObject({ error: { code: "bad-request", delivered: "yes" } })
    expect(bench.ends).toMatchObject([{ exit: { type: "signal", signal: "SIGHUP" } }])
    other.stream.finish()
    await bench.until(() => other.exit !== undefined)
    expect(other.exit).toEqual({ type: "code", code: 0 })
  })
})

describe("a client that leaves", () => {
  test("between the start and the answer has its process hung up", async () => {
    bench.onOffer = (stream) => stream.reset(new TunnelError("aborted", "gone"))
    bench.open({ argv: ["sleep", "1000"] })
    await bench.until(() => bench.ends.length === 1)
    expect(bench.ends).toMatchObject([{ exit: { type: "signal", signal: "SIGHUP" } }])
  })

  test("then leaves a detached process to itself", async () => {
    bench.onOffer = (stream) => stream.reset(new TunnelError("aborted", "gone"))
    bench.open({ argv: ["sh", "-c", `head -c ${muchBytes} /dev/zero`], detach: true })
    await bench.until(() => bench.ends.length === 1)
    expect(bench.ends).toMatchObject([{ exit: { type: "code", code: 0 }, bytesOut: muchBytes }])
  })

  test("with its link ends what runs for it", async () => {
    bench.open({ argv: ["sleep", "1000"] })
    bench.open({ argv: ["sleep", "1000"], cols: 80, rows: 24 }, "pty")
    await bench.until(() => bench.context.running.size === 2)
    bench.leave()
    await bench.until(() => bench.ends.length === 2)
  })

  test("only for a while finds it running", async () => {
    const asked = bench.open({ argv: ["cat"], stdin: true })
    await bench.until(() => asked.pid !== undefined)
    bench.cut()
    await quiet()
    bench.reconnect()
    asked.stream.write(0, new TextEncoder().encode("still here"))
    asked.stream.finish()
    await bench.until(() => asked.exit !== undefined)
    expect(asked).toMatchObject({ output: "still here", exit: { type: "code", code: 0 } })
  })
})

describe("a client that does not read", () => {
  const flood = (more: object = {}) => {
    const asked = bench.open({ argv: ["sh", "-c", `head -c ${muchBytes} /dev/zero`], ...more })
    asked.reading = false
    return asked
  }

  /** Nothing more comes, and not all has come. */
  async function stands(asked: Asked): Promise<void> {
    await bench.until(() => asked.outputBytes > 100_000)
    for (let before = -1; before < asked.outputBytes; ) {
      before = asked.outputBytes
      await quiet()
    }
    expect(asked.outputBytes).toBeLessThan(muchBytes / 4)
    expect(bench.ends).toEqual([])
  }

  test("stops its process, and starts it again by reading", async () => {
    const asked = flood()
    await stands(asked)
    asked.reading = true
    asked.stream.consumed(250_000)
    await bench.until(() => asked.exit !== undefined)
    expect(asked.outputBytes).toBe(muchBytes)
  })

  test("and leaves has its process ended, paused or not", async () => {
    const asked = flood()
    await stands(asked)
    asked.stream.reset(new TunnelError("aborted", "enough"))
    await bench.until(() => bench.ends.length === 1)
  })

  test.each([
    ["detached from the start", { detach: true }, () => {}],
    ["detached later", {}, (asked: Asked) => asked.stream.sendMessage({ type: "detach" })],
  ])("and leaves a process %s has not paused it for ever", async (_, more, detach) => {
    const asked = flood(more)
    await stands(asked)
    detach(asked)
    await quiet()
    bench.leave()
    await bench.until(() => bench.ends.length === 1)
    expect(bench.ends).toMatchObject([{ exit: { type: "code", code: 0 }, bytesOut: muchBytes }])
  })
})

describe("detach", () => {
  test("with the end of the input gives the stream back at once, while the process goes on", async () => {
    const folder = await mkdtemp(join(tmpdir(), "trunkline-process-"))
    const go = join(folder, "go")
    const asked = bench.open({ argv: ["sh", "-c", `cat; until [ -e ${go} ]; do sleep 0.05; done; exit 7`], stdin: true })
    await bench.until(() => asked.pid !== undefined)
    asked.stream.write(0, new TextEncoder().encode("last words"))
    asked.stream.sendMessage({ type: "detach" })
    asked.stream.finish()
    await bench.until(() => asked.closed !== undefined)
    expect(asked.closed).toMatchObject({ error: { code: "aborted" } })
    bench.leave()
    await quiet()
    expect(bench.ends).toEqual([])
    await writeFile(go, "")
    await bench.until(() => bench.ends.length === 1)
    expect(bench.ends).toMatchObject([{ exit: { type: "code", code: 7 }, bytesOut: 10 }])
    await rm(folder, { recursive: true })
  })

  test("from the start keeps the stream of a client that stays", async () => {
    const asked = bench.open({ argv: ["sh", "-c", "cat; exit 7"], stdin: true, detach: true })
    asked.stream.finish()
    await bench.until(() => asked.exit !== undefined)
    expect(asked.exit).toEqual({ type: "code", code: 7 })
  })
})
