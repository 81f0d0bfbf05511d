/**
 * What is not as it would be without the tunnel: the whole list, each with its reason. A row turns what came directly into what is expected through the tunnel, so
 * that nothing else may differ, and nothing less. `docs/http.md` names every row.
 */
import type { Case } from "./case.ts"
import type { RawAnswer } from "./raw-client.ts"
import { type Header, noBody, valuesOf } from "./raw-http.ts"
import type { SeenRequest } from "./raw-service.ts"
import type { Observed, Way } from "./ways.ts"

export interface Difference {
  /** As the documentation calls it. */
  readonly name: string
  readonly reason: string
  readonly answer?: (answer: RawAnswer, asked: Case) => RawAnswer
  readonly request?: (seen: SeenRequest, asked: Case, way: Way) => SeenRequest
  /** Of all that came to the service for one request with this answer. */
  readonly requests?: (seen: readonly SeenRequest[], answer: Observed["answer"]) => readonly SeenRequest[]
  /** The status of the gateway's own answer, where it passes nothing on; `seen` says whether the service was asked. */
  readonly refusal?: (asked: Case, direct: Observed["answer"]) => { readonly status: number; readonly seen: boolean } | undefined
  /** Not to be told apart by what HTTP means: done to both sides before they are compared. */
  readonly both?: true
}

const withHeaders = <Message extends { readonly headers: readonly Header[] }>(
  message: Message,
  change: (headers: readonly Header[]) => readonly Header[],
): Message => ({ ...message, headers: change(message.headers) })

const without = (headers: readonly Header[], drops: (name: string) => boolean): readonly Header[] =>
  headers.filter(([name]) => !drops(name.toLowerCase()))

/** Names in lower case, sorted by them; of one name in the order they came. */
const sorted = (headers: readonly Header[]): readonly Header[] =>
  headers.map(([name, value]): Header => [name.toLowerCase(), value]).sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0))

/** Those of one name in one, where it was first. */
function joined(headers: readonly Header[]): readonly Header[] {
  const list: Header[] = []
  for (const [name, value] of headers) {
    const at = list.findIndex(([other]) => other.toLowerCase() === name.toLowerCase())
    const [first = name, values = ""] = list[at] ?? []
    if (at === -1 || name.toLowerCase() === "set-cookie") list.push([name, value])
    else list[at] = [first, `${values}, ${value}`.trimEnd()]
  }
  return list
}

const hopByHop = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]

/** Where a message goes and how long it is holds for all of its way, whatever `Connection` names. */
function endToEnd(headers: readonly Header[]): readonly Header[] {
  const named = valuesOf(headers, "connection").flatMap((value) => value.split(",").map((name) => name.trim().toLowerCase()))
  const dropped = new Set([...hopByHop, ...named.filter((name) => name !== "host" && name !== "content-length")])
  return without(headers, (name) => dropped.has(name))
}

/** Methods that workerd's parser knows (https://github.com/capnproto/capnproto/blob/v2/c%2B%2B/src/kj/compat/http.h). */
export const knownMethods: readonly string[] = [
  "GET HEAD POST PUT DELETE PATCH PURGE OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK ACL REPORT MKACTIVITY CHECKOUT",
  "MERGE MSEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE QUERY BAN",
].flatMap((names) => names.split(" "))

const utf8 = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true })
const bytesOf = (text: string): Buffer => Buffer.from(text, "latin1")
/** What is no UTF-8 becomes U+FFFD. */
const replaced = (value: string): string => Buffer.from(utf8.decode(bytesOf(value))).toString("latin1")
/** What is no UTF-8 is taken for Latin-1 and written as UTF-8. */
const rewritten = (value: string): string => (replaced(value) === value ? value : Buffer.from(value).toString("latin1"))

/** Who has no body waits for nothing. */
const waitsFor100 = (headers: readonly Header[]): boolean =>
  valuesOf(headers, "expect").length > 0 && valuesOf(headers, "content-length").join() !== "0"

/** What workerd takes for no URL: these of ASCII, and bytes that are no UTF-8. */
const noUrl = (path: string): boolean => /[<>]|^[^?]*`|\?.*"/.test(path) || replaced(path) !== path

const ownCookie = /^(__Host-)?trunkline-session=/

const cut = (answer: Observed["answer"]): boolean => typeof answer === "string"

export const quietCloses = "Clients that close in silence"

export const differences: readonly Difference[] = [
  {
    name: "Headers of one connection",
    reason:
      "what RFC 9110 7.6.1 names, and what `Connection` names, is between two neighbours; an upgrade to anything but a WebSocket goes on as a plain request",
    both: true,
    answer: (answer) => withHeaders(answer, endToEnd),
    request: (seen) => withHeaders(seen, endToEnd),
  },
  {
    name: "HTTP versions",
    reason: "each connection has its own: the agent asks in HTTP/1.1, and the gateway answers in the client's",
    answer: (answer, { version }) => ({ ...answer, version }),
    request: (seen) => ({ ...seen, line: seen.line.replace(/HTTP\/1\.0$/, "HTTP/1.1") }),
  },
  {
    name: "Framing",
    reason:
      "how the end of a body is told is each connection's own: one that ends with the connection goes on in chunks, one in chunks to the close for a client of HTTP/1.0, and a length as a plain number",
    answer: (answer, { version }) => ({
      ...withHeaders(answer, (headers) =>
        headers.map(([name, value]) => [name, name.toLowerCase() === "content-length" ? String(Number(value)) : value]),
      ),
      framing:
        version === "1.1" && answer.framing === "close"
          ? "chunked"
          : version === "1.0" && answer.framing === "chunked"
            ? "close"
            : answer.framing,
    }),
  },
  {
    name: "Interim answers",
    reason: "the Workers API has none: a service's 1xx are not passed on, and the gateway answers `Expect: 100-continue` itself",
    answer: (answer, { headers }) => ({ ...answer, interim: waitsFor100(headers) ? [100] : [] }),
    request: (seen) => withHeaders(seen, (headers) => without(headers, (name) => name === "expect")),
  },
  {
    name: "Trailers",
    reason: "the Workers API has none, of requests and of answers",
    answer: (answer) => ({ ...answer, body: { ...answer.body, trailers: [] } }),
    request: (seen) => ({ ...seen, body: { ...seen.body, trailers: [] } }),
  },
  {
    name: "The length of 204 and 304",
    reason: "the platform sends no Content-Length with them",
    answer: (answer) =>
      answer.status === 204 || answer.status === 304
        ? withHeaders(answer, (headers) => without(headers, (name) => name === "content-length"))
        : answer,
  },
  {
    name: "The body of 205",
    reason: "it must have none (RFC 9110 15.3.6), and the platform sends none",
    answer: (answer) =>
      answer.status === 205
        ? {
            ...withHeaders(answer, (headers) => [...without(headers, (name) => name === "content-length"), ["content-length", "0"]]),
            framing: "sized",
            body: noBody,
          }
        : answer,
  },
  {
    name: "Bytes above 127",
    reason:
      "the platform reads and writes headers as UTF-8: what is no UTF-8 becomes U+FFFD in a request, and is taken for Latin-1 in an answer",
    answer: (answer) => ({
      ...withHeaders(answer, (headers) => headers.map(([name, value]): Header => [name, rewritten(value)])),
      reason: rewritten(answer.reason),
    }),
    request: (seen) => withHeaders(seen, (headers) => headers.map(([name, value]): Header => [name, replaced(value)])),
  },
  {
    name: "Forwarding headers",
    reason:
      "they say who asked, and where; a client cannot write those of this hop, and what Cloudflare says of its edge is not the client's",
    request: (seen, _asked, way) => withHeaders(seen, (headers) => forwarded(headers, way)),
  },
  {
    name: "Headers of our own",
    reason: "credentials for the gateway stay there, and a service can neither set our cookie nor give its answer out for the gateway's",
    answer: (answer) =>
      withHeaders(answer, (headers) =>
        headers.filter(
          ([name, value]) => name.toLowerCase() !== "trunkline-error" && !(name.toLowerCase() === "set-cookie" && ownCookie.test(value)),
        ),
      ),
    request: (seen) =>
      withHeaders(seen, (headers) =>
        headers.map(
          ([name, value]): Header => [name, name.toLowerCase() === "cookie" ? value.replace(/; trunkline-session=[^;]*/, "") : value],
        ),
      ),
  },
  {
    name: "Methods",
    reason: "the runtime answers 501 to those it does not know (in capitals, and registered, `M-SEARCH` excepted), and 500 to CONNECT",
    refusal: ({ method }) => (knownMethods.includes(method) ? undefined : { status: 501, seen: false }),
  },
  {
    name: "Request targets that are no URL",
    reason:
      'the runtime answers 400 to what HTTP has no place for: `<`, `>`, a backtick in the path, `"` in the query, and bytes that are not UTF-8. Escape them',
    refusal: ({ path }) => (noUrl(path) ? { status: 400, seen: false } : undefined),
  },
  {
    name: "Fragments",
    reason: "a request target has none (RFC 9112 3.2): what stands behind a `#` is cut off",
    request: (seen) => ({ ...seen, line: seen.line.replace(/#[^ ]*/, "") }),
  },
  {
    name: "OPTIONS *",
    reason: "by path there is no way to say it: a host has one",
    request: (seen, _asked, way) => ({ ...seen, line: way.prefix === "" ? seen.line : seen.line.replace(" * ", " /* ") }),
  },
  {
    name: "Requests that are sent twice",
    reason:
      "a kept connection that the service closes without a word may have closed before the request: one without a body whose method is idempotent is sent again on a new one (RFC 9110 9.2.2)",
    both: true,
    requests: (seen, answer) =>
      typeof answer !== "string" && answer.status === 502
        ? seen.filter((request, at) => at === 0 || JSON.stringify(request) !== JSON.stringify(seen[at - 1]))
        : seen,
  },
  {
    name: "Bodies that break off",
    reason: "never look whole, but whether that is a close or a reset is each connection's own",
    both: true,
    answer: (answer) => (answer.body.end === "reset" ? { ...answer, body: { ...answer.body, end: "closed" } } : answer),
  },
  {
    name: quietCloses,
    reason:
      "a gateway on one's own machine notices a reset at once, and a mere close while nobody speaks when it next writes: the service is told then, or by its own limits",
  },
  {
    name: "Empty headers",
    reason: "the platform leaves out of an answer some of those without a value",
    both: true,
    answer: (answer) => withHeaders(answer, (headers) => headers.filter(([, value]) => value !== "")),
  },
  {
    name: "Folded lines",
    reason: "an answer with one is refused, as RFC 9112 5.2 allows: 502 `service-failed`",
    refusal: (_asked, direct) =>
      typeof direct !== "string" && direct.headers.some(([name]) => /^\s/.test(name)) ? { status: 502, seen: true } : undefined,
  },
  {
    name: "Control characters in reasons",
    reason: "the Workers API takes none there: a tab becomes a blank",
    answer: (answer) => ({ ...answer, reason: answer.reason.replaceAll("\t", " ") }),
  },
  {
    name: "Statuses from 600",
    reason: "HTTP has none (RFC 9110 15), and the Workers API cannot send them: 502 `service-failed`",
    refusal: (_asked, direct) => (typeof direct !== "string" && direct.status >= 600 ? { status: 502, seen: true } : undefined),
  },
  {
    name: "Answers that break off in their head",
    reason: "the gateway can still say what happened: 502 `service-failed`",
    refusal: (_asked, direct) => (cut(direct) ? { status: 502, seen: true } : undefined),
  },
  {
    name: "Names of headers",
    reason: "their case and the order of different names mean nothing (RFC 9110 5.1, 5.3), and the platform keeps neither",
    both: true,
    answer: (answer) => withHeaders(answer, sorted),
    request: (seen) => withHeaders(seen, sorted),
  },
  {
    name: "Repeated headers",
    reason: "other than Set-Cookie the platform joins them with commas, which means the same (RFC 9110 5.3)",
    both: true,
    answer: (answer) => withHeaders(answer, joined),
    request: (seen) => withHeaders(seen, joined),
  },
]

function forwarded(headers: readonly Header[], way: Way): readonly Header[] {
  const before = (name: string): string =>
    valuesOf(headers, name)
      .map((value) => `${value}, `)
      .join("")
  const ours: readonly Header[] = [
    ["x-forwarded-for", `${before("x-forwarded-for")}127.0.0.1`],
    ["x-forwarded-proto", "http"],
    ["x-forwarded-host", way.host],
    ...(way.prefix === "" ? [] : [["x-forwarded-prefix", way.prefix] as const]),
    ["forwarded", `${before("forwarded")}for=127.0.0.1;host="${way.host}";proto=http`],
  ]
  const written = new Set([...ours.map(([name]) => name), "x-forwarded-prefix"])
  return sorted([...without(headers, (name) => written.has(name) || name.startsWith("cf-")), ...ours])
}

/** Names of the rows that have changed something. */
export type Used = Set<string>

/** What is expected through the tunnel, of what came directly. */
export function expected(direct: Observed, asked: Case, way: Way, used: Used): Observed & { readonly refused?: number } {
  let { answer, seen } = direct
  let refused: number | undefined
  for (const { name, refusal } of differences) {
    const verdict = refusal?.(asked, answer)
    if (verdict === undefined) continue
    used.add(name)
    refused = verdict.status
    if (!verdict.seen) seen = []
  }
  for (const difference of differences) {
    const before = JSON.stringify([answer, seen])
    ;({ answer, seen } = changed({ answer, seen }, difference, asked, way))
    if (JSON.stringify([answer, seen]) !== before) used.add(difference.name)
  }
  return { answer, seen, ...(refused === undefined ? {} : { refused }) }
}

/** What came through the tunnel, in the form of the other. */
export function comparable(through: Observed, asked: Case, way: Way, used: Used): Observed {
  return differences
    .filter(({ both }) => both === true)
    .reduce((observed, difference) => {
      const next = changed(observed, difference, asked, way)
      if (next.seen.length !== observed.seen.length) used.add(difference.name)
      return next
    }, through)
}

function changed({ answer, seen }: Observed, { answer: ofAnswer, request, requests }: Difference, asked: Case, way: Way): Observed {
  const each = request === undefined ? seen : seen.map((one) => request(one, asked, way))
  return {
    answer: typeof answer === "string" || ofAnswer === undefined ? answer : ofAnswer(answer, asked),
    seen: requests === undefined ? each : requests(each, answer),
  }
}
