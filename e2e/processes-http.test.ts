/** Processes that outlive their HTTP callers, with nothing but an HTTP client. */
import { createHash } from "node:crypto"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { readFile, writeFile } from "node:fs/promises"
import { type ClientRequest, type IncomingMessage, request } from "node:http"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { World } from "./world.ts"

interface Output {
  readonly state: string
  readonly next: number
  readonly written: number
  readonly truncated: readonly { readonly from: number; readonly to: number }[]
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number | null
  readonly outcome: string | null
}

let world: World
beforeAll(async () => {
  world = await World.start()
  await world.agent("box")
})
afterAll(() => world.stop())

const exec = (body: object, headers: Record<string, string> = {}) =>
  world.fetch("/v1/agents/box/exec", { method: "POST", headers, body: JSON.stringify(body) })

const processes = (path: string, init: RequestInit = {}) => world.fetch(`/v1/agents/box/processes${path}`, init)

/** On a connection of its own, to be cut. */
function call(path: string, method: string, headers: Record<string, string> = {}): ClientRequest {
  const caller = request(new URL(path, world.url), {
    method,
    agent: false,
    headers: { authorization: `Bearer ${world.secret}`, ...headers },
  })
  caller.on("error", () => {})
  return caller
}

async function detached(command: string): Promise<string> {
  const response = await exec({ command, detach: true })
  expect(response.status).toBe(202)
  return ((await response.json()) as { processId: string }).processId
}

async function output(id: string, from = 0): Promise<Output> {
  const response = await processes(`/${id}/output?from=${from}`)
  expect(response.status).toBe(200)
  return (await response.json()) as Output
}

/** Asks again and again for what comes next, until the exit. */
async function polled(
  id: string,
): Promise<{ readonly stdout: string; readonly stderr: string; readonly last: Output; readonly asked: number }> {
  let [stdout, stderr, from, asked] = ["", "", 0, 0]
  for (;;) {
    const part = await output(id, from)
    asked += 1
    stdout += part.stdout
    stderr += part.stderr
    from = part.next
    if (part.outcome !== null) return { stdout, stderr, last: part, asked }
  }
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex")
const lines = (count: number) => Array.from({ length: count }, (_, index) => `größe ${index + 1} €\n`).join("")

describe("a process left running", () => {
  test("is polled to its end: every byte once, both outputs apart, the exit with the last of them", async () => {
    const id = await detached(`for i in $(seq 300); do echo "größe $i €"; done; echo err >&2; exit 3`)
    const { stdout, stderr, last } = await polled(id)
    expect(sha256(stdout)).toBe(sha256(lines(300)))
    expect(stderr).toBe("err\n")
    expect(last).toMatchObject({ state: "ended", exitCode: 3, outcome: "exited", truncated: [] })
    expect(await output(id, last.next)).toMatchObject({ stdout: "", next: last.next, exitCode: 3 })
  })

  test("is listed and described, and is told signals", async () => {
    const id = await detached("exec sleep 60")
    const { processes: listed } = (await (await processes("")).json()) as { processes: { id: string; state: string; detached: boolean }[] }
    expect(listed.find((process) => process.id === id)).toMatchObject({ state: "running", detached: true })
    const killed = await processes(`/${id}/kill`, { method: "POST", body: JSON.stringify({ signal: "SIGINT" }) })
    expect(killed.status).toBe(200)
    await world.until(async () => (await output(id)).outcome !== null)
    expect(await output(id)).toMatchObject({ exitCode: null, signal: "SIGINT", outcome: "signalled" })
    expect(await (await processes(`/${id}`)).json()).toMatchObject({ id, state: "ended", exit: { type: "signal", signal: "SIGINT" } })
  })

  test("that has written more than is kept says what is gone, and gives the rest in bounded answers", async () => {
    const id = await detached("head -c 3000000 /dev/zero | tr '\\0' a")
    await world.until(async () => ((await (await processes(`/${id}`)).json()) as { state: string }).state === "ended")
    const first = await output(id)
    const [gap] = first.truncated
    expect(gap).toMatchObject({ from: 0 })
    expect(first.stdout.length).toBeLessThanOrEqual(1_048_576)
    expect((gap?.to ?? 0) + first.stdout.length).toBe(first.next)
    const { stdout, last } = await polled(id)
    expect((gap?.to ?? 0) + stdout.length).toBe(3_000_000)
    expect(last).toMatchObject({ next: 3_000_000, written: 3_000_000, outcome: "exited" })
  })

  test("is followed by readers that are cut off and come back with Last-Event-ID: every byte once", async () => {
    const go = join(world.home, "go")
    const id = await detached(
      `for i in $(seq 2000); do echo "größe $i €"; done; while [ ! -e ${go} ]; do sleep 0.02; done; echo end >&2; exit 5`,
    )
    let [stdout, stderr, last] = ["", "", ""]
    let ended: Record<string, unknown> | undefined
    // Each reader takes a little more and is then gone, often in the middle of an event.
    for (let bytes = 500; ended === undefined; bytes *= 2) {
      const leave = new AbortController()
      const headers: Record<string, string> = { accept: "text/event-stream", ...(last === "" ? {} : { "last-event-id": last }) }
      const response = await processes(`/${id}/output?from=0`, { headers, signal: leave.signal })
      let [text, taken] = ["", 0]
      const decoder = new TextDecoder()
      for await (const chunk of response.body ?? []) {
        const part = chunk.subarray(0, bytes - taken)
        taken += part.byteLength
        text += decoder.decode(part, { stream: true })
        if (taken === bytes || text.includes("größe 2000 €")) break
      }
      leave.abort()
      const events = text.split("\n\n").slice(0, -1)
      for (const event of events) {
        last = /^id: (\d+)$/m.exec(event)?.[1] ?? last
        const body = JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? "null") as Record<string, unknown> | null
        if (body?.type === "stdout") stdout += body.text
        if (body?.type === "stderr") stderr += body.text
        if (body?.type === "exit") ended = body
      }
      if (stdout.includes("größe 2000 €")) await writeFile(go, "")
    }
    expect(sha256(stdout)).toBe(sha256(lines(2000)))
    expect(stderr).toBe("end\n")
    expect(ended).toMatchObject({ exitCode: 5, outcome: "exited" })
  })

  test("is not ended by a follower that leaves", async () => {
    const id = await detached("exec sleep 60")
    const follower = call(`/v1/agents/box/processes/${id}/output?follow=true`, "GET")
    follower.end()
    const [answer] = (await once(follower, "response")) as [IncomingMessage]
    await once(answer, "data")
    follower.socket?.resetAndDestroy()
    await world.until(async () => ((await (await processes(`/${id}`)).json()) as { attached: number }).attached === 0)
    expect(await (await processes(`/${id}`)).json()).toMatchObject({ state: "running" })
    await processes(`/${id}/kill`, { method: "POST", body: JSON.stringify({ signal: "SIGKILL" }) })
  })

  test("is asked for with offsets that are none, that lie in the future, and by ids that nobody knows", async () => {
    const id = await detached("printf 12345")
    await polled(id)
    for (const from of ["-1", "1.5", "x"]) expect((await processes(`/${id}/output?from=${from}`)).status).toBe(400)
    for (const accept of ["application/json", "text/event-stream"]) {
      const future = await processes(`/${id}/output?from=77`, { headers: { accept } })
      expect(future.status).toBe(400)
      const { error } = (await future.json()) as { error: { message: string } }
      expect(error.message).toMatch(/77.*5/)
    }
    for (const path of ["/nobody", "/nobody/output"]) {
      const unknown = await processes(path)
      expect(unknown.status).toBe(404)
      expect(await unknown.json()).toMatchObject({ error: { code: "not-found" } })
    }
    const nonsense = await processes(`/${id}/kill`, { method: "POST", body: JSON.stringify({ signal: "SIGNONSENSE" }) })
    expect(nonsense.status).toBe(400)
  })
})

describe("an idempotency key", () => {
  test("runs a command once, however often and however concurrently it is asked for, and gives everybody its outcome", async () => {
    const ran = join(world.home, "ran")
    const command = `echo run >> ${ran}; sleep 0.3; echo out; echo err >&2; exit 6`
    const ask = async () => (await exec({ command, idempotencyKey: "once" })).json()
    const answers = await Promise.all([ask(), ask(), ask()])
    answers.push(await ask())
    for (const answer of answers) expect(answer).toMatchObject({ exitCode: 6, stdout: "out\n", stderr: "err\n", truncated: false })
    expect(await readFile(ran, "utf8")).toBe("run\n")
    const { processes: listed } = (await (await processes("?idempotencyKey=once")).json()) as { processes: { exit: object }[] }
    expect(listed.map(({ exit }) => exit)).toEqual([{ type: "code", code: 6 }])
    expect(await (await processes("?idempotencyKey=other")).json()).toEqual({ processes: [] })
  })

  test("runs a command with one input, however many callers bring it", async () => {
    // More than any window takes, so that all of them are at it when the command begins to read.
    const body = { command: "sleep 0.3; wc -c", stdin: "x".repeat(800_000), idempotencyKey: "input" }
    const ask = async () => (await exec(body)).json()
    for (const answer of await Promise.all([ask(), ask(), ask()])) expect(answer).toMatchObject({ exitCode: 0, stdout: "800000\n" })
  })

  test("names one command: another under it is refused", async () => {
    await exec({ argv: ["true"], idempotencyKey: "mine" })
    const other = await exec({ argv: ["false"], idempotencyKey: "mine" })
    expect(other.status).toBe(400)
    expect(await other.json()).toMatchObject({ error: { code: "bad-request" } })
  })

  test.each(["application/json", "text/event-stream"])(
    "lets the command go on when its caller's connection breaks (%s)",
    async (accept) => {
      const mark = join(world.home, `key-${accept.length}`)
      const body = {
        command: `echo run >> ${mark}; while [ ! -e ${mark}.go ]; do sleep 0.02; done; echo done; exit 7`,
        idempotencyKey: accept,
      }
      const caller = call("/v1/agents/box/exec", "POST", { accept })
      caller.end(JSON.stringify(body))
      await world.until(() => existsSync(mark))
      caller.socket?.resetAndDestroy()
      const query = `?idempotencyKey=${encodeURIComponent(accept)}`
      const run = async () => ((await (await processes(query)).json()) as { processes: { attached: number; state: string }[] }).processes[0]
      await world.until(async () => (await run())?.attached === 0)
      expect(await run()).toMatchObject({ state: "running" })
      await writeFile(`${mark}.go`, "")
      const repeated = await exec(body)
      expect(await repeated.json()).toMatchObject({ exitCode: 7, stdout: "done\n", truncated: false, outcome: "exited" })
      expect(await readFile(mark, "utf8")).toBe("run\n")
    },
  )
})
