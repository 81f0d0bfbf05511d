/** The kind `processes` at the agent: one question, answered with one JSON document. */
import {
  assertNever,
  checkBody,
  type MuxStream,
  type Principal,
  type ProcessesOpen,
  processesOpenSchema,
  type StreamEvents,
} from "@trunkline/protocol"
import type { ProcessTable } from "../processes/process-table.ts"
import type { TrackedProcess } from "../processes/tracked-process.ts"
import { maySee, requireAccess, requireSight } from "./process-access.ts"

/** Throws TunnelError or InvalidBody for what cannot be answered. */
export function answerProcesses(stream: MuxStream, body: unknown, principal: Principal, table: ProcessTable): void {
  const parts = answerTo(checkBody(processesOpenSchema, body), principal, table)
  const encoder = new TextEncoder()
  // Made as it is taken: a list has some MiB, and a client that does not read may ask again and again.
  const pump = (): void => {
    while (stream.writableBytes > 0) {
      const part = parts.next()
      if (part.done === true) return stream.finish()
      stream.write(0, encoder.encode(part.value))
    }
  }
  const events: StreamEvents = { data: (_tag, _bytes, cost) => stream.consumed(cost), writable: pump, closed: () => {} }
  if (stream.accept({}, events)) pump()
}

/** The parts of the document. What is wrong with the question is thrown at once. */
function answerTo(open: ProcessesOpen, principal: Principal, table: ProcessTable): Generator<string, void> {
  switch (open.type) {
    case "list":
      return listText(listed(open.idempotencyKey, principal, table))
    case "get":
      return descriptionText(requireSight(principal, table.get(open.processId)))
    case "kill": {
      const process = requireAccess(principal, table.get(open.processId))
      process.signal(open.signal)
      return descriptionText(process)
    }
    default:
      return assertNever(open)
  }
}

function* listText(processes: readonly TrackedProcess[]): Generator<string, void> {
  yield '{"processes":['
  for (const [index, process] of processes.entries()) yield `${index === 0 ? "" : ","}${JSON.stringify(process.describe())}`
  yield "]}"
}

function* descriptionText(process: TrackedProcess): Generator<string, void> {
  yield JSON.stringify(process.describe())
}

function listed(key: string | undefined, principal: Principal, table: ProcessTable): TrackedProcess[] {
  if (key === undefined) return table.list().filter((process) => maySee(principal, process))
  const process = table.byKey(principal.id, key)
  return process === undefined ? [] : [process]
}
