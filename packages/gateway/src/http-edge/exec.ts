/**
 * `POST /v1/agents/NAME/exec`: one command, as JSON when it has ended, or live as NDJSON or server-sent events. The
 * Worker is a client like any other; the reader of a live answer is what grants the command room for more output.
 */
import type { Agent, OutputEvent, Process } from "@trunkline/client"
import { TunnelError } from "@trunkline/protocol"
import { json } from "../answer.ts"
import { gatewayPrincipal, requireGateway } from "../auth.ts"
import { readJsonObject } from "../request-body.ts"
import { type Call, type Route, requireName } from "../route.ts"
import { agentFor } from "./dial-agent.ts"
import { type ExecRequest, parseExecRequest } from "./exec-request.ts"
import { TextOrBytes } from "./text-or-bytes.ts"

/** Bytes of a request: an argv of the largest size there is, and some standard input. More input goes through a link. */
const execBodyBytesMax = 1_048_576
/** Bytes of output in a JSON answer; more is dropped and `truncated` says so. A Worker has 128 MB for all its requests. */
const jsonOutputBytesMax = 8_388_608

type Format = (event: Record<string, unknown> & { readonly type: string }) => string
const formats: Readonly<Record<string, Format>> = {
  "application/x-ndjson": (event) => `${JSON.stringify(event)}\n`,
  "text/event-stream": (event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
}

export const execRoutes: readonly Route[] = [{ path: "/v1/agents/:name/exec", methods: { POST: exec } }]

async function exec(call: Call): Promise<Response> {
  const { request, env, secrets, url } = call
  const name = requireName(call.params.name)
  await requireGateway(request, secrets)
  const run = parseExecRequest(await readJsonObject(request, execBodyBytesMax))
  const agent = agentFor(env, name, gatewayPrincipal, url)
  const type = liveType(request.headers.get("accept"))
  return type === undefined ? collected(agent, run, request.signal) : live(agent, run, type, call)
}

/** The live format the caller asks for, if any. */
function liveType(accept: string | null): string | undefined {
  const wanted = (accept ?? "").split(",").map((part) => part.split(";")[0]?.trim().toLowerCase() ?? "")
  return wanted.find((type) => Object.hasOwn(formats, type))
}

async function collected(agent: Agent, run: ExecRequest, signal: AbortSignal): Promise<Response> {
  try {
    const stdin = run.stdin === undefined ? {} : { stdin: run.stdin }
    return json(await agent.exec(run.command, { ...run.options, ...stdin, signal, outputBytesMax: jsonOutputBytesMax }))
  } finally {
    agent.close()
  }
}

async function live(agent: Agent, run: ExecRequest, type: string, { ctx }: Call): Promise<Response> {
  const format = formats[type]
  if (format === undefined) throw new Error(`no format for ${type}`)
  const left = new AbortController()
  let process: Process
  try {
    process = await agent.spawn(run.command, { ...run.options, stdin: run.stdin === undefined ? "none" : "pipe", signal: left.signal })
  } catch (error) {
    agent.close()
    throw error
  }
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  ctx.waitUntil(pump(process, run.stdin, writable.getWriter(), format, left).finally(() => agent.close()))
  return new Response(readable, {
    headers: { "content-type": `${type}; charset=utf-8`, "cache-control": "no-store", "x-accel-buffering": "no" },
  })
}

async function pump(
  process: Process,
  stdin: string | undefined,
  writer: WritableStreamDefaultWriter<Uint8Array>,
  format: Format,
  left: AbortController,
): Promise<void> {
  const encoder = new TextEncoder()
  const write = (event: Record<string, unknown> & { readonly type: string }) => writer.write(encoder.encode(format(event)))
  try {
    await write({ type: "started", processId: process.id, pid: process.pid })
    if (stdin !== undefined) {
      await process.write(encoder.encode(stdin))
      process.closeInput()
    }
    const texts = { stdout: new TextOrBytes(), stderr: new TextOrBytes() }
    for await (const event of process.output()) {
      for (const line of encodeEvent(event, texts)) await write(line)
    }
    await writer.close()
  } catch (error) {
    // The reader has left, or the outcome cannot be known. Either way the command is not left running for nobody.
    left.abort(error)
    const { code, message, retryable, delivered } =
      error instanceof TunnelError ? error : new TunnelError("aborted", "the reader left", { delivered: "yes" })
    await write({ type: "error", error: { code, message, retryable, delivered } }).catch(() => {})
    await writer.close().catch(() => {})
  }
}

function* encodeEvent(
  event: OutputEvent,
  texts: Record<"stdout" | "stderr", TextOrBytes>,
): Generator<Record<string, unknown> & { readonly type: string }> {
  if (event.type !== "exit") {
    const data = texts[event.type].push(event.bytes)
    if (data !== undefined) yield { type: event.type, ...data }
    return
  }
  for (const type of ["stdout", "stderr"] as const) {
    const data = texts[type].flush()
    if (data !== undefined) yield { type, ...data }
  }
  const { exit, durationMs } = event
  yield {
    type: "exit",
    exitCode: exit.type === "code" ? exit.code : null,
    signal: exit.type === "signal" ? exit.signal : null,
    outcome: outcomes[exit.type],
    durationMs,
  }
}

const outcomes = { code: "exited", signal: "signalled", timeout: "timeout", unknown: "unknown" } as const
