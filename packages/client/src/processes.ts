/** The processes of one agent: those that run, and those that ended a while ago, whoever started them. */
import {
  type AttachFrom,
  attachOpenSchema,
  checkBody,
  InvalidBody,
  type ProcessDescription,
  type ProcessesOpen,
  processDescriptionSchema,
  processesOpenSchema,
  processListSchema,
  type SignalName,
  TunnelError,
} from "@trunkline/protocol"
import { checkRequest } from "./check-request.ts"
import { abortedError } from "./gateway-api.ts"
import type { LinkConnection } from "./link-connection.ts"
import { Process } from "./process.ts"

export interface ListOptions {
  /** Only the run that this key named, if it is kept. */
  readonly idempotencyKey?: string
  readonly signal?: AbortSignal
}

export interface AttachOptions {
  /** An offset, `live` for what comes next, or `screen`, the default: all that is kept, of a terminal what it shows. */
  readonly from?: AttachFrom
  /** See, and change nothing. */
  readonly readOnly?: boolean
  /** `false`: only what has been written by now; the output then ends without an exit while the process runs. */
  readonly follow?: boolean
  /** Leaves the process. */
  readonly signal?: AbortSignal
}

/** Bytes of an answer: the longest listing an agent gives has half of it. */
const answerBytesMax = 16_777_216

export class Processes {
  readonly #connection: LinkConnection

  constructor(connection: LinkConnection) {
    this.#connection = connection
  }

  /** Oldest first. */
  async list(options: ListOptions = {}): Promise<readonly ProcessDescription[]> {
    const { idempotencyKey, signal } = options
    const open = checkRequest(() => checkBody(processesOpenSchema, { type: "list", idempotencyKey }))
    return (await ask(this.#connection, open, (answer) => checkBody(processListSchema, answer), signal)).processes
  }

  /** Rejects with `not-found`, which says how it ended where that is still known. */
  get(id: string, options: { readonly signal?: AbortSignal } = {}): Promise<ProcessDescription> {
    return this.#describe({ type: "get", processId: id }, options.signal)
  }

  /** Sends a signal to the whole process group. A process that has ended is no error; one that is not known is `not-found`. */
  kill(id: string, signal: SignalName = "SIGTERM", options: { readonly signal?: AbortSignal } = {}): Promise<ProcessDescription> {
    return this.#describe({ type: "kill", processId: id, signal }, options.signal)
  }

  /** One more client of it, beside those there are: what it gets is its own affair, and its leaving ends nothing. */
  async attach(id: string, options: AttachOptions = {}): Promise<Process> {
    const { from = "screen", readOnly = false, follow = true, signal } = options
    const open = checkRequest(() => checkBody(attachOpenSchema, { processId: id, from, readOnly, follow }))
    return Process.attach(this.#connection, open, signal)
  }

  async #describe(question: ProcessesOpen, signal: AbortSignal | undefined): Promise<ProcessDescription> {
    const open = checkRequest(() => checkBody(processesOpenSchema, question))
    return ask(this.#connection, open, (answer) => checkBody(processDescriptionSchema, answer), signal)
  }
}

/** Opens a stream for one question and reads its answer. */
async function ask<Answer>(
  connection: LinkConnection,
  open: ProcessesOpen,
  read: (answer: unknown) => Answer,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const ended = Promise.withResolvers<void>()
  const decoder = new TextDecoder()
  let text = ""
  let bytes = 0
  const stream = await connection.open(
    "processes",
    open,
    {
      data(_tag, chunk, cost) {
        bytes += chunk.byteLength
        if (bytes > answerBytesMax) throw new InvalidBody(`an answer of more than ${answerBytesMax} bytes`)
        text += decoder.decode(chunk, { stream: true })
        stream.consumed(cost)
      },
      finished: () => stream.finish(),
      closed: (error) => (error === undefined ? ended.resolve() : ended.reject(error)),
    },
    signal,
  )
  const abort = () => stream.reset(abortedError(signal as AbortSignal, "unknown"))
  signal?.addEventListener("abort", abort, { once: true })
  try {
    await ended.promise
  } finally {
    signal?.removeEventListener("abort", abort)
  }
  try {
    return read(JSON.parse(text))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new TunnelError("protocol-error", `the agent's answer is not one: ${reason}`, { delivered: "yes", cause: error })
  }
}
