/**
 * `POST /v1/agents/NAME/exec`: one command, as JSON when it has ended, live as NDJSON or server-sent events, or left running. The
 * Worker is a client like any other; the reader of a live answer is what grants the command room for more output.
 */
import type { ExecResult, Process } from "@trunkline/client"
import { TunnelError } from "@trunkline/protocol"
import { json } from "../answer.ts"
import { gatewayPrincipal, requireGateway } from "../auth.ts"
import { readJsonObject } from "../request-body.ts"
import { type Call, type Route, requireName } from "../route.ts"
import { preferredForm } from "./answer-form.ts"
import { CollectedOutput } from "./collected-output.ts"
import { agentFor } from "./dial-agent.ts"
import { parseExecRequest } from "./exec-request.ts"
import { liveAnswer } from "./live-answer.ts"
import { outcomeUnknown } from "./outcome-unknown.ts"
import { startRun } from "./run.ts"
import { shownExit } from "./shown-exit.ts"

/** Bytes of a request: an argv of the largest size there is, and some standard input. More input goes through a link. */
const execBodyBytesMax = 1_048_576
/**
 * Bytes of output in a JSON answer; more is dropped and `truncated` says so. Control characters take six bytes each in
 * JSON, and a Worker has 128 MB for all its requests.
 */
const jsonOutputBytesMax = 2_097_152

export const execRoutes: readonly Route[] = [{ path: "/v1/agents/:name/exec", methods: { POST: exec } }]

/**
 * A caller that leaves ends the command, as far as the runtime notices: workerd itself does on a reset, not on a mere end of input. One
 * that has named its run, or detached it, ends nothing.
 */
async function exec(call: Call): Promise<Response> {
  const { request, env, secrets, url, params, ctx } = call
  const name = requireName(params.name)
  await requireGateway(request, secrets)
  const asked = parseExecRequest(await readJsonObject(request, execBodyBytesMax))
  const form = preferredForm(request.headers.get("accept"))
  const shownError = (error: TunnelError) => outcomeUnknown(error, asked.options.idempotencyKey !== undefined)
  try {
    const { process, leave } = await startRun(agentFor({ env, ctx }, name, gatewayPrincipal, url), asked, call)
    const started = { processId: process.id, pid: process.pid }
    if (asked.detach) {
      leave()
      return json(started, 202)
    }
    if (form !== "application/json") return liveAnswer({ process, leave, shownError, opening: { type: "started", ...started } }, form, ctx)
    return json(await collect(process).finally(leave))
  } catch (error) {
    throw error instanceof TunnelError ? shownError(error) : error
  }
}

/** Reads to the end, and keeps what the bound allows. */
async function collect(process: Process): Promise<ExecResult> {
  const output = new CollectedOutput(0, jsonOutputBytesMax)
  for await (const event of process.output()) output.add(event)
  const { stdout, stderr, gaps, droppedBytes, exit } = output
  if (exit === undefined) throw new TunnelError("internal", "the output ended without an exit", { delivered: "yes" })
  const truncated = droppedBytes > 0 || gaps.length > 0
  return { ...shownExit(exit), stdout: stdout.text(), stderr: stderr.text(), truncated }
}
