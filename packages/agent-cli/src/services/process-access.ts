/** Whose processes a principal may see and touch: its own of the kinds it may start, and with the scope `admin` everybody's. */
import { type Principal, TunnelError } from "@trunkline/protocol"
import type { TrackedProcess } from "../processes/tracked-process.ts"

const isAdmin = ({ scopes }: Principal): boolean => scopes.includes("admin")

/** Whether it is in the principal's lists. */
export const maySee = (principal: Principal, process: TrackedProcess): boolean => isAdmin(principal) || process.principalId === principal.id

/** Throws `denied` unless it is. */
export function requireSight(principal: Principal, process: TrackedProcess): TrackedProcess {
  if (maySee(principal, process)) return process
  throw new TunnelError("denied", `process ${process.id} was started by somebody else; "${principal.id}" needs the scope admin for it`)
}

/** Throws `denied` unless it may be attached to and signalled. */
export function requireAccess(principal: Principal, process: TrackedProcess): TrackedProcess {
  requireSight(principal, process)
  if (isAdmin(principal) || principal.scopes.includes(process.kind)) return process
  throw new TunnelError("denied", `process ${process.id} is of the kind ${process.kind}, which "${principal.id}" has no scope for`)
}
