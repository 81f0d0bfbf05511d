/** `GET /v1/agents/NAME/processes/ID/output`: what a process has written, asked for again and again, or followed to its end. */
import { limits, TunnelError } from "@trunkline/protocol"
import { describe, expect, test, vi } from "vitest"
import { Machine, type View } from "./machine.ts"
import { bearer, call, freshName, objectOf, refusal, textOf } from "./peers.ts"

const ndjson = "application/x-ndjson"
const sse = "text/event-stream"

const output = (name: string, query = "", headers: Record<string, string> = {}, init: RequestInit = {}): Promise<Response> =>
  call(`/v1/agents/${name}/processes/process-1/output${query}`, { headers: { ...bearer, ...headers }, ...init })

const nobodyLeft = (name: string): Promise<void> =>
  vi.waitFor(async () => expect(await objectOf(name).presence()).toMatchObject({ clients: 0 }))

const description = {
  id: "process-1",
  kind: "exec",
  argv: ["x"],
  pid: 4711,
  detached: true,
  startedAt: 1,
  output: { from: 0, to: 9 },
  attached: 1,
}

/** The JSON answer of a process in this state that shows this. */
async function polled(query: string, act: (view: View) => void, state: "running" | "ended" = "running") {
  const machine = await Machine.start(freshName())
  const answer = output(machine.name, query)
  const [view, question] = await Promise.all([machine.nextView(), machine.nextQuestion()])
  act(view)
  question.answer({ ...description, state })
  const response = await answer
  expect(response.status).toBe(200)
  return { view, open: view.open, body: (await response.json()) as Record<string, unknown> }
}

/** The text of a live answer, and what the agent was asked. */
async function followed(query: string, headers: Record<string, string>, act: (view: View) => void) {
  const machine = await Machine.start(freshName())
  const answer = output(machine.name, query, headers)
  const view = await machine.nextView()
  act(view)
  const response = await answer
  return { open: view.open, response, text: await textOf(response) }
}

const events = (text: string): unknown[] =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))

describe("the answer in JSON", () => {
  test("holds what a running process has written from the offset on, and what to ask next", async () => {
    const { open, body } = await polled("?from=3", (view) => view.show({ liveOffset: 8 }).stdout("lo").stderr("err").end())
    expect(open).toEqual({ processId: "process-1", from: 3, readOnly: true, follow: false })
    expect(body).toEqual({
      processId: "process-1",
      state: "running",
      from: 3,
      next: 8,
      written: 8,
      truncated: [],
      stdout: "lo",
      stderr: "err",
      exitCode: null,
      signal: null,
      outcome: null,
      durationMs: null,
    })
  })

  test("begins at 0 when nothing is said, and tells the exit with the last of the output", async () => {
    const { open, body } = await polled("", (view) => view.show({ liveOffset: 3 }).stdout("end").exit({ type: "code", code: 4 }))
    expect(open).toMatchObject({ from: 0 })
    expect(body).toMatchObject({
      state: "ended",
      from: 0,
      next: 3,
      stdout: "end",
      exitCode: 4,
      signal: null,
      outcome: "exited",
      durationMs: 5,
    })
  })

  test.each([
    [{ type: "signal", signal: "SIGKILL" } as const, { exitCode: null, signal: "SIGKILL", outcome: "signalled" }],
    [{ type: "timeout", timeoutMs: 9 } as const, { exitCode: null, signal: null, outcome: "timeout" }],
    [{ type: "unknown", reason: "lost" } as const, { exitCode: null, signal: null, outcome: "unknown" }],
  ])("tells %j apart from an exit code", async (exit, shown) => {
    expect((await polled("", (view) => view.show().exit(exit))).body).toMatchObject({ state: "ended", ...shown })
  })

  test("at the end of what there is holds nothing, and asks for the same again", async () => {
    const { body } = await polled("?from=70", (view) => view.show().end())
    expect(body).toMatchObject({ from: 70, next: 70, written: 70, stdout: "", stderr: "", outcome: null })
  })

  test("says what is not kept any more", async () => {
    const { body } = await polled("?from=5", (view) => view.show({ liveOffset: 103 }).truncated(5, 100).stdout("new").end())
    expect(body).toMatchObject({ truncated: [{ from: 5, to: 100 }], next: 103, stdout: "new" })
  })

  test("shows a terminal's screen in place of what is not kept any more", async () => {
    const { body } = await polled("", (view) => view.show({ kind: "pty", liveOffset: 100 }).truncated(0, 100, "\u001b[2Jscreen").end())
    expect(body).toMatchObject({ truncated: [{ from: 0, to: 100 }], next: 100, stdout: "", repaint: "\u001b[2Jscreen" })
  })

  test("holds 1 MiB, and the rest is there for the next request: no exit before that", async () => {
    const { body } = await polled(
      "?from=10",
      (view) => view.show({ liveOffset: 3_000_010 }).stdout(new Uint8Array(3_000_000).fill(0x61)).exit(),
      "ended",
    )
    expect((body.stdout as string).length).toBe(1_048_576)
    expect(body).toMatchObject({ next: 10 + 1_048_576, written: 3_000_010, state: "ended", outcome: null, exitCode: null })
  })

  test("that is full lets go of a process that has more to say", async () => {
    const { view, body } = await polled("", (view) => view.show().stdout(new Uint8Array(1_048_577)))
    expect(body).toMatchObject({ next: 1_048_576 })
    await view.closed
  })

  test("of exactly 1 MiB has the exit", async () => {
    const { body } = await polled("", (view) => view.show().stdout(new Uint8Array(1_048_576).fill(0x61)).exit())
    expect(body).toMatchObject({ next: 1_048_576, outcome: "exited" })
  })

  test("has base64 for output that is not UTF-8, under another name", async () => {
    const { body } = await polled("", (view) =>
      view
        .show()
        .stdout(new Uint8Array([0xff, 0x00]))
        .stderr("\ufefftext")
        .exit(),
    )
    expect(body).toMatchObject({ stdoutBase64: "/wA=", stderr: "\ufefftext" })
    expect(body).not.toHaveProperty("stdout")
  })

  test("leaves a character that is not complete for the next request, unless there is none", async () => {
    const cut = new TextEncoder().encode("ä€").slice(0, 4)
    expect((await polled("?from=7", (view) => view.show().stderr("e").stdout(cut).end())).body).toMatchObject({
      stdout: "ä",
      stderr: "e",
      next: 10,
    })
    expect((await polled("?from=7", (view) => view.show().stdout(cut).stderr("e").end())).body).toMatchObject({
      stdoutBase64: "w6Tigg==",
      next: 12,
    })
    expect((await polled("?from=7", (view) => view.show().stdout(cut).exit())).body).toMatchObject({ stdoutBase64: "w6Tigg==", next: 11 })
    const [first, second] = [cut.slice(2, 3), cut.slice(3)]
    const apart = await polled("?from=7", (view) => view.show().stdout(first).stderr("e").stdout(second).end())
    expect(apart.body).toMatchObject({ stdoutBase64: "4oI=", stderr: "e", next: 10 })
  })

  test("says that the process has ended meanwhile, and leaves the exit to the next request", async () => {
    expect((await polled("", (view) => view.show().end(), "ended")).body).toMatchObject({ state: "ended", outcome: null })
  })

  test("leaves no client behind, in whichever way it ends", async () => {
    const machine = await Machine.start(freshName())
    for (const query of ["", "?from=9"]) {
      const answer = output(machine.name, query)
      const [view, question] = await Promise.all([machine.nextView(), machine.nextQuestion()])
      if (query === "") view.show().exit()
      else view.stream.reject(new TunnelError("bad-request", "offset 9 is in the future: the process has written 2 bytes"))
      question.answer({ ...description, state: "ended" })
      expect((await answer).status).toBe(query === "" ? 200 : 400)
      await nobodyLeft(machine.name)
    }
  })
})

describe("the live answer", () => {
  test("in NDJSON is an event a line, with its offset, from the offset that was asked for to the exit", async () => {
    const { open, response, text } = await followed("?from=2", { accept: ndjson }, (view) =>
      view.show({ liveOffset: 5 }).stdout("out").stderr("€").truncated(8, 20).stdout("late").exit({ type: "code", code: 1 }),
    )
    expect(open).toEqual({ processId: "process-1", from: 2, readOnly: true, follow: true })
    expect(response.headers.get("content-type")).toBe("application/x-ndjson; charset=utf-8")
    expect(events(text)).toEqual([
      { type: "attached", processId: "process-1", pid: 4711, from: 2, written: 5 },
      { type: "stdout", offset: 2, text: "out" },
      { type: "stderr", offset: 5, text: "€" },
      { type: "truncated", from: 8, to: 20 },
      { type: "stdout", offset: 20, text: "late" },
      { type: "exit", exitCode: 1, signal: null, outcome: "exited", durationMs: 5 },
    ])
  })

  test("in server-sent events has the offset behind each as its id, so that Last-Event-ID asks for what comes next", async () => {
    const cut = new TextEncoder().encode("ab€").slice(0, 4)
    const { text } = await followed("?from=2", { accept: sse }, (view) => view.show().stdout(cut).exit())
    expect(text).toBe(
      [
        'event: attached\ndata: {"type":"attached","processId":"process-1","pid":4711,"from":2,"written":2}\n\n',
        'id: 4\nevent: stdout\ndata: {"type":"stdout","offset":2,"text":"ab"}\n\n',
        'id: 6\nevent: stdout\ndata: {"type":"stdout","offset":4,"base64":"4oI="}\n\n',
        'event: exit\ndata: {"type":"exit","exitCode":0,"signal":null,"outcome":"exited","durationMs":5}\n\n',
      ].join(""),
    )
    const { open } = await followed("?from=2", { accept: sse, "last-event-id": "4" }, (view) => view.show().exit())
    expect(open).toMatchObject({ from: 4, follow: true })
  })

  test("shows a terminal's screen where the output is gone, with no id before all of it is there", async () => {
    const { text } = await followed("", { accept: sse }, (view) =>
      view.show({ kind: "pty" }).truncated(0, 100, "screen").stdout("$ ").exit(),
    )
    expect(text).toContain(
      [
        'event: truncated\ndata: {"type":"truncated","from":0,"to":100}\n\n',
        'event: repaint\ndata: {"type":"repaint","offset":100,"text":"screen"}\n\n',
        'id: 102\nevent: stdout\ndata: {"type":"stdout","offset":100,"text":"$ "}\n\n',
      ].join(""),
    )
  })

  test("is what follow=true asks for, whatever is accepted", async () => {
    const { open, response } = await followed("?follow=true", {}, (view) => view.show().exit())
    expect(open).toMatchObject({ follow: true })
    expect(response.headers.get("content-type")).toBe("application/x-ndjson; charset=utf-8")
  })

  test("with follow=false ends where the output ends now, without an exit while the process runs", async () => {
    const { open, text } = await followed("?follow=false", { accept: ndjson }, (view) => view.show().stdout("now").end())
    expect(open).toMatchObject({ follow: false })
    expect(events(text).slice(1)).toEqual([{ type: "stdout", offset: 0, text: "now" }])
  })

  test("puts characters together that were cut on the way, and says what a reader has so far", async () => {
    const machine = await Machine.start(freshName())
    const answer = output(machine.name, "", { accept: sse })
    const view = (await machine.nextView()).show()
    const reader = (await answer).body?.pipeThrough(new TextDecoderStream()).getReader()
    const read = async () => (await reader?.read())?.value
    expect(await read()).toContain("attached")
    const euros = new TextEncoder().encode("€€")
    view.stdout(euros.slice(0, 4))
    expect(await read()).toBe('id: 3\nevent: stdout\ndata: {"type":"stdout","offset":0,"text":"€"}\n\n')
    view.stdout(euros.slice(4))
    expect(await read()).toBe('id: 6\nevent: stdout\ndata: {"type":"stdout","offset":3,"text":"€"}\n\n')
    view.exit()
    expect(await read()).toContain("exit")
  })

  test("is let go of when its reader leaves", async () => {
    const machine = await Machine.start(freshName())
    const answer = output(machine.name, "", { accept: ndjson })
    const view = (await machine.nextView()).show()
    const reader = (await answer).body?.getReader()
    await reader?.read()
    await reader?.cancel()
    await view.closed
    await nobodyLeft(machine.name)
  })

  test("takes no more than the window for a reader that stops", async () => {
    const machine = await Machine.start(freshName())
    const answer = output(machine.name, "", { accept: ndjson })
    const view = (await machine.nextView()).show()
    let written = 0
    const fill = () => {
      for (; view.stream.writableBytes > 0; written += 16_384) view.stdout(new Uint8Array(16_384))
    }
    view.whenWritable = fill
    fill()
    const reader = (await answer).body?.getReader()
    await reader?.read()
    const sent = async () => {
      for (let trip = 0; trip < 10; trip++) await machine.roundTrip()
      return written - view.stream.queuedBytes
    }
    const stopped = await sent()
    expect(stopped).toBeGreaterThan(0)
    expect(stopped).toBeLessThanOrEqual(2 * limits.streamWindowBytes)
    expect(await sent()).toBe(stopped)
    await reader?.cancel()
    await view.closed
  })

  test("of an agent that is lost says so as its last event, and nothing of commands that may have run", async () => {
    const machine = await Machine.start(freshName())
    const answer = output(machine.name, "", { accept: ndjson })
    ;(await machine.nextView()).show().stdout("half")
    const response = await answer
    machine.stop()
    const last = events(await textOf(response)).at(-1) as { error: { message: string } }
    expect(last).toMatchObject({ type: "error", error: { code: "agent-stopped" } })
    expect(last.error.message).not.toContain("outcome unknown")
  })
})

describe("the request", () => {
  test.each(["-1", "1.5", "1e3", "0x10", "", "abc", "%2B1", " 1", "9007199254740992", "99999999999999999999", "NaN"])(
    "is refused with from=%s, which is no offset",
    async (from) => {
      const { name } = await Machine.start(freshName())
      const refused = await refusal(await output(name, `?from=${from}`))
      expect(refused).toMatchObject({ status: 400, code: "bad-request" })
      expect(refused.message).toContain("from 0 to 9007199254740991")
    },
  )

  test("is refused with a Last-Event-ID that is no offset, and with follow that is neither", async () => {
    const { name } = await Machine.start(freshName())
    expect(await refusal(await output(name, "", { "last-event-id": "-1" }))).toMatchObject({ status: 400, code: "bad-request" })
    expect(await refusal(await output(name, "?follow=1"))).toMatchObject({
      status: 400,
      code: "bad-request",
      message: "follow is true or false",
    })
  })

  test.each([
    ["bad-request", 400, "offset 9 is in the future: the process has written 2 bytes"],
    ["not-found", 404, "process process-1 ended at 2026-01-01T00:00:00.000Z by SIGKILL; it is not kept any more"],
  ] as const)("that the agent refuses with %s has its words, in every form", async (code, status, message) => {
    const machine = await Machine.start(freshName())
    for (const accept of ["application/json", ndjson, sse]) {
      const answer = output(machine.name, "?from=9", { accept })
      const view = await machine.nextView()
      view.stream.reject(new TunnelError(code, message))
      expect(await refusal(await answer)).toEqual({ status, code, message, retryable: false })
    }
    await nobodyLeft(machine.name)
  })
})
