/** A service's answer as the client gets it: status, headers and body as they are, each piece of the body when the one before has been taken. */
import type { HttpAnswer } from "@trunkline/client"
import { TunnelError } from "@trunkline/protocol"
import { setsSession } from "./browser-session.ts"
import { textOfBytes } from "./field-value.ts"
import { errorHeader } from "./service-failure.ts"

export interface AnswerContext {
  readonly method: string
  readonly ctx: Pick<ExecutionContext, "waitUntil">
  /** Resolves when the client sends no more of the request's body. */
  readonly uploaded?: Promise<void>
  /** Nobody reads any more, or everything is said. Called once or more. */
  readonly leave: () => void
}

/** Milliseconds that what has come of an answer has to get to a client before it breaks off: no time for a socket that has room. */
const breakOffMs = 10
/** Milliseconds after which an answer that is given out whole is on its way. What is done before that delays it: the end of a link takes as long as its beginning. */
const givenOutMs = 1
/** The runtime sends no body with these. */
const bodiless: readonly number[] = [204, 205, 304]

/** Throws `service-failed` for a status that the platform cannot send. Otherwise `leave` is called when the body has ended. */
export function serviceAnswer(answer: HttpAnswer, { method, ctx, leave, uploaded }: AnswerContext): Response {
  const { status } = answer
  if (status < 200 || status > 599)
    throw new TunnelError("service-failed", `the service answers with status ${status}, and the gateway can pass on 200 to 599`, {
      delivered: "yes",
    })
  const init: ResponseInit = {
    status,
    // The runtime throws at the tab that HTTP allows there.
    statusText: textOfBytes(answer.statusText).replaceAll(/\p{Cc}/gu, " "),
    headers: answerHeaders(answer.headers),
    // What the service has encoded stays so.
    encodeBody: "manual",
  }
  const length = lengthOf(answer.headers)
  if (method === "HEAD" || bodiless.includes(status) || length === 0) {
    answer.body.cancel().catch(() => {})
    ctx.waitUntil(scheduler.wait(givenOutMs).then(leave))
    return new Response(null, init)
  }
  const whole = length === undefined || uploaded !== undefined ? undefined : answer.readWhole?.()
  if (whole !== undefined) {
    ctx.waitUntil(scheduler.wait(givenOutMs).then(leave))
    return new Response(whole.length === 1 ? whole[0] : new Blob([...whole]), init)
  }
  // The runtime sends a length only of a stream that has one.
  const { readable, writable } = length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length)
  ctx.waitUntil(pump(answer.body, writable, leave, uploaded))
  return new Response(readable, init)
}

/** Of a service's answer, or of its handshake; `dropped` names, in lower case, what stays behind. */
export function answerHeaders(list: HttpAnswer["headers"], dropped: readonly string[] = []): Headers {
  const headers = new Headers()
  for (const [name, value] of list) {
    const lower = name.toLowerCase()
    if (lower === errorHeader || dropped.includes(lower)) continue
    if (lower === "set-cookie" && setsSession(value)) continue
    headers.append(name, textOfBytes(value))
  }
  return headers
}

function lengthOf(headers: HttpAnswer["headers"]): number | undefined {
  const values = headers.filter(([name]) => name.toLowerCase() === "content-length").map(([, value]) => value)
  const [value = ""] = values
  return values.length === 1 && /^\d{1,15}$/.test(value) ? Number(value) : undefined
}

/** One piece after the other: a write resolves when the client's socket has taken it. */
async function pump(
  body: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  leave: () => void,
  uploaded: Promise<void> | undefined,
): Promise<void> {
  const writer = writable.getWriter()
  const reader = body.getReader()
  // A client may leave while the service is silent, without a write that could fail.
  writer.closed.catch(() => leave())
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      await writer.write(value)
    }
    // At the end of an answer the runtime hangs up on a client that still sends, which then may never read it.
    await uploaded
    await writer.close()
  } catch (error) {
    // One of the two is broken already. A body that breaks off must not look whole.
    reader.cancel(error).catch(() => {})
    // Breaking off takes back what the runtime has not given to the client's socket yet, the head included.
    await scheduler.wait(breakOffMs)
    writer.abort(error).catch(() => {})
  } finally {
    leave()
  }
}
