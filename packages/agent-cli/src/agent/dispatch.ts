/** A stream asked for: checked against the policy, then handed to the service of its kind. */
import {
  assertNever,
  InvalidBody,
  isKind,
  type Kind,
  kinds,
  type Logger,
  type MuxStream,
  type Principal,
  TunnelError,
} from "@trunkline/protocol"
import type { ProcessTable } from "../processes/process-table.ts"
import { attach } from "../services/attach.ts"
import { answerProcesses } from "../services/processes.ts"
import { startProcess } from "../services/start-process.ts"
import { refusal } from "./policy.ts"

export interface DispatchContext {
  readonly logger: Logger
  readonly processes: ProcessTable
  /** Set when the agent is about to stop: what is open may finish, nothing starts. */
  readonly draining: () => boolean
}

/** Rejects the stream or serves it to its end. Never throws. */
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
  serve(kind, stream, body, principal, context).catch((error: unknown) => {
    if (error instanceof TunnelError) return stream.reject(error)
    if (error instanceof InvalidBody) return stream.reject(new TunnelError("bad-request", `${kind}: ${error.message}`))
    context.logger.error("stream.failed", { kind, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
    stream.reject(new TunnelError("internal", "the agent failed on this request; its log says why"))
  })
}

/** Rejects with TunnelError or InvalidBody for what cannot be served. */
async function serve(kind: Kind, stream: MuxStream, body: unknown, principal: Principal, { processes }: DispatchContext): Promise<void> {
  switch (kind) {
    case "exec":
    case "pty":
      return startProcess(stream, kind, body, principal, processes)
    case "attach":
      return attach(stream, body, principal, processes)
    case "processes":
      return answerProcesses(stream, body, principal, processes)
    default:
      return assertNever(kind)
  }
}
