/** What is asked of `GET /v1/agents/NAME/processes/ID/output`, checked. */
import { TunnelError } from "@trunkline/protocol"
import { type AnswerForm, preferredForm } from "./answer-form.ts"

export interface OutputQuery {
  readonly from: number
  readonly form: AnswerForm
  /** On to the exit, or only what has been written by now. */
  readonly follow: boolean
}

/** Throws `bad-request` that states the rule. */
export function readOutputQuery(parameters: URLSearchParams, headers: Headers): OutputQuery {
  const asked = readFollow(parameters.get("follow"))
  const preferred = preferredForm(headers.get("accept"))
  // One document cannot be followed.
  const form = asked === true && preferred === "application/json" ? "application/x-ndjson" : preferred
  // A reader of events that was cut off repeats its request as it was, and says in this header what it has.
  const last = headers.get("last-event-id")
  const from = last === null || last === "" ? readOffset("from", parameters.get("from") ?? "0") : readOffset("Last-Event-ID", last)
  return { from, form, follow: asked ?? form !== "application/json" }
}

function readOffset(where: string, text: string): number {
  const offset = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(offset)) return offset
  throw new TunnelError(
    "bad-request",
    `${where} is an offset, a whole number of bytes from 0 to ${Number.MAX_SAFE_INTEGER}, not ${JSON.stringify(text.slice(0, 64))}`,
  )
}

function readFollow(text: string | null): boolean | undefined {
  if (text === null) return undefined
  if (text !== "true" && text !== "false") throw new TunnelError("bad-request", "follow is true or false")
  return text === "true"
}
