/**
 * A command's output as it comes, an event a line or an event of a server-sent stream. The command gets room for more
 * output only when the reader has taken what there is, and ends when the reader leaves.
 */
import type { Agent, OutputEvent, Process } from "@trunkline/client"
import { TunnelError } from "@trunkline/protocol"
import type { Call } from "../route.ts"
import type { AnswerForm } from "./answer-form.ts"
import type { ExecRequest } from "./exec-request.ts"
import { outcomeUnknown } from "./outcome-unknown.ts"
import { TextOrBytes } from "./text-or-bytes.ts"

/**
 * Milliseconds between signs of life while a command is silent. workerd notices a reader that has left only when it writes,
 * and what lies between us and the reader drops a silent connection, some after 30 s.
 */
const signOfLifeMs = 15_000

type LiveForm = Exclude<AnswerForm, "application/json">
type LiveEvent = Readonly<Record<string, unknown>> & { readonly type: string }

interface Format {
  readonly encode: (event: LiveEvent) => string
  /** Text that means nothing to a reader of this form: a space in front of the next line, a comment. */
  readonly signOfLife: string
}

const formats: Readonly<Record<LiveForm, Format>> = {
  "application/x-ndjson": { encode: (event) => `${JSON.stringify(event)}\n`, signOfLife: " " },
  "text/event-stream": { encode: (event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`, signOfLife: ":\n\n" },
}

const encoder = new TextEncoder()

/** Answers when the command runs; what keeps it from starting is thrown. Closes the agent in the end. */
export async function liveAnswer(agent: Agent, run: ExecRequest, form: LiveForm, { request, ctx }: Call): Promise<Response> {
  let process: Process
  try {
    process = await agent.spawn(run.command, {
      ...run.options,
      stdin: run.stdin === undefined ? "none" : "pipe",
      signal: request.signal,
    })
  } catch (error) {
    agent.close()
    throw error instanceof TunnelError ? outcomeUnknown(error) : error
  }
  if (run.stdin !== undefined) feed(process, run.stdin)
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const writer = writable.getWriter()
  // A silent command's reader leaves without a write that could fail; the request's own signal does not always tell.
  writer.closed.catch(() => agent.close())
  ctx.waitUntil(pump(process, writer, formats[form]).finally(() => agent.close()))
  return new Response(readable, {
    headers: { "content-type": `${form}; charset=utf-8`, "cache-control": "no-store", "x-accel-buffering": "no" },
  })
}

/** Nothing waits for it: all of it is in memory already, and a command that answers before it has read everything needs its output read meanwhile. */
function feed(process: Process, stdin: string): void {
  process.write(encoder.encode(stdin)).catch(() => {})
  process.closeInput()
}

/** Ends, and its caller the command with it, when the command has ended, the reader has left, or the outcome cannot be known. */
async function pump(process: Process, writer: WritableStreamDefaultWriter<Uint8Array>, format: Format): Promise<void> {
  const write = (event: LiveEvent) => writer.write(encoder.encode(format.encode(event)))
  const signsOfLife = setInterval(() => {
    if ((writer.desiredSize ?? 0) > 0) writer.write(encoder.encode(format.signOfLife)).catch(() => {})
  }, signOfLifeMs)
  try {
    await write({ type: "started", processId: process.id, pid: process.pid })
    const texts = { stdout: new TextOrBytes(), stderr: new TextOrBytes() }
    for await (const event of process.output()) {
      for (const line of encodeEvent(event, texts)) await write(line)
    }
    await writer.close()
  } catch (cause) {
    // A reader that has left is no fault, and sees nothing of this.
    if (writer.desiredSize !== null && !(cause instanceof TunnelError)) console.error("exec.failed", { error: String(cause) })
    await write({ type: "error", error: shownError(cause) }).catch(() => {})
    await writer.close().catch(() => {})
  } finally {
    clearInterval(signsOfLife)
  }
}

function shownError(cause: unknown): Pick<TunnelError, "code" | "message" | "retryable" | "delivered"> {
  const error = cause instanceof TunnelError ? cause : new TunnelError("internal", "the gateway failed", { delivered: "yes", cause })
  const { code, message, retryable, delivered } = outcomeUnknown(error)
  return { code, message, retryable, delivered }
}

function* encodeEvent(event: OutputEvent, texts: Readonly<Record<"stdout" | "stderr", TextOrBytes>>): Generator<LiveEvent> {
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
