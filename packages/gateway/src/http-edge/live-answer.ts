/**
 * A process's output as it comes, an event a line or an event of a server-sent stream. More output is asked for only when the reader
 * has taken what there is.
 */
import type { Process } from "@trunkline/client"
import { TunnelError } from "@trunkline/protocol"
import type { AnswerForm } from "./answer-form.ts"
import { type LiveEvent, LiveEvents } from "./live-events.ts"

/**
 * Milliseconds between signs of life while a command is silent. workerd notices a reader that has left only when it writes,
 * and what lies between us and the reader drops a silent connection, some after 30 s.
 */
const signOfLifeMs = 15_000

export type LiveForm = Exclude<AnswerForm, "application/json">

interface Format {
  readonly encode: (event: LiveEvent) => string
  /** Text that means nothing to a reader of this form: a space in front of the next line, a comment. */
  readonly signOfLife: string
}

const formats: Readonly<Record<LiveForm, Format>> = {
  "application/x-ndjson": { encode: ({ body }) => `${JSON.stringify(body)}\n`, signOfLife: " " },
  "text/event-stream": { encode: serverSentEvent, signOfLife: ":\n\n" },
}

function serverSentEvent({ body, resumeAt }: LiveEvent): string {
  const id = resumeAt === undefined ? "" : `id: ${resumeAt}\n`
  return `${id}event: ${body.type}\ndata: ${JSON.stringify(body)}\n\n`
}

const encoder = new TextEncoder()

export interface LiveView {
  readonly process: Process
  /** The first event. */
  readonly opening: LiveEvent["body"]
  /** Nobody reads any more, or everything is said. Called once or more. */
  readonly leave: () => void
  /** The last event's error, for what broke the output off. */
  readonly shownError: (error: TunnelError) => TunnelError
}

export function liveAnswer(view: LiveView, form: LiveForm, ctx: ExecutionContext): Response {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const writer = writable.getWriter()
  // The reader of a silent command leaves without a write that could fail; the request's own signal does not always tell.
  writer.closed.catch(() => view.leave())
  ctx.waitUntil(pump(view, writer, formats[form]).finally(() => view.leave()))
  return new Response(readable, {
    headers: { "content-type": `${form}; charset=utf-8`, "cache-control": "no-store", "x-accel-buffering": "no" },
  })
}

/** Ends when the output has ended, the reader has left, or what comes cannot be known. */
async function pump(view: LiveView, writer: WritableStreamDefaultWriter<Uint8Array>, format: Format): Promise<void> {
  const write = (event: LiveEvent) => writer.write(encoder.encode(format.encode(event)))
  const signsOfLife = setInterval(() => {
    if ((writer.desiredSize ?? 0) > 0) writer.write(encoder.encode(format.signOfLife)).catch(() => {})
  }, signOfLifeMs)
  try {
    await write({ body: view.opening })
    const events = new LiveEvents()
    for await (const event of view.process.output()) {
      for (const shown of events.encode(event)) await write(shown)
    }
    for (const shown of events.flush()) await write(shown)
    await writer.close()
  } catch (cause) {
    // A reader that has left is no fault, and sees nothing of this.
    if (writer.desiredSize !== null && !(cause instanceof TunnelError)) console.error("output.failed", { error: String(cause) })
    await write({ body: { type: "error", error: errorBody(cause, view) } }).catch(() => {})
    await writer.close().catch(() => {})
  } finally {
    clearInterval(signsOfLife)
  }
}

function errorBody(cause: unknown, { shownError }: LiveView): Pick<TunnelError, "code" | "message" | "retryable" | "delivered"> {
  const error = cause instanceof TunnelError ? cause : new TunnelError("internal", "the gateway failed", { delivered: "yes", cause })
  const { code, message, retryable, delivered } = shownError(error)
  return { code, message, retryable, delivered }
}
