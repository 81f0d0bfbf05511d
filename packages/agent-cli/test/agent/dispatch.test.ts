/** Whatever a client opens is asked for at the policy first. */

import { once } from "node:events"
import { createServer } from "node:net"
import { systemClock } from "@trunkline/client/runtime"
import { type MuxStream, type Principal, silentLogger, TunnelError } from "@trunkline/protocol"
import { AgentEnd, ClientEnd } from "@trunkline/protocol/testing"
import { describe, expect, onTestFinished, test } from "vitest"
import { type DispatchContext, dispatch } from "../../src/agent/dispatch.ts"
import { startExec } from "../../src/processes/exec-process.ts"
import { ProcessTable } from "../../src/processes/process-table.ts"
import { startPty } from "../../src/processes/pty-process.ts"
import { RunLedger } from "../../src/processes/run-ledger.ts"
import { Screen } from "../../src/screen/screen.ts"
import { HttpServices } from "../../src/services/http.ts"
import { Listeners } from "../../src/services/listeners.ts"
import { OwnerPolicy } from "../../src/targets/owner-policy.ts"
import { connected } from "./memory-line.ts"

/** A client whose streams are dispatched for the principal. */
function clientOf(principal: Principal, own: Partial<DispatchContext> = {}): ClientEnd {
  const epochMs = () => Date.now()
  const processes = new ProcessTable({
    clock: systemClock,
    epochMs,
    logger: silentLogger,
    spawn: ({ kind, open }, events) => (kind === "exec" ? startExec(open, events) : startPty(open, events)),
    screen: (size) => new Screen(size),
    ledger: new RunLedger({ epochMs }),
  })
  const context = {
    logger: silentLogger,
    processes,
    listeners: new Listeners(silentLogger),
    http: new HttpServices(),
    policy: () => new OwnerPolicy(),
    draining: () => false,
    ...own,
  }
  const agent = new AgentEnd(() => ({
    link: { clock: systemClock },
    offered: (stream, asked) => dispatch(stream, asked, principal, context),
  }))
  const client = new ClientEnd({ link: { clock: systemClock } })
  connected(client, agent)
  return client
}

/** Opens a stream as the principal and resolves with why it was not granted, or its answer. */
function ask(kind: string, body: unknown, principal: Principal, own: Partial<DispatchContext> = {}): Promise<unknown> {
  return new Promise((resolve) => {
    const stream = clientOf(principal, own).mux.open(kind, body, {
      accepted: () => {
        resolve("granted")
        stream.reset(new TunnelError("aborted", "enough"))
      },
      data() {},
      closed: resolve,
    })
  })
}

const run = { argv: ["true"] }
const show = { argv: ["true"], cols: 80, rows: 24 }

describe("a stream", () => {
  test.each([
    ["exec", run, ["admin"]],
    ["exec", run, ["exec"]],
    ["pty", show, ["exec", "pty"]],
    ["processes", { type: "list" }, ["read"]],
    ["processes", { type: "list" }, ["exec"]],
  ])("of %s with %j is granted to the scopes %j", async (kind, body, scopes) => {
    expect(await ask(kind, body, { id: "me", scopes })).toBe("granted")
  })

  test.each([
    ["exec", ["pty"]],
    ["pty", ["exec"]],
    ["exec", []],
    ["exec", ["EXEC", "exec ", "*"]],
    ["attach", ["read"]],
    ["processes", ["http"]],
  ])("of %s is denied to the scopes %j", async (kind, scopes) => {
    expect(await ask(kind, kind === "pty" ? show : run, { id: "me", scopes })).toMatchObject({ code: "denied", delivered: "no" })
  })

  test.each([
    ["tcp", { target: { host: "localhost", port: 22 } }, ["tcp:5432"]],
    ["http", { target: { service: 8080 } }, ["http:3000"]],
    ["websocket", { target: { host: "localhost", port: 8080 } }, ["http:3000"]],
    ["listen", { address: { host: "localhost", port: 0 } }, ["tcp:*:*"]],
  ])("of %s to %j is denied to the narrowed scopes %j", async (kind, body, scopes) => {
    expect(await ask(kind, body, { id: "me", scopes })).toMatchObject({ code: "denied", delivered: "no" })
  })

  test("is granted to a scope that is narrowed to its target", async () => {
    // The stream is reset once it is granted, and so is its connection.
    const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1")
    onTestFinished(() => void server.close())
    await once(server, "listening")
    const address = server.address()
    const port = address === null || typeof address === "string" ? 0 : address.port
    expect(await ask("tcp", { target: { host: "127.0.0.1", port } }, { id: "me", scopes: [`tcp:${port}`] })).toBe("granted")
  })

  test("whose target cannot be read is a bad-request to a narrowed scope", async () => {
    expect(await ask("tcp", { target: 5432 }, { id: "me", scopes: ["tcp:5432"] })).toMatchObject({ code: "bad-request" })
  })

  test.each(["ftp", "toString", "__proto__"])("of the kind %s is refused with unsupported-kind", async (kind) => {
    expect(await ask(kind, {}, { id: "me", scopes: ["admin"] })).toMatchObject({ code: "unsupported-kind" })
  })

  test("is refused with agent-stopped by an agent that is about to stop", async () => {
    expect(await ask("exec", run, { id: "me", scopes: ["admin"] }, { draining: () => true })).toMatchObject({
      code: "agent-stopped",
      delivered: "no",
    })
  })

  test("whose service fails behind its answer is reset, and the client does not learn with what", async () => {
    class BrokenListeners extends Listeners {
      override async listen(stream: MuxStream): Promise<void> {
        stream.accept({}, { data() {}, closed() {} })
        throw new Error("secret")
      }
    }
    const client = clientOf({ id: "me", scopes: ["tcp"] }, { listeners: new BrokenListeners(silentLogger) })
    const told: unknown[] = []
    await new Promise<void>((resolve) => {
      client.mux.open(
        "listen",
        {},
        {
          accepted: (answer) => told.push(answer),
          data() {},
          closed: (error) => {
            told.push(error)
            resolve()
          },
        },
      )
    })
    expect(told).toMatchObject([{}, { code: "internal", delivered: "yes", message: expect.not.stringContaining("secret") }])
  })
})
