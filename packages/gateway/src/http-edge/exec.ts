/**
 * `POST /v1/agents/NAME/exec`: one command, as JSON when it has ended, or live as NDJSON or server-sent events. The
 * Worker is a client like any other; the reader of a live answer is what grants the command room for more output.
 */
import type { Agent } from "@trunkline/client"
import { TunnelError } from "@trunkline/protocol"
import { json } from "../answer.ts"
import { gatewayPrincipal, requireGateway } from "../auth.ts"
import { readJsonObject } from "../request-body.ts"
import { type Call, type Route, requireName } from "../route.ts"
import { preferredForm } from "./answer-form.ts"
import { agentFor } from "./dial-agent.ts"
import { type ExecRequest, parseExecRequest } from "./exec-request.ts"
import { liveAnswer } from "./live-answer.ts"
import { outcomeUnknown } from "./outcome-unknown.ts"

/** Bytes of a request: an argv of the largest size there is, and some standard input. More input goes through a link. */
const execBodyBytesMax = 1_048_576
/**
 * Bytes of output in a JSON answer; more is dropped and `truncated` says so. Control characters take six bytes each in
 * JSON, and a Worker has 128 MB for all its requests.
 */
const jsonOutputBytesMax = 2_097_152

export const execRoutes: readonly Route[] = [{ path: "/v1/agents/:name/exec", methods: { POST: exec } }]

async function exec(call: Call): Promise<Response> {
  const { request, env, secrets, url, params } = call
  const name = requireName(params.name)
  await requireGateway(request, secrets)
  const run = parseExecRequest(await readJsonObject(request, execBodyBytesMax))
  const agent = agentFor(env, name, gatewayPrincipal, url)
  const form = preferredForm(request.headers.get("accept"))
  return form === "application/json" ? collected(agent, run, request.signal) : liveAnswer(agent, run, form, call)
}

/** A caller that leaves ends the command, as far as the runtime notices: workerd itself does on a reset, not on a mere end of input. */
async function collected(agent: Agent, run: ExecRequest, signal: AbortSignal): Promise<Response> {
  try {
    const stdin = run.stdin === undefined ? {} : { stdin: run.stdin }
    return json(await agent.exec(run.command, { ...run.options, ...stdin, signal, outputBytesMax: jsonOutputBytesMax }))
  } catch (error) {
    throw error instanceof TunnelError ? outcomeUnknown(error) : error
  } finally {
    agent.close()
  }
}
