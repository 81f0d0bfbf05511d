/** The routes of an agent's processes: which are there, what is known of one, and signals to it. */
import { signalNames, TunnelError } from "@trunkline/protocol"
import { describe, expect, test, vi } from "vitest"
import { agentKey } from "../src/auth.ts"
import { Machine, type Question } from "./machine.ts"
import { bearer, call, freshName, gatewaySecret, objectOf, refusal } from "./peers.ts"

const description = {
  id: "process-1",
  kind: "exec",
  argv: ["sleep", "60"],
  pid: 4711,
  state: "ended",
  detached: true,
  startedAt: 1_700_000_000_000,
  endedAt: 1_700_000_000_005,
  exit: { type: "signal", signal: "SIGTERM" },
  durationMs: 5,
  output: { from: 3, to: 70 },
  attached: 0,
}

/** What was asked of the agent, and the answer to the caller. */
async function asked(path: string, answer: (question: Question) => void, init: RequestInit = {}) {
  const machine = await Machine.start(freshName())
  const response = call(`/v1/agents/${machine.name}/processes${path}`, { headers: bearer, ...init })
  const question = await machine.nextQuestion()
  answer(question)
  return { open: question.open, response: await response, name: machine.name }
}

const kill = (path: string, body: unknown) => [path, { method: "POST", headers: bearer, body: JSON.stringify(body) }] as const

describe("GET /v1/agents/NAME/processes", () => {
  test("lists what the agent knows, as it is", async () => {
    const { open, response } = await asked("", (question) => question.answer({ processes: [description] }))
    expect(open).toEqual({ type: "list" })
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({ processes: [description] })
  })

  test("asks for the run of one idempotency key", async () => {
    const { open, response } = await asked("?idempotencyKey=job%2F7", (question) => question.answer({ processes: [] }))
    expect(open).toEqual({ type: "list", idempotencyKey: "job/7" })
    expect(await response.json()).toEqual({ processes: [] })
  })

  test.each(["", "k".repeat(257)])("refuses a key of no or too many characters (%s)", async (key) => {
    const { name } = await Machine.start(freshName())
    const response = await call(`/v1/agents/${name}/processes?idempotencyKey=${key}`, { headers: bearer })
    expect(await refusal(response)).toMatchObject({ status: 400, code: "bad-request" })
  })

  test("leaves no client behind", async () => {
    const { name } = await asked("", (question) => question.answer({ processes: [] }))
    await vi.waitFor(async () => expect(await objectOf(name).presence()).toMatchObject({ clients: 0 }))
  })
})

describe("GET /v1/agents/NAME/processes/ID", () => {
  test("describes one", async () => {
    const { open, response } = await asked("/process-1", (question) => question.answer(description))
    expect(open).toEqual({ type: "get", processId: "process-1" })
    expect(await response.json()).toEqual(description)
  })

  test("that is not kept is the agent's own word of how it ended, and leaves no client behind", async () => {
    const message = "process p ended at 2026-01-01T00:00:00.000Z with exit code 3; it is not kept any more"
    const { response, name } = await asked("/p", ({ stream }) => stream.reject(new TunnelError("not-found", message)))
    expect(await refusal(response)).toEqual({ status: 404, code: "not-found", message, retryable: false })
    await vi.waitFor(async () => expect(await objectOf(name).presence()).toMatchObject({ clients: 0 }))
  })
})

describe("POST /v1/agents/NAME/processes/ID/kill", () => {
  test.each([
    [{}, "SIGTERM"],
    [{ signal: "SIGKILL" }, "SIGKILL"],
    [{ signal: "HUP" }, "SIGHUP"],
  ])("with %j sends %s, and answers what is known of the process then", async (body, signal) => {
    const [path, init] = kill("/process-1/kill", body)
    const { open, response } = await asked(path, (question) => question.answer(description), init)
    expect(open).toEqual({ type: "kill", processId: "process-1", signal })
    expect(await response.json()).toEqual(description)
  })

  test.each([{ signal: "SIGNONSENSE" }, { signal: "sigterm" }, { signal: 9 }, { signal: null }, { signal: "" }, { signal: ["SIGTERM"] }])(
    "refuses %j and names the signals there are",
    async (body) => {
      const { name } = await Machine.start(freshName())
      const refused = await refusal(await call(...under(name, kill("/process-1/kill", body))))
      expect(refused).toMatchObject({ status: 400, code: "bad-request" })
      for (const known of signalNames) expect(refused.message).toContain(known)
    },
  )

  test.each([{ sig: "SIGKILL" }, ["SIGKILL"], "SIGKILL"])("refuses the body %j: a default could be the wrong signal", async (body) => {
    const { name } = await Machine.start(freshName())
    expect(await refusal(await call(...under(name, kill("/process-1/kill", body))))).toMatchObject({ status: 400, code: "bad-request" })
  })
})

const under = (name: string, [path, init]: readonly [string, RequestInit]) => [`/v1/agents/${name}/processes${path}`, init] as const

describe("every route of processes", () => {
  const paths = ["", "/process-1", "/process-1/kill", "/process-1/output"]
  const methodOf = (path: string) => (path.endsWith("/kill") ? "POST" : "GET")

  test("needs the gateway's secret: none, a wrong one and the agent's own key are refused, and the name before", async () => {
    const name = freshName()
    for (const path of paths) {
      const method = methodOf(path)
      for (const authorization of ["", "Bearer wrong", `Bearer ${await agentKey(gatewaySecret, name)}`]) {
        const headers: Record<string, string> = authorization === "" ? {} : { authorization }
        const response = await call(`/v1/agents/${name}/processes${path}`, { method, headers })
        expect(await refusal(response)).toMatchObject({ status: 401, code: "unauthorised" })
      }
      expect(await refusal(await call(`/v1/agents/-bad-/processes${path}`, { method }))).toMatchObject({ status: 400, code: "bad-name" })
    }
  })

  test("says that the agent is unknown", async () => {
    for (const path of paths) {
      const response = await call(`/v1/agents/${freshName()}/processes${path}`, { method: methodOf(path), headers: bearer })
      expect(await refusal(response)).toMatchObject({ status: 404, code: "agent-unknown" })
    }
  })

  test("names its method to others, and lets pages call it", async () => {
    for (const path of paths) {
      const response = await call(`/v1/agents/a/processes${path}`, { method: "DELETE", headers: bearer })
      expect(response.headers.get("allow")).toBe(methodOf(path))
      expect(response.headers.get("access-control-allow-origin")).toBe("*")
      expect(await refusal(response)).toMatchObject({ status: 405, code: "method-not-allowed" })
      const preflight = await call(`/v1/agents/a/processes${path}`, { method: "OPTIONS" })
      expect(preflight.status).toBe(204)
      expect(preflight.headers.get("access-control-allow-methods")).toBe(methodOf(path))
    }
  })

  test("refuses what is no process id", async () => {
    const { name } = await Machine.start(freshName())
    for (const path of ["/a%20b", `/${"x".repeat(65)}`, "/a%20b/kill", "/a%20b/output"]) {
      const response = await call(`/v1/agents/${name}/processes${path}`, { method: methodOf(path), headers: bearer })
      expect(await refusal(response)).toMatchObject({ status: 400, code: "bad-request" })
    }
  })
})
