/** `POST /v1/agents/NAME/exec` as its callers see it: what is asked for, and the three forms of the answer. */
import { TunnelError } from "@trunkline/protocol"
import { afterEach, describe, expect, test, vi } from "vitest"
import { agentKey } from "../src/auth.ts"
import { Machine, type Run } from "./machine.ts"
import { bearer, call, freshName, gatewaySecret, objectOf, refusal, textOf } from "./peers.ts"

afterEach(() => vi.restoreAllMocks())

const ndjson = "application/x-ndjson"
const sse = "text/event-stream"

const exec = (name: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  call(`/v1/agents/${name}/exec`, {
    method: "POST",
    headers: { ...bearer, ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  })

/** The answer to a command that does this. */
async function answered(body: unknown, headers: Record<string, string>, act: (run: Run) => void): Promise<Response> {
  const machine = await Machine.start(freshName())
  const answer = exec(machine.name, body, headers)
  act((await machine.nextRun()).start())
  return await answer
}

const result = async (act: (run: Run) => void): Promise<unknown> => (await answered({ argv: ["x"] }, {}, act)).json()

async function events(act: (run: Run) => void): Promise<unknown[]> {
  const text = await textOf(await answered({ argv: ["x"] }, { accept: ndjson }, act))
  expect(text).toMatch(/\n$/)
  return text
    .slice(0, -1)
    .split("\n")
    .map((line) => JSON.parse(line))
}

describe("the request", () => {
  test("reaches the agent: argv, directory, variables, time limit, and input with its end", async () => {
    const machine = await Machine.start(freshName())
    const body = { argv: ["printf", "%s", ""], cwd: "/srv", env: { A: "ä=b" }, stdin: "first\nzwölf", timeoutMs: 1_000 }
    const answer = exec(machine.name, body)
    const run = (await machine.nextRun()).start()
    expect(run.open).toEqual({ argv: body.argv, cwd: "/srv", env: { A: "ä=b" }, stdin: true, detach: false, timeoutMs: 1_000 })
    expect(await run.input).toBe("first\nzwölf")
    run.exit()
    expect((await answer).status).toBe(200)
  })

  test("with a command line is run by a shell, without input", async () => {
    const machine = await Machine.start(freshName())
    const answer = exec(machine.name, { command: "echo $HOME | wc" })
    const run = (await machine.nextRun()).start()
    expect(run.open).toMatchObject({ argv: ["/bin/sh", "-c", "echo $HOME | wc"], stdin: false })
    run.exit()
    await answer
  })

  test.each([ndjson, "application/json"])(
    "with input above every window goes on while the command answers before it has read it (%s)",
    async (accept) => {
      const machine = await Machine.start(freshName())
      const stdin = "0123456789abcdef".repeat(62_500)
      const answer = exec(machine.name, { argv: ["tee"], stdin }, { accept })
      const run = (await machine.nextRun()).start()
      // Reads nothing before most of its output is gone, which is more than every window takes.
      run.reading = false
      run.whenWritable = () => run.read()
      run.stdout(new Uint8Array(1_572_864).fill(0x78))
      expect(run.stream.writableBytes).toBe(0)
      void run.input.then((input) => run.stdout(`\n${input.length}`).exit())
      expect(await textOf(await answer)).toContain("1000000")
    },
  )

  test.each([
    ["neither argv nor command", {}],
    ["both", { argv: ["true"], command: "true" }],
    ["an empty argv", { argv: [] }],
    ["a field nobody knows", { argv: ["true"], timeoutMS: 5 }],
    ["an empty program", { argv: [""] }],
    ["an empty command", { command: "" }],
    ["argv that is text", { argv: "true" }],
    ["argv with a number", { argv: ["sleep", 1] }],
    ["a command that is a list", { command: ["true"] }],
    ["variables that are a list", { argv: ["true"], env: ["A=1"] }],
    ["a variable that is a number", { argv: ["true"], env: { A: 1 } }],
    ["input that is an object", { argv: ["true"], stdin: {} }],
    ["a time limit of 0", { argv: ["true"], timeoutMs: 0 }],
    ["a time limit that is text", { argv: ["true"], timeoutMs: "1s" }],
    ["an array", ["true"]],
    ["no JSON", "argv=true"],
    ["nothing", ""],
    ["null", "null"],
    ["an idempotency key that is empty", { argv: ["true"], idempotencyKey: "" }],
    ["an idempotency key of 257 characters", { argv: ["true"], idempotencyKey: "k".repeat(257) }],
    ["an idempotency key that is a number", { argv: ["true"], idempotencyKey: 7 }],
    ["detach that is text", { argv: ["true"], detach: "yes" }],
  ])("is refused with %s, and nothing runs", async (_what, body) => {
    const machine = await Machine.start(freshName())
    for (const accept of [ndjson, "application/json"]) {
      expect(await refusal(await exec(machine.name, body, { accept }))).toMatchObject({
        status: 400,
        code: "bad-request",
        retryable: false,
      })
    }
    expect((await objectOf(machine.name).presence())?.clients).toBe(0)
  })

  test("is refused when it is not UTF-8: a changed character is another command", async () => {
    const body = new Uint8Array([...new TextEncoder().encode('{"command":"rm '), 0xff, ...new TextEncoder().encode('"}')])
    const response = await call(`/v1/agents/${freshName()}/exec`, { method: "POST", headers: bearer, body })
    expect(await refusal(response)).toMatchObject({ status: 400, code: "bad-request", message: "the body is not UTF-8" })
  })

  test("is refused above 1 MiB, also when it does not say how long it is", async () => {
    const name = freshName()
    const big = new TextEncoder().encode(JSON.stringify({ argv: ["true"], stdin: "x".repeat(1_048_576) }))
    const chunked = new ReadableStream({
      start(controller) {
        for (let at = 0; at < big.byteLength; at += 65_536) controller.enqueue(big.slice(at, at + 65_536))
        controller.close()
      },
    })
    for (const body of [big, chunked]) {
      const response = await call(`/v1/agents/${name}/exec`, { method: "POST", headers: bearer, body })
      expect(await refusal(response)).toMatchObject({ status: 413, code: "too-large" })
    }
  })

  test("needs the gateway's secret: no credential, a wrong one and the agent's own key are refused before the body is read", async () => {
    const name = freshName()
    for (const authorization of ["", "Bearer wrong", `Bearer ${await agentKey(gatewaySecret, name)}`]) {
      const headers: Record<string, string> = authorization === "" ? {} : { authorization }
      const response = await call(`/v1/agents/${name}/exec`, { method: "POST", headers, body: "not JSON" })
      expect(await refusal(response)).toMatchObject({ status: 401, code: "unauthorised" })
    }
  })

  test("to a bad name and to an unknown agent are two different refusals", async () => {
    expect(await refusal(await exec("Not_A_Name", { argv: ["true"] }))).toMatchObject({ status: 400, code: "bad-name" })
    expect(await refusal(await exec(freshName(), { argv: ["true"] }))).toMatchObject({
      status: 404,
      code: "agent-unknown",
      retryable: false,
    })
  })

  test("that cannot be started is the agent's own refusal, in every form", async () => {
    const machine = await Machine.start(freshName())
    for (const accept of [ndjson, sse, "application/json"]) {
      const answer = exec(machine.name, { argv: ["nope"] }, { accept })
      const { stream } = await machine.nextRun()
      stream.reject(new TunnelError("command-not-found", '"nope" does not exist'))
      expect(await refusal(await answer)).toEqual({
        status: 422,
        code: "command-not-found",
        message: '"nope" does not exist',
        retryable: false,
      })
    }
  })
})

describe("the answer in JSON", () => {
  test("holds the exit code, and both outputs apart", async () => {
    expect(await result((run) => run.stdout("o1 ").stderr("e1 ").stdout("o2").stderr("e2").exit({ type: "code", code: 42 }))).toEqual({
      exitCode: 42,
      signal: null,
      stdout: "o1 o2",
      stderr: "e1 e2",
      truncated: false,
      durationMs: 5,
      outcome: "exited",
    })
  })

  test.each([
    [{ type: "signal", signal: "SIGKILL" } as const, { exitCode: null, signal: "SIGKILL", outcome: "signalled" }],
    [{ type: "timeout", timeoutMs: 9 } as const, { exitCode: null, signal: null, outcome: "timeout" }],
    [{ type: "unknown", reason: "lost" } as const, { exitCode: null, signal: null, outcome: "unknown" }],
  ])("tells %j apart from an exit code, live as well", async (exit, shown) => {
    expect(await result((run) => run.exit(exit))).toMatchObject(shown)
    expect((await events((run) => run.exit(exit))).at(-1)).toEqual({ type: "exit", durationMs: 5, ...shown })
  })

  test("puts characters together that were cut between chunks", async () => {
    const bytes = new TextEncoder().encode("ä€😀")
    expect(
      await result((run) => {
        for (const byte of bytes) run.stdout(new Uint8Array([byte])).stderr("-")
        run.exit()
      }),
    ).toMatchObject({ stdout: "ä€😀", stderr: "-".repeat(bytes.byteLength) })
  })

  test("keeps 2 MiB of output, says that it is not all, and the command ends all the same", async () => {
    const chunk = new Uint8Array(1_048_576).fill(0x61)
    const answer = (await result((run) => {
      for (let sent = 0; sent < 9; sent++) run.stdout(chunk)
      run.stderr("late").exit({ type: "code", code: 3 })
    })) as { stdout: string }
    expect(answer.stdout.length).toBe(2_097_152)
    expect(answer).toMatchObject({ stderr: "", truncated: true, exitCode: 3 })
  })
})

describe("the live answer", () => {
  test("in NDJSON is a line for each event, from started to exit", async () => {
    expect(await events((run) => run.stdout("out").stderr("err").exit({ type: "code", code: 1 }))).toEqual([
      { type: "started", processId: "process-1", pid: 4711 },
      { type: "stdout", offset: 0, text: "out" },
      { type: "stderr", offset: 3, text: "err" },
      { type: "exit", exitCode: 1, signal: null, outcome: "exited", durationMs: 5 },
    ])
  })

  test("in server-sent events names each event and keeps line ends out of its data", async () => {
    const response = await answered({ argv: ["x"] }, { accept: sse }, (run) => run.stdout("a\r\n\nb").exit())
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8")
    expect(response.headers.get("cache-control")).toBe("no-store")
    expect(await response.text()).toBe(
      [
        'event: started\ndata: {"type":"started","processId":"process-1","pid":4711}\n\n',
        'id: 5\nevent: stdout\ndata: {"type":"stdout","offset":0,"text":"a\\r\\n\\nb"}\n\n',
        'event: exit\ndata: {"type":"exit","exitCode":0,"signal":null,"outcome":"exited","durationMs":5}\n\n',
      ].join(""),
    )
  })

  test("holds output before the command has ended", async () => {
    const machine = await Machine.start(freshName())
    const answer = exec(machine.name, { argv: ["x"] }, { accept: ndjson })
    const run = (await machine.nextRun()).start()
    const reader = (await answer).body?.getReader()
    const next = async () => JSON.parse(new TextDecoder().decode((await reader?.read())?.value))
    expect(await next()).toMatchObject({ type: "started" })
    run.stdout("one")
    expect(await next()).toEqual({ type: "stdout", offset: 0, text: "one" })
    run.stdout("two")
    expect(await next()).toEqual({ type: "stdout", offset: 3, text: "two" })
    run.exit()
    expect(await next()).toMatchObject({ type: "exit" })
    expect((await reader?.read())?.done).toBe(true)
  })

  test("is exact: text where it is UTF-8, however it was cut, base64 where it is not", async () => {
    const euro = new TextEncoder().encode("€")
    const shown = await events((run) => {
      run.stdout("1").stdout(euro.slice(0, 2)).stdout(euro.slice(2))
      run
        .stderr(new Uint8Array([0xff, 0x00]))
        .stdout("-")
        .stderr("\ufeffmark")
      run.stdout(new Uint8Array([0x41, 0xe2, 0x82])).exit()
    })
    expect(shown.slice(1, -1)).toEqual([
      { type: "stdout", offset: 0, text: "1€" },
      { type: "stderr", offset: 4, base64: "/wA=" },
      { type: "stdout", offset: 6, text: "-" },
      { type: "stderr", offset: 7, text: "\ufeffmark" },
      { type: "stdout", offset: 14, text: "A" },
      { type: "stdout", offset: 15, base64: "4oI=" },
    ])
  })

  test("never holds a piece of a character back behind other output: its offsets leave no gap", async () => {
    const euro = new TextEncoder().encode("€")
    const shown = await events((run) => run.stdout(euro.slice(0, 2)).stderr("between").stdout(euro.slice(2)).exit())
    expect(shown.slice(1, -1)).toEqual([
      { type: "stdout", offset: 0, base64: "4oI=" },
      { type: "stderr", offset: 2, text: "between" },
      { type: "stdout", offset: 9, base64: "rA==" },
    ])
  })

  test("says what is not kept any more of the run that a key names, as JSON does", async () => {
    const act = (run: Run) => run.truncated(0, 70_000).stdout("the end").exit()
    expect((await events(act)).slice(1, -1)).toEqual([
      { type: "truncated", from: 0, to: 70_000 },
      { type: "stdout", offset: 70_000, text: "the end" },
    ])
    expect(await result(act)).toMatchObject({ stdout: "the end", truncated: true, exitCode: 0 })
  })

  test.each([
    [ndjson, " "],
    [sse, ":\n\n"],
  ])("shows a sign of life every 15 s while a command is silent, which readers of %s skip", async (accept, signOfLife) => {
    // The gateway's own timer, a thousand times faster.
    const { setInterval } = globalThis
    const timer = vi.spyOn(globalThis, "setInterval").mockImplementation((task, delayMs) => setInterval(task, (delayMs ?? 0) / 1_000))
    const machine = await Machine.start(freshName())
    const answer = exec(machine.name, { argv: ["sleep"] }, { accept })
    const run = (await machine.nextRun()).start()
    const reader = (await answer).body?.pipeThrough(new TextDecoderStream()).getReader()
    const read = async () => (await reader?.read())?.value
    expect(await read()).toContain("started")
    expect(await read()).toBe(signOfLife)
    expect(await read()).toBe(signOfLife)
    expect(timer).toHaveBeenCalledWith(expect.anything(), 15_000)
    run.exit()
    let last: string | undefined
    for (let text = await read(); text !== undefined; text = await read()) last = text
    expect(last).toMatch(/"type":"exit"/)
  })
})

describe("a command that is detached", () => {
  test.each([ndjson, "application/json"])("is answered when it runs, and its caller's link ends before it does (%s)", async (accept) => {
    const machine = await Machine.start(freshName())
    const answer = exec(machine.name, { argv: ["server"], detach: true }, { accept })
    const run = (await machine.nextRun()).start()
    const response = await answer
    expect(response.status).toBe(202)
    expect(await response.json()).toEqual({ processId: "process-1", pid: 4711 })
    expect(run.open).toMatchObject({ detach: true, stdin: false })
    await run.closed
  })

  test("gets all of its input and its end, however late it reads", async () => {
    const machine = await Machine.start(freshName())
    const stdin = "0123456789abcdef".repeat(62_500)
    const answer = exec(machine.name, { argv: ["import"], detach: true, stdin })
    const run = await machine.nextRun()
    run.reading = false
    run.start()
    expect((await answer).status).toBe(202)
    run.read()
    expect((await run.input).length).toBe(stdin.length)
    run.exit()
    await run.closed
  })
})

describe("a command with an idempotency key", () => {
  const keyed = { argv: ["deploy"], idempotencyKey: "https://ci.example/jobs/7" }

  test("is asked for with it, and so that it goes on without its caller", async () => {
    const machine = await Machine.start(freshName())
    const answer = exec(machine.name, keyed)
    const run = (await machine.nextRun()).start()
    expect(run.open).toMatchObject({ argv: ["deploy"], idempotencyKey: keyed.idempotencyKey, detach: true })
    run.stdout("done").exit()
    expect(await (await answer).json()).toMatchObject({ stdout: "done", exitCode: 0, outcome: "exited" })
  })

  test("that names another command is the agent's refusal", async () => {
    const machine = await Machine.start(freshName())
    const answer = exec(machine.name, keyed)
    const { stream } = await machine.nextRun()
    stream.reject(new TunnelError("bad-request", "this idempotency key was used for another command"))
    expect(await refusal(await answer)).toMatchObject({ status: 400, code: "bad-request", retryable: false })
  })
})
