/** Whatever a client opens is asked for at the policy first. */

import { systemClock } from "@trunkline/client/runtime"
import { type Principal, silentLogger, TunnelError } from "@trunkline/protocol"
import { AgentEnd, ClientEnd } from "@trunkline/protocol/testing"
import { describe, expect, test } from "vitest"
import { dispatch } from "../../src/agent/dispatch.ts"
import { startExec } from "../../src/processes/exec-process.ts"
import { ProcessTable } from "../../src/processes/process-table.ts"
import { startPty } from "../../src/processes/pty-process.ts"
import { RunLedger } from "../../src/processes/run-ledger.ts"
import { Screen } from "../../src/screen/screen.ts"
import { connected } from "./memory-line.ts"

/** Opens a stream as the principal and resolves with why it was not granted, or its answer. */
function ask(kind: string, body: unknown, principal: Principal, draining = false): Promise<unknown> {
  const epochMs = () => Date.now()
  const processes = new ProcessTable({
    clock: systemClock,
    epochMs,
    logger: silentLogger,
    spawn: ({ kind, open }, events) => (kind === "exec" ? startExec(open, events) : startPty(open, events)),
    screen: (size) => new Screen(size),
    ledger: new RunLedger({ epochMs }),
  })
  const context = { logger: silentLogger, processes, draining: () => draining }
  const agent = new AgentEnd(() => ({
    link: { clock: systemClock },
    offered: (stream, asked) => dispatch(stream, asked, principal, context),
  }))
  const client = new ClientEnd({ link: { clock: systemClock } })
  connected(client, agent)
  return new Promise((resolve) => {
    const stream = client.mux.open(kind, body, {
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

  test.each(["ftp", "toString", "__proto__"])("of the kind %s is refused with unsupported-kind", async (kind) => {
    expect(await ask(kind, {}, { id: "me", scopes: ["admin"] })).toMatchObject({ code: "unsupported-kind" })
  })

  test("is refused with agent-stopped by an agent that is about to stop", async () => {
    expect(await ask("exec", run, { id: "me", scopes: ["admin"] }, true)).toMatchObject({ code: "agent-stopped", delivered: "no" })
  })
})
