/** A stream asked for: checked against the policy, then handed to the service of its kind. */
import { assertNever, isKind, kinds, type MuxStream, type Principal, TunnelError } from "@trunkline/protocol"
import { type ProcessContext, serveProcess } from "../services/process.ts"
import { refusal } from "./policy.ts"

export interface DispatchContext extends ProcessContext {
  /** Set when the agent is about to stop: what is open may finish, nothing starts. */
  readonly draining: () => boolean
}

export function dispatch(stream: MuxStream, body: unknown, principal: Principal, context: DispatchContext): void {
  const { kind } = stream
  if (context.draining()) return stream.reject(new TunnelError("agent-stopped", "the agent is about to stop"))
  if (!isKind(kind)) {
    return stream.reject(
      new TunnelError("unsupported-kind", `this agent serves ${kinds.join(", ")}, not "${kind}"; is it older than its client?`),
    )
  }
  const denied = refusal(principal, kind)
  if (denied !== undefined) {
    context.logger.warn("stream.denied", { principal: principal.id, kind })
    return stream.reject(denied)
  }
  switch (kind) {
    case "exec":
    case "pty":
      return serveProcess(stream, kind, body, context)
    default:
      return assertNever(kind)
  }
}
