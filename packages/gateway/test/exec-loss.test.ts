/** What goes wrong around an HTTP command: agents that are lost, readers that stop or leave, and what must not stay behind. */

import { limits, TunnelError } from "@trunkline/protocol"
import { describe, expect, test, vi } from "vitest"
import { Machine } from "./machine.ts"
import { bearer, call, freshName, objectOf, refusal, textOf } from "./peers.ts"

const ndjson = "application/x-ndjson"
const unknownOutcome = expect.stringMatching(/^outcome unknown: .*look before running it again$/)

const exec = (name: string, accept: string, init: RequestInit = {}): Promise<Response> =>
  call(`/v1/agents/${name}/exec`, { method: "POST", headers: { ...bearer, accept }, body: JSON.stringify({ argv: ["x"] }), ...init })

const keyed = (name: string, accept: string, fields: object = {}, init: RequestInit = {}): Promise<Response> =>
  exec(name, accept, { body: JSON.stringify({ argv: ["x"], idempotencyKey: "k", ...fields }), ...init })

const nobodyLeft = (name: string): Promise<void> =>
  vi.waitFor(async () => expect(await objectOf(name).presence()).toMatchObject({ clients: 0 }))

const lastEvent = async (response: Response): Promise<unknown> => JSON.parse((await textOf(response)).trim().split("\n").at(-1) ?? "")

describe("an agent that is lost while the command runs", () => {
  const losses = [
    ["stops", "agent-stopped", async (machine: Machine) => machine.stop()],
    ["comes back as another process", "agent-restarted", (machine: Machine) => machine.restart()],
  ] as const

  test.each(losses)(
    "and %s leaves the outcome unknown: an error in JSON, with a status that invites no retry",
    async (_how, code, lose) => {
      const machine = await Machine.start(freshName())
      const answer = exec(machine.name, "application/json")
      ;(await machine.nextRun()).start().stdout("half of it")
      await machine.roundTrip()
      await lose(machine)
      const response = await answer
      const { error } = (await response.json()) as { error: object }
      expect(response.status).toBe(502)
      expect(error).toMatchObject({ code, message: unknownOutcome, retryable: false, delivered: "yes" })
    },
  )

  test.each(losses)("and %s leaves the outcome unknown: an error as the last of the live events", async (_how, code, lose) => {
    const machine = await Machine.start(freshName())
    const answer = exec(machine.name, ndjson)
    ;(await machine.nextRun()).start().stdout("half of it")
    const response = await answer
    await lose(machine)
    expect(response.status).toBe(200)
    expect(await lastEvent(response)).toEqual({
      type: "error",
      error: { code, message: unknownOutcome, retryable: false, delivered: "yes" },
    })
  })

  test.each(["application/json", ndjson])("and comes back in time goes on where it was (%s)", async (accept) => {
    const machine = await Machine.start(freshName())
    const answer = exec(machine.name, accept)
    const run = (await machine.nextRun()).start().stdout("before, ")
    await machine.roundTrip()
    machine.cut()
    await vi.waitFor(async () => expect(await objectOf(machine.name).presence()).toMatchObject({ status: "offline", clients: 1 }))
    run.stdout("away, ")
    await machine.connect()
    run.stdout("after").exit({ type: "code", code: 7 })
    const text = await textOf(await answer)
    expect(text.match(/before, |away, |after/g)).toEqual(["before, ", "away, ", "after"])
    expect(text).toContain('"exitCode":7')
  })

  test("before it has said that the command runs: the outcome is unknown just the same", async () => {
    const machine = await Machine.start(freshName())
    const answers = [exec(machine.name, "application/json"), exec(machine.name, ndjson)]
    await machine.nextRun()
    await machine.nextRun()
    machine.stop()
    for (const answer of answers) {
      expect(await refusal(await answer)).toMatchObject({ status: 502, code: "agent-stopped", message: unknownOutcome, retryable: false })
    }
  })
})

describe("a command with an idempotency key", () => {
  test.each(["application/json", ndjson])("whose agent is lost may be asked for again: that runs nothing twice (%s)", async (accept) => {
    const machine = await Machine.start(freshName())
    const answer = keyed(machine.name, accept)
    ;(await machine.nextRun()).start().stdout("half of it")
    await machine.roundTrip()
    machine.stop()
    const last = await lastEvent(await answer)
    const message = expect.stringMatching(/^outcome unknown: .*ask again with the same idempotencyKey/)
    expect(last).toMatchObject({ error: { code: "agent-stopped", message, retryable: true, delivered: "yes" } })
  })

  test("whose end nobody knows stays unknown however often it is asked for", async () => {
    const machine = await Machine.start(freshName())
    for (const accept of ["application/json", ndjson]) {
      const answer = keyed(machine.name, accept)
      const { stream } = await machine.nextRun()
      stream.reset(new TunnelError("agent-restarted", "how it ended is not known", { delivered: "unknown" }))
      expect(await refusal(await answer)).toMatchObject({ status: 502, code: "agent-restarted", retryable: false })
    }
  })

  test.each(["application/json", ndjson])("is let go of when its caller leaves (%s)", async (accept) => {
    const machine = await Machine.start(freshName())
    const caller = new AbortController()
    const answer = keyed(machine.name, accept, {}, { signal: caller.signal })
    const run = (await machine.nextRun()).start()
    await machine.roundTrip()
    caller.abort()
    await answer.then((response) => response.body?.cancel()).catch(() => {})
    await run.closed
    await nobodyLeft(machine.name)
  })

  test.each(["application/json", ndjson])(
    "gets the rest of its input when its caller leaves before it has read it (%s)",
    async (accept) => {
      const machine = await Machine.start(freshName())
      const caller = new AbortController()
      const stdin = "0123456789abcdef".repeat(62_500)
      const answer = keyed(machine.name, accept, { stdin }, { signal: caller.signal })
      const run = await machine.nextRun()
      run.reading = false
      run.start()
      await machine.roundTrip()
      caller.abort()
      await answer.then((response) => response.body?.cancel()).catch(() => {})
      await machine.roundTrip()
      run.read()
      expect((await run.input).length).toBe(stdin.length)
      run.exit()
      await nobodyLeft(machine.name)
    },
  )
})

describe("a reader", () => {
  test("that stops gives the command no more room than the window", async () => {
    const machine = await Machine.start(freshName())
    const answer = exec(machine.name, ndjson)
    const run = (await machine.nextRun()).start()
    let written = 0
    const fill = () => {
      for (; run.stream.writableBytes > 0; written += 16_384) run.stdout(new Uint8Array(16_384))
    }
    run.whenWritable = fill
    fill()
    const reader = (await answer).body?.getReader()
    // What one read takes away is not refilled for ever: whatever is granted for it is here after a few round trips.
    await reader?.read()
    await reader?.read()
    const sent = async () => {
      for (let trip = 0; trip < 10; trip++) await machine.roundTrip()
      return written - run.stream.queuedBytes
    }
    const stopped = await sent()
    expect(stopped).toBeGreaterThan(0)
    expect(stopped).toBeLessThanOrEqual(2 * limits.streamWindowBytes)
    expect(await sent()).toBe(stopped)
    await reader?.cancel()
    await run.closed
  })

  test("that leaves ends the command, a silent one too, and its socket", async () => {
    for (const output of ["", "some output"]) {
      const machine = await Machine.start(freshName())
      const answer = exec(machine.name, ndjson)
      const run = (await machine.nextRun()).start()
      const reader = (await answer).body?.getReader()
      await reader?.read()
      run.stdout(output)
      await reader?.cancel()
      expect(await run.closed).toMatchObject({ code: "aborted" })
      await nobodyLeft(machine.name)
    }
  })

  test.each(["application/json", ndjson])("that aborts its request before the command runs takes it back (%s)", async (accept) => {
    const machine = await Machine.start(freshName())
    const caller = new AbortController()
    const answer = exec(machine.name, accept, { signal: caller.signal })
    const { stream } = await machine.nextRun()
    caller.abort()
    await expect(answer).rejects.toThrow()
    await vi.waitFor(() => expect(stream.phase).toBe("closed"))
    await nobodyLeft(machine.name)
  })

  test("that aborts its request while it waits for JSON ends the command", async () => {
    const machine = await Machine.start(freshName())
    const caller = new AbortController()
    const answer = exec(machine.name, "application/json", { signal: caller.signal })
    const run = (await machine.nextRun()).start()
    await machine.roundTrip()
    caller.abort()
    await expect(answer).rejects.toThrow()
    expect(await run.closed).toMatchObject({ code: "aborted" })
    await nobodyLeft(machine.name)
  })
})

test("a hundred requests, of which some fail, leave no client behind", async () => {
  const machine = await Machine.start(freshName())
  let count = 0
  void machine.serve((run) => {
    if (count % 5 === 0) run.stream.reject(new TunnelError("command-not-found", "no such command"))
    else run.start().stdout("out").exit()
  })
  for (; count < 100; count++) {
    const response = await exec(machine.name, count % 2 === 0 ? ndjson : "application/json")
    expect(await textOf(response)).toContain(count % 5 === 0 ? "command-not-found" : "out")
  }
  await nobodyLeft(machine.name)
})

test.each(["application/json", ndjson])("a refused command leaves no client behind (%s)", async (accept) => {
  const machine = await Machine.start(freshName())
  const answer = exec(machine.name, accept)
  const { stream } = await machine.nextRun()
  stream.reject(new TunnelError("cwd-not-found", "no such directory"))
  expect((await answer).status).toBe(422)
  await nobodyLeft(machine.name)
})
