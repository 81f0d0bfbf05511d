/** Streams of the kinds exec and pty, bound to real processes: room, leaving, who holds up whom, and asking twice. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { TunnelError } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { type Asked, type Client, muchBytes, quiet, TableBench } from "./table-bench.ts"

let folder: string
let bench: TableBench
let client: Client
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "trunkline-process-"))
  bench = new TableBench(join(folder, "runs"))
  client = bench.client()
})
afterEach(async () => {
  await bench.close()
  await rm(folder, { recursive: true })
})

describe("a process", () => {
  test("gives its output, then its exit, and both ends close", async () => {
    const asked = client.open({ argv: ["sh", "-c", "echo out; exit 3"] })
    await bench.until(() => asked.exit !== undefined)
    expect(asked).toMatchObject({ output: "out\n", exit: { type: "code", code: 3 } })
    asked.stream.finish()
    await bench.until(() => asked.closed !== undefined)
    expect(asked.closed).toEqual({ error: undefined })
    expect(bench.table.runningCount).toBe(0)
  })

  test("reads its input to the end", async () => {
    const asked = client.open({ argv: ["cat"], stdin: true })
    asked.write("early")
    asked.stream.finish()
    await bench.until(() => asked.exit !== undefined)
    expect(asked.output).toBe("early")
  })

  test("that has ended takes late input, messages and the end for nothing", async () => {
    const asked = client.open({ argv: ["true"], stdin: true })
    await bench.until(() => asked.exit !== undefined)
    asked.stream.sendMessage({ type: "signal", signal: "SIGKILL" })
    // More than one window: the rest moves only if the agent still grants.
    for (let count = 0; count < 20; count++) asked.stream.write(0, new Uint8Array(65_536))
    asked.stream.finish()
    await bench.until(() => asked.closed !== undefined)
    expect(asked.closed).toEqual({ error: undefined })
  })

  test("on a terminal does the same, and is told of its client's window", async () => {
    const asked = client.open({ argv: ["sh", "-c", "stty size; read x; stty size"], cols: 97, rows: 31 }, "pty")
    await bench.until(() => asked.output.includes("31 97"))
    asked.stream.sendMessage({ type: "resize", cols: 60, rows: 20 })
    asked.write("\r")
    await bench.until(() => asked.exit !== undefined)
    expect(asked.output).toMatch(/20 60\r\n$/)
    expect(asked).toMatchObject({ exit: { type: "code", code: 0 }, notices: [] })
  })
})

describe("a request is refused", () => {
  test.each([
    ["that is none", "exec", { argv: [] }, "bad-request"],
    ["without a size", "pty", { argv: ["true"] }, "bad-request"],
    ["for a command that is not there", "exec", { argv: ["no-such-command-here"] }, "command-not-found"],
    ["in a directory that is not there", "exec", { argv: ["true"], cwd: "/no/such/place" }, "cwd-not-found"],
    ["with an empty key", "exec", { argv: ["true"], idempotencyKey: "" }, "bad-request"],
    ["with a key too long", "exec", { argv: ["true"], idempotencyKey: "k".repeat(257) }, "bad-request"],
  ] as const)("%s, and nothing counts as running", async (_, kind, body, code) => {
    const asked = client.open(body, kind)
    await bench.until(() => asked.closed !== undefined || bench.table.runningCount > 9)
    expect(asked.closed).toMatchObject({ error: { code, delivered: "no" } })
    expect(bench.table.runningCount).toBe(0)
  })
})

describe("a client that says nonsense", () => {
  test.each([
    ["an unknown message", (asked: Asked) => asked.stream.sendMessage({ type: "dance" })],
    ["an unknown signal", (asked: Asked) => asked.stream.sendMessage({ type: "signal", signal: "SIGNONE" })],
    ["output", (asked: Asked) => asked.stream.write(1, new Uint8Array(1))],
  ])("like %s loses this stream, and its process is hung up", async (_, speak) => {
    const asked = client.open({ argv: ["sleep", "1000"], stdin: true })
    const other = client.open({ argv: ["cat"], stdin: true })
    await bench.until(() => asked.answer !== undefined && other.answer !== undefined)
    speak(asked)
    await bench.until(() => bench.ends.length === 1)
    expect(asked.closed).toMatchObject({ error: { code: "bad-request", delivered: "yes" } })
    expect(bench.ends).toMatchObject([{ exit: { type: "signal", signal: "SIGHUP" } }])
    other.stream.finish()
    await bench.until(() => other.exit !== undefined)
    expect(other.exit).toEqual({ type: "code", code: 0 })
  })
})

describe("[KP8] a client that leaves", () => {
  test("between the start and the answer has its process hung up", async () => {
    bench.onOffer = (stream) => stream.reset(new TunnelError("aborted", "gone"))
    client.open({ argv: ["sleep", "1000"] })
    await bench.until(() => bench.ends.length === 1)
    expect(bench.ends).toMatchObject([{ exit: { type: "signal", signal: "SIGHUP" } }])
  })

  test("then leaves a detached process to itself", async () => {
    bench.onOffer = (stream) => stream.reset(new TunnelError("aborted", "gone"))
    client.open({ argv: ["sh", "-c", `head -c ${muchBytes} /dev/zero`], detach: true })
    await bench.until(() => bench.ends.length === 1)
    expect(bench.ends).toMatchObject([{ exit: { type: "code", code: 0 }, bytesOut: muchBytes }])
  })

  test("with its link ends what runs for it", async () => {
    client.open({ argv: ["sleep", "1000"] })
    client.open({ argv: ["sleep", "1000"], cols: 80, rows: 24 }, "pty")
    await bench.until(() => bench.table.runningCount === 2)
    client.leave()
    await bench.until(() => bench.ends.length === 2)
  })

  test("only for a while finds it running", async () => {
    const asked = client.open({ argv: ["cat"], stdin: true })
    await bench.until(() => asked.answer !== undefined)
    client.cut()
    await quiet()
    client.reconnect()
    asked.write("still here")
    asked.stream.finish()
    await bench.until(() => asked.exit !== undefined)
    expect(asked).toMatchObject({ output: "still here", exit: { type: "code", code: 0 } })
  })
})

describe("[KP5] a client that does not read", () => {
  const flood = (more: object = {}): Asked => {
    const asked = client.open({ argv: ["sh", "-c", `head -c ${muchBytes} /dev/zero`], ...more })
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
  }

  /** And its process waits. */
  async function standsStill(asked: Asked): Promise<void> {
    await stands(asked)
    expect(bench.ends).toEqual([])
  }

  test("stops its process, and starts it again by reading", async () => {
    const asked = flood()
    await standsStill(asked)
    asked.reading = true
    asked.stream.consumed(250_000)
    await bench.until(() => asked.exit !== undefined)
    expect(asked).toMatchObject({ outputBytes: muchBytes, notices: [] })
  })

  test("and leaves has its process ended, paused or not", async () => {
    const asked = flood()
    await standsStill(asked)
    asked.stream.reset(new TunnelError("aborted", "enough"))
    await bench.until(() => bench.ends.length === 1)
  })

  test("and leaves a process detached later has not paused it for ever", async () => {
    const asked = flood()
    await standsStill(asked)
    asked.stream.sendMessage({ type: "detach" })
    await quiet()
    client.leave()
    await bench.until(() => bench.ends.length === 1)
    expect(bench.ends).toMatchObject([{ exit: { type: "code", code: 0 }, bytesOut: muchBytes }])
  })

  test("does not stop a process detached from the start", async () => {
    const asked = flood({ detach: true })
    await stands(asked)
    await bench.until(() => bench.ends.length === 1)
    expect(bench.ends).toMatchObject([{ exit: { type: "code", code: 0 }, bytesOut: muchBytes }])
    client.leave()
  })
})

describe("[KP3] detach", () => {
  test("with the end of the stream gives it back at once, while the process goes on and reads from whoever comes", async () => {
    const asked = client.open({ argv: ["sh", "-c", "cat; exit 7"], stdin: true })
    await bench.until(() => asked.answer !== undefined)
    asked.write("last words")
    asked.stream.sendMessage({ type: "detach" })
    asked.stream.finish()
    await bench.until(() => asked.closed !== undefined)
    expect(asked.closed).toMatchObject({ error: { code: "aborted" } })
    client.leave()
    await quiet()
    expect(bench.ends).toEqual([])
    const later = bench.client().open({ processId: asked.answer?.processId, from: 0 }, "attach")
    later.write(", and more")
    later.stream.finish()
    await bench.until(() => later.exit !== undefined)
    expect(later).toMatchObject({ output: "last words, and more", exit: { type: "code", code: 7 } })
  })

  test("from the start keeps the stream of a client that stays", async () => {
    const asked = client.open({ argv: ["sh", "-c", "cat; exit 7"], stdin: true, detach: true })
    asked.stream.finish()
    await bench.until(() => asked.exit !== undefined)
    expect(asked.exit).toEqual({ type: "code", code: 7 })
  })
})

describe("[KP9] a request with an idempotency key", () => {
  /** Counts its runs in a file and ends when it is told to. */
  const counted = (idempotencyKey = "deploy-1"): object => ({
    argv: ["sh", "-c", `echo run >> ${join(folder, "count")}; echo out; until [ -e ${join(folder, "go")} ]; do sleep 0.05; done; exit 3`],
    detach: true,
    idempotencyKey,
  })
  const runs = async (): Promise<number> => (await readFile(join(folder, "count"), "utf8")).split("\n").length - 1
  const go = (): Promise<void> => writeFile(join(folder, "go"), "")

  test("runs once however often it comes, and each gets all of the output and the exit", async () => {
    const together = [client.open(counted()), client.open(counted())]
    const [first, second] = together
    await bench.until(() => together.every(({ output }) => output === "out\n"))
    expect(second?.answer).toEqual(first?.answer)
    // A client that lost its link asks again.
    const again = bench.client().open(counted())
    await bench.until(() => again.output === "out\n")
    await go()
    await bench.until(() => [...together, again].every(({ exit }) => exit !== undefined))
    const late = bench.client().open(counted())
    await bench.until(() => late.exit !== undefined)
    for (const each of [...together, again, late]) {
      expect(each).toMatchObject({ answer: first?.answer, output: "out\n", exit: { type: "code", code: 3 }, notices: [] })
    }
    expect(await runs()).toBe(1)
  })

  test("goes on for the client that asked again when the one before is given up", async () => {
    const first = client.open({ argv: ["cat"], stdin: true, idempotencyKey: "k" })
    const again = bench.client().open({ argv: ["cat"], stdin: true, idempotencyKey: "k" })
    await bench.until(() => first.answer !== undefined && again.answer !== undefined)
    client.leave()
    again.write("for me")
    again.stream.finish()
    await bench.until(() => again.exit !== undefined)
    expect(again).toMatchObject({ output: "for me", exit: { type: "code", code: 0 } })
  })

  test("and another command is refused", async () => {
    const first = client.open(counted())
    await bench.until(() => first.answer !== undefined)
    const other = client.open({ argv: ["true"], idempotencyKey: "deploy-1" })
    await bench.until(() => other.closed !== undefined)
    expect(other.closed).toMatchObject({ error: { code: "bad-request", delivered: "no" } })
  })

  test("is free to be used again when the command could not be started", async () => {
    const failed = client.open({ argv: ["no-such-command-here"], idempotencyKey: "k" })
    await bench.until(() => failed.closed !== undefined)
    const next = client.open({ argv: ["echo", "well"], idempotencyKey: "k" })
    await bench.until(() => next.exit !== undefined)
    expect(next.output).toBe("well\n")
  })

  test("gets its exit from an agent that was restarted after it, and is told that the output is gone", async () => {
    const first = client.open(counted())
    await go()
    await bench.until(() => first.exit !== undefined)
    bench.restart()
    const again = client.open(counted())
    await bench.until(() => again.exit !== undefined)
    expect(again).toMatchObject({
      answer: first.answer,
      output: "",
      notices: [{ type: "truncated", from: 0, to: 4, repaintBytes: 0 }],
      exit: { type: "code", code: 3 },
    })
    again.stream.write(0, new Uint8Array(300_000))
    again.stream.finish()
    await bench.until(() => again.closed !== undefined)
    expect(again.closed).toEqual({ error: undefined })
    expect(await runs()).toBe(1)
  })

  test("is told that nobody knows how it ended by an agent that was restarted meanwhile, and is not run again", async () => {
    const first = client.open(counted())
    await bench.until(() => first.output === "out\n")
    bench.restart()
    const again = client.open(counted())
    await bench.until(() => again.closed !== undefined)
    expect(again).toMatchObject({ exit: undefined, closed: { error: { code: "agent-restarted", delivered: "unknown" } } })
    expect(await runs()).toBe(1)
  })
})
