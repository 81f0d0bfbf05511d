/** The exec route with nothing but an HTTP client. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { World } from "./world.ts"

type Event = { readonly type: string } & Readonly<Record<string, unknown>>

describe("exec over HTTP", () => {
  let world: World
  beforeAll(async () => {
    world = await World.start()
    await world.agent("box")
  })
  afterAll(() => world.stop())

  const exec = (body: unknown, headers: Record<string, string> = {}) =>
    world.fetch("/v1/agents/box/exec", { method: "POST", headers, body: JSON.stringify(body) })

  async function* lines(response: Response): AsyncGenerator<string> {
    const decoder = new TextDecoder()
    let rest = ""
    for await (const chunk of response.body ?? []) {
      rest += decoder.decode(chunk, { stream: true })
      const whole = rest.split("\n")
      rest = whole.pop() ?? ""
      yield* whole
    }
  }

  test("answers with the whole outcome as JSON", async () => {
    const response = await exec({ argv: ["sh", "-c", "cat; echo err >&2; exit 3"], stdin: "given", env: { A: "1" }, timeoutMs: 10_000 })
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({
      exitCode: 3,
      signal: null,
      stdout: "given",
      stderr: "err\n",
      truncated: false,
      outcome: "exited",
    })
  })

  test("streams each line as it is written, and exactly one exit, at the end", async () => {
    const go = join(world.home, "go")
    const command = `for i in 1 2 3; do echo line $i; while [ ! -e ${go}.$i ]; do sleep 0.02; done; done; exit 4`
    const response = await exec({ command }, { accept: "application/x-ndjson" })
    const events: Event[] = []
    let seen = 0
    for await (const line of lines(response)) {
      const event = JSON.parse(line) as Event
      events.push(event)
      // The command goes on only when its line has been seen: a line that was held back would stop it for ever.
      if (event.type === "stdout") await writeFile(`${go}.${++seen}`, "")
    }
    expect(events.map(({ type }) => type)).toEqual(["started", "stdout", "stdout", "stdout", "exit"])
    expect(events.slice(1, 4).map(({ text }) => text)).toEqual(["line 1\n", "line 2\n", "line 3\n"])
    expect(events.at(-1)).toMatchObject({ exitCode: 4, outcome: "exited" })
  })

  test("streams as server-sent events too", async () => {
    const response = await exec({ argv: ["echo", "hello"] }, { accept: "text/event-stream" })
    expect(response.headers.get("content-type")).toContain("text/event-stream")
    const text = await response.text()
    expect(text).toContain('id: 6\nevent: stdout\ndata: {"type":"stdout","offset":0,"text":"hello\\n"}\n\n')
    expect(text.match(/event: exit\n/g)).toHaveLength(1)
  })

  test("a command that cannot be started is an error with its code", async () => {
    const response = await exec({ argv: ["no-such-command"] })
    expect(response.status).toBe(422)
    expect(await response.json()).toMatchObject({ error: { code: "command-not-found", retryable: false } })
  })

  test("the secret is asked for, and never taken from the URL", async () => {
    const url = new URL("/v1/agents/box/exec", world.url)
    const body = JSON.stringify({ argv: ["true"] })
    expect((await fetch(url, { method: "POST", body })).status).toBe(401)
    url.searchParams.set("secret", world.secret)
    url.searchParams.set("token", world.secret)
    expect((await fetch(url, { method: "POST", body })).status).toBe(401)
  })
})
