/**
 * The kinds `http` and `websocket`: one request to an HTTP service at the agent, and its answer (SPEC KH, KW). The head of the answer is DATA, not
 * ACCEPT, because it may be long.
 */
import * as v from "valibot"
import { limits } from "../wire/limits.ts"
import { durationMsSchema } from "./process.ts"
import { httpTargetSchema } from "./target.ts"

/** RFC 9110 5.6.2. */
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** RFC 9110 5.5: no control characters but the tab, so that nothing can be smuggled behind a line end. Bytes above 127 stand as Latin-1. */
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/

const headerSchema = v.tuple([
  v.pipe(v.string(), v.regex(token, "not a header's name")),
  v.pipe(v.string(), v.regex(fieldValue, "a header's value holds no control characters and nothing beyond Latin-1")),
])
/** Names and values in order, a name as often as it comes. */
export const headersSchema = v.array(headerSchema)
export type HeaderList = v.InferOutput<typeof headersSchema>

const requestEntries = {
  target: httpTargetSchema,
  /** The path and query as they go into the request line, or `*`. */
  path: v.pipe(v.string(), v.regex(/^(?:\/[\x21-\x7e\x80-\xff]*|\*)$/, "a path begins with / and holds no spaces or control characters")),
  headers: headersSchema,
}

export const httpOpenSchema = v.object({
  ...requestEntries,
  method: v.pipe(
    v.string(),
    v.maxLength(64),
    v.regex(token, "not a method"),
    v.check((method) => method !== "CONNECT", "CONNECT makes a tunnel of its own: use the kind tcp"),
  ),
  /** Bytes of the body, null where that is not known before its end; absent where there is none. */
  bodyBytes: v.optional(v.nullable(v.pipe(v.number(), v.integer(), v.minValue(0)))),
  /** Milliseconds to the head of the answer; the agent's own limit counts as well. */
  firstByteMs: v.optional(durationMsSchema),
})
export type HttpOpen = v.InferOutput<typeof httpOpenSchema>

/** Names a client asks for with an `Upgrade: websocket`: without the headers of the handshake, which each leg makes for itself. */
export const webSocketOpenSchema = v.object({
  ...requestEntries,
  protocols: v.optional(v.array(v.pipe(v.string(), v.regex(token, "not a subprotocol's name"))), []),
})
export type WebSocketOpen = v.InferOutput<typeof webSocketOpenSchema>

/** DATA tags. Client to agent: `body`, or `messages` of a WebSocket. Agent to client: `head` (`encodeHead`, `HeadReader`), and behind it the other two. */
export const httpTags = { body: 0, head: 1, messages: 2 } as const

/** The head of an answer. 101 says that the WebSocket is open, with the subprotocol among the headers if one was agreed. */
export const httpHeadSchema = v.object({
  status: v.pipe(v.number(), v.integer(), v.minValue(100), v.maxValue(999)),
  statusText: v.string(),
  headers: headersSchema,
})
export type HttpHead = v.InferOutput<typeof httpHeadSchema>

/** JSON of a head at most: every byte of the headers a service may send can need six. */
export const httpHeadJsonBytesMax = 6 * limits.httpHeadBytesMax
