/** A stream asked for: checked against the policy, then handed to the service of its kind. */
import {
  assertNever,
  checkBody,
  httpTargetSchema,
  InvalidBody,
  isKind,
  type Kind,
  kinds,
  type Logger,
  type MuxStream,
  type Principal,
  TunnelError,
  tcpOpenSchema,
} from "@trunkline/protocol"
import * as v from "valibot"
import type { ProcessTable } from "../processes/process-table.ts"
import { attach } from "../services/attach.ts"
import type { HttpServices } from "../services/http.ts"
import type { Listeners } from "../services/listeners.ts"
import { answerProcesses } from "../services/processes.ts"
import { startProcess } from "../services/start-process.ts"
import { serveTcp } from "../services/tcp.ts"
import { serveWebSocket } from "../services/websocket.ts"
import type { OwnerPolicy } from "../targets/owner-policy.ts"
import { isNarrowed, refusal, targetRefusal } from "./policy.ts"

export interface DispatchContext {
  readonly logger: Logger
  readonly processes: ProcessTable
  readonly listeners: Listeners
  readonly http: HttpServices
  /** The owner's, as it is now. */
  readonly policy: () => OwnerPolicy
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
    const refused = reasonOf(error, kind, principal, context.logger)
    // A service may have failed behind its answer; nobody else would end the stream then.
    if (stream.phase === "offered") stream.reject(refused)
    else stream.reset(refused)
  })
}

/** What the client is told; the log has the rest. */
function reasonOf(error: unknown, kind: Kind, principal: Principal, logger: Logger): TunnelError {
  if (error instanceof TunnelError) {
    if (error.code === "denied") logger.warn("stream.denied", { principal: principal.id, kind, reason: error.message })
    return error
  }
  if (error instanceof InvalidBody) return new TunnelError("bad-request", `${kind}: ${error.message}`)
  logger.error("stream.failed", { kind, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  return new TunnelError("internal", "the agent failed on this request; its log says why")
}

/** What requests and WebSockets have in common. */
const httpTargeted = v.object({ target: httpTargetSchema })

/** Rejects with TunnelError or InvalidBody for what cannot be served. */
async function serve(kind: Kind, stream: MuxStream, body: unknown, principal: Principal, context: DispatchContext): Promise<void> {
  const { processes, listeners, http, policy } = context
  if (isNarrowed(principal, kind)) {
    const { target } = checkBody(kind === "tcp" ? tcpOpenSchema : httpTargeted, body)
    const denied = targetRefusal(principal, kind, target)
    if (denied !== undefined) throw denied
  }
  switch (kind) {
    case "exec":
    case "pty":
      return startProcess(stream, kind, body, principal, processes)
    case "attach":
      return attach(stream, body, principal, processes)
    case "processes":
      return answerProcesses(stream, body, principal, processes)
    case "tcp":
      return serveTcp(stream, body, policy())
    case "listen":
      return listeners.listen(stream, body, principal, policy())
    case "accept":
      return listeners.accept(stream, body, principal)
    case "http":
      return http.serve(stream, body, policy())
    case "websocket":
      return serveWebSocket(stream, body, policy())
    default:
      return assertNever(kind)
  }
}
