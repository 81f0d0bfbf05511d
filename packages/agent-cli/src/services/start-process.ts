/** The kinds `exec` and `pty` at the agent: start a process, and bind the stream to it. */
import { assertNever, checkBody, execOpenSchema, type MuxStream, type Principal, ptyOpenSchema, TunnelError } from "@trunkline/protocol"
import type { Size } from "../processes/attachment.ts"
import type { ProcessRequest } from "../processes/process-request.ts"
import type { ProcessTable } from "../processes/process-table.ts"
import type { Run, RunEnd } from "../processes/run-ledger.ts"

/** Rejects with TunnelError or InvalidBody for what could not be started. */
export async function startProcess(
  stream: MuxStream,
  kind: "exec" | "pty",
  body: unknown,
  principal: Principal,
  table: ProcessTable,
): Promise<void> {
  const request = requestOf(kind, body)
  const started = await table.start(request, principal.id)
  switch (started.type) {
    case "new":
    case "found":
      return started.process.attachStarter(stream, sizeOf(request))
    case "past":
      return tellPast(stream, started.run)
    default:
      return assertNever(started)
  }
}

function sizeOf({ kind, open }: ProcessRequest): Size | undefined {
  return kind === "pty" ? { cols: open.cols, rows: open.rows } : undefined
}

function requestOf(kind: "exec" | "pty", body: unknown): ProcessRequest {
  switch (kind) {
    case "exec":
      return { kind, open: checkBody(execOpenSchema, body) }
    case "pty":
      return { kind, open: checkBody(ptyOpenSchema, body) }
    default:
      return assertNever(kind)
  }
}

/** A run whose output is gone: its end, if that is known. */
function tellPast(stream: MuxStream, { processId, startedAt, end }: Run): void {
  if (end === undefined) {
    const message = `the run that this idempotency key names began at ${new Date(startedAt).toISOString()}, before the agent was restarted; how it ended is not known`
    return stream.reset(new TunnelError("agent-restarted", message, { delivered: "unknown" }))
  }
  tellEnd(stream, processId, end)
}

function tellEnd(stream: MuxStream, processId: string, { pid, outputBytes, exit, durationMs }: RunEnd): void {
  const events = { data: (_tag: number, _bytes: Uint8Array, cost: number) => stream.consumed(cost), closed: () => {} }
  if (!stream.accept({ processId, pid }, events)) return
  if (outputBytes > 0) stream.sendMessage({ type: "truncated", from: 0, to: outputBytes, repaintBytes: 0 })
  stream.finish({ exit, durationMs })
}
