/** The kind `attach` at the agent: one more client of a process. */
import { attachOpenSchema, checkBody, type MuxStream, type Principal } from "@trunkline/protocol"
import type { ProcessTable } from "../processes/process-table.ts"
import { requireAccess } from "./process-access.ts"

/** Throws TunnelError or InvalidBody for what cannot be attached to. */
export function attach(stream: MuxStream, body: unknown, principal: Principal, table: ProcessTable): void {
  const { processId, from, readOnly, follow, size } = checkBody(attachOpenSchema, body)
  const process = requireAccess(principal, table.get(processId))
  process.attach(stream, from, { readOnly, follow, ...(size === undefined ? {} : { size }) })
}
