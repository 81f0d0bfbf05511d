/** Commands that run to their end, and what is refused before anything is sent. */
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { MemoryAgent, type Served, settle, stderr, stdout, utf8 } from "./memory-agent.ts"

let memory: MemoryAgent
beforeEach(() => {
  memory = new MemoryAgent()
})
afterEach(() => memory.agent.close())

type ExecOptions = NonNullable<Parameters<MemoryAgent["agent"]["exec"]>[1]>

async function exec(options: ExecOptions, play: (served: Served) => void | Promise<void>) {
  const result = memory.agent.exec(["cmd"], options)
  result.catch(() => {})
  const served = await memory.next()
  served.accept()
  await play(served)
  return { result, served }
}

describe("the result", () => {
  test("is the exit with both outputs, text cut anywhere put together again", async () => {
    const text = utf8("\uFEFFgrüße 🚀")
    const { result } = await exec({}, (served) => {
      for (const byte of text) {
        served.say(stdout, Uint8Array.of(byte))
        served.say(stderr, "e")
      }
      served.exit({ type: "code", code: 3 })
    })
    expect(await result).toEqual({
      exitCode: 3,
      signal: null,
      outcome: "exited",
      stdout: "\uFEFFgrüße 🚀",
      stderr: "e".repeat(text.byteLength),
      truncated: false,
      durationMs: 5,
    })
  })

  test.each([
    [
      { type: "signal", signal: "SIGKILL" },
      { exitCode: null, signal: "SIGKILL", outcome: "signalled" },
    ],
    [
      { type: "timeout", timeoutMs: 10 },
      { exitCode: null, signal: null, outcome: "timeout" },
    ],
    [
      { type: "unknown", reason: "?" },
      { exitCode: null, signal: null, outcome: "unknown" },
    ],
  ] as const)("of %j is never success", async (exit, expected) => {
    const { result } = await exec({}, (served) => served.exit(exit))
    expect(await result).toMatchObject(expected)
    const checked = await exec({ check: true }, (served) => served.exit(exit))
    await expect(checked.result).rejects.toMatchObject({ code: "command-failed", delivered: "yes", cause: expected })
  })

  test("keeps as much output as was asked for, of both together, and reads the rest", async () => {
    const { result } = await exec({ outputBytesMax: 5 }, (served) => {
      served.say(stdout, "abc")
      served.say(stderr, "defg")
      served.say(stdout, "h".repeat(1_000))
      served.exit()
    })
    expect(await result).toMatchObject({ stdout: "abc", stderr: "de", truncated: true })
  })

  test("is not truncated by output that just fits", async () => {
    const { result } = await exec({ outputBytesMax: 3 }, (served) => {
      served.say(stdout, "abc")
      served.exit()
    })
    expect(await result).toMatchObject({ stdout: "abc", truncated: false })
  })

  test("with check is thrown unless it is 0", async () => {
    const { result } = await exec({ check: true }, (served) => served.exit())
    expect(await result).toMatchObject({ exitCode: 0 })
    const failed = await exec({ check: true }, (served) => served.exit({ type: "code", code: 2 }))
    await expect(failed.result).rejects.toMatchObject({ code: "command-failed", message: "the command exited with 2" })
  })
})

describe("input", () => {
  async function* pieces(...texts: string[]) {
    for (const text of texts) yield utf8(text)
  }

  test.each([
    ["text", () => "hello"],
    ["bytes", () => utf8("hello")],
    ["an iterable", () => pieces("he", "", "llo")],
    ["a stream", () => new Blob(["hello"]).stream()],
  ])("given as %s arrives, and its end", async (_, input) => {
    const { result } = await exec({ stdin: input() }, async (served) => {
      await served.until(() => served.inputEnded)
      served.say(stdout, served.input)
      served.exit()
    })
    expect(await result).toMatchObject({ stdout: "hello" })
  })

  test("is asked for only when it is given", async () => {
    const { served } = await exec({}, (other) => other.exit())
    expect(served.body).toMatchObject({ stdin: false })
    const given = await exec({ stdin: "" }, (other) => other.exit())
    expect(given.served.body).toMatchObject({ stdin: true })
  })

  test("that fails half-way ends the command, never its input, and says why", async () => {
    const broken = new Error("disk on fire")
    async function* failing() {
      yield utf8("half")
      throw broken
    }
    const { result, served } = await exec({ stdin: failing() }, (other) => other.until(() => other.closed !== undefined))
    await expect(result).rejects.toMatchObject({ code: "aborted", delivered: "yes", cause: broken })
    await expect(result).rejects.toThrow("disk on fire")
    expect(served.inputEnded).toBe(false)
  })

  test("of a command that has ended is read no further", async () => {
    let read = 0
    let left = false
    async function* endless() {
      try {
        for (;;) {
          read += 1
          yield new Uint8Array(1_000)
          await new Promise<void>((resolve) => setImmediate(resolve))
        }
      } finally {
        left = true
      }
    }
    const { result } = await exec({ stdin: endless() }, (served) => served.exit())
    expect(await result).toMatchObject({ exitCode: 0 })
    await settle()
    const before = read
    await settle()
    expect(read).toBe(before)
    expect(left).toBe(true)
  })

  test("that has nothing to say is let go with the command", async () => {
    const cancelled = Promise.withResolvers<void>()
    const silent = new ReadableStream<Uint8Array>({ cancel: () => cancelled.resolve() })
    const { result } = await exec({ stdin: silent }, (served) => served.exit())
    await result
    await cancelled.promise
  })
})

describe("an abort", () => {
  test("before the call sends nothing", async () => {
    await expect(memory.agent.exec("true", { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted", delivered: "no" })
    expect(memory.dials).toBe(0)
  })

  test("while it runs rejects, delivered yes", async () => {
    const abort = new AbortController()
    const { result } = await exec({ signal: abort.signal }, async (served) => {
      served.say(stdout, "begun")
      await settle()
      abort.abort()
    })
    await expect(result).rejects.toMatchObject({ code: "aborted", delivered: "yes" })
  })
})

describe("a request that no agent would take is refused here", () => {
  test.each([
    ["no argv", [], {}],
    ["an empty line", "", {}],
    ["an empty command", [""], {}],
    ["NUL in an argument", ["echo", "a\0b"], {}],
    ["NUL in the directory", ["true"], { cwd: "/tmp\0" }],
    ["NUL in a value", ["true"], { env: { A: "\0" } }],
    ["= in a name", ["true"], { env: { "A=B": "" } }],
    ["an empty name", ["true"], { env: { "": "x" } }],
    ["a value that is none", ["true"], { env: { A: undefined as unknown as string } }],
    ["a time limit of 0", ["true"], { timeoutMs: 0 }],
    ["a broken time limit", ["true"], { timeoutMs: 1.5 }],
    ["no number for a time limit", ["true"], { timeoutMs: Number.NaN }],
    ["a time limit no timer knows", ["true"], { timeoutMs: 2 ** 31 }],
  ] as const)("%s", async (_, command, options) => {
    const refusal = { name: "TunnelError", code: "bad-request", delivered: "no" }
    await expect(memory.agent.exec(command, options)).rejects.toMatchObject(refusal)
    await expect(memory.agent.spawn(command, options)).rejects.toMatchObject(refusal)
    expect(memory.dials).toBe(0)
  })

  test("more than fits in one request", async () => {
    await expect(memory.agent.exec(["echo", "x".repeat(262_144)])).rejects.toMatchObject({ code: "too-large", delivered: "no" })
  })

  test.each([
    { cols: 0, rows: 24 },
    { cols: 80, rows: 10_001 },
    { cols: 80, rows: 24, command: [] },
    { cols: 80, rows: 24, command: [""] },
    { cols: 80, rows: 24, timeoutMs: -1 },
  ])("a terminal of %j", async (options) => {
    await expect(memory.agent.pty.create(options)).rejects.toMatchObject({ code: "bad-request", delivered: "no" })
  })
})
