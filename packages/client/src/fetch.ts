/** `agent.fetch`: the standard fetch, to services at the agent. */
import { type HeaderList, type HttpTarget, TunnelError } from "@trunkline/protocol"
import { type HttpAnswer, requestHttp } from "./http.ts"
import type { LinkConnection } from "./link-connection.ts"

export interface FetchOptions extends RequestInit {
  /** Of an `https:` URL: false accepts any certificate. */
  readonly verifyTls?: boolean
  /** A unix socket at the agent to speak to instead of the URL's host and port. */
  readonly socketPath?: string
}

/**
 * As `fetch`, but the URL's host and port are the agent's, redirects are not followed, whatever `redirect` says, and no headers are added but `host` and what the body
 * needs. A body in `gzip`, `deflate`, or `br` where this runtime knows it, is decoded, and its headers stay as they are; `agent.request` leaves bodies alone. Rejects
 * with TunnelError, also where `fetch` would throw a TypeError or the signal's reason (`aborted`, the reason as its `cause`); what comes later errors the body.
 */
export async function tunnelFetch(connection: LinkConnection, input: string | URL | Request, init: FetchOptions = {}): Promise<Response> {
  const { verifyTls = true, socketPath, ...options } = init
  const url = urlOf(input)
  const request = standardRequest(input, options)
  const signal = options.signal ?? (input instanceof Request ? input.signal : undefined)
  const answer = await requestHttp(connection, {
    target: targetOf(url, verifyTls, socketPath),
    method: request.method,
    path: url.pathname + url.search,
    headers: headersOf(url, input, options, request),
    ...(await bodyOf(request, options.body)),
    ...(signal == null ? {} : { signal }),
  })
  return responseOf(answer, request.method, url)
}

function urlOf(input: string | URL | Request): URL {
  const text = input instanceof Request ? input.url : String(input)
  if (!URL.canParse(text)) throw new TunnelError("bad-request", `"${text}" is not a URL; a service at the agent is http://localhost:PORT/`)
  const url = new URL(text)
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new TunnelError("bad-request", `a service's URL begins with http: or https:, not ${url.protocol}`)
  if (url.username !== "" || url.password !== "")
    throw new TunnelError("bad-request", "a service's URL holds no credentials; send an authorization header")
  return url
}

/** What the platform makes of the arguments: the method in capitals, the body as a stream with its type. Throws `bad-request` where the platform throws. */
function standardRequest(input: string | URL | Request, options: RequestInit): Request {
  try {
    // Not every browser's Request takes a stream: in its place go bytes, whose right to be there and whose lack of a type are the same.
    const plain: RequestInit = options.body instanceof ReadableStream ? { ...options, body: new Uint8Array() } : options
    // The body of a Request is a stream that is sent while the answer may come; runtimes want to be told so.
    return new Request(input, { ...plain, duplex: "half" } as RequestInit)
  } catch (error) {
    throw new TunnelError("bad-request", error instanceof Error ? error.message : String(error), { cause: error })
  }
}

function targetOf(url: URL, verify: boolean, socketPath: string | undefined): HttpTarget {
  const tls = url.protocol === "https:" ? { tls: { verify } } : {}
  if (socketPath !== undefined) return { path: socketPath, ...tls }
  const port = url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port)
  return { host: url.hostname.replace(/^\[(.*)\]$/, "$1"), port, ...tls }
}

/** Those of the arguments: a Request drops names that pages may not set, which nobody minds here. */
function headersOf(url: URL, input: string | URL | Request, options: RequestInit, request: Request): HeaderList {
  const headers = new Headers(options.headers ?? (input instanceof Request ? input.headers : []))
  const type = request.headers.get("content-type")
  if (type !== null && !headers.has("content-type")) headers.set("content-type", type)
  return headers.has("host") ? [...headers] : [["host", url.host], ...headers]
}

interface RequestBody {
  readonly body?: ReadableStream<Uint8Array>
  readonly bodyBytes?: number
}

/** Methods whose lack of a body is said (Fetch 4.6). */
const wantsLength: ReadonlySet<string> = new Set(["POST", "PUT"])

async function bodyOf(request: Request, source: BodyInit | null | undefined): Promise<RequestBody> {
  if (source instanceof ReadableStream) return { body: source }
  if (request.body === null) return wantsLength.has(request.method) ? { bodyBytes: 0 } : {}
  if (!isSized(source)) return { body: request.body }
  const blob = await request.blob()
  return { body: blob.stream(), bodyBytes: blob.size }
}

const isSized = (source: BodyInit | null | undefined): boolean =>
  typeof source === "string" ||
  source instanceof ArrayBuffer ||
  ArrayBuffer.isView(source) ||
  source instanceof Blob ||
  source instanceof URLSearchParams ||
  source instanceof FormData

/** Answers with these have no body (Fetch 2.2.3). */
const nullBodyStatuses: ReadonlySet<number> = new Set([204, 205, 304])

function responseOf(answer: HttpAnswer, method: string, url: URL): Response {
  const { status, headers } = answer
  const body = method === "HEAD" || nullBodyStatuses.has(status) ? null : decoded(answer.body, headers)
  // Read, so that the connection can be used again; there is nothing in it.
  if (body === null) answer.body.pipeTo(new WritableStream()).catch(() => {})
  try {
    const response = new Response(body, {
      status,
      statusText: /^[\t\x20-\x7e\x80-\xff]*$/.test(answer.statusText) ? answer.statusText : "",
      headers: headers as [string, string][],
    })
    Object.defineProperty(response, "url", { value: withoutFragment(url), configurable: true, enumerable: true })
    return response
  } catch (error) {
    body?.cancel(error).catch(() => {})
    const message = `the service answers in a way that fetch has no Response for (status ${status}); agent.request gives it as it is`
    throw new TunnelError("service-failed", message, { delivered: "yes", cause: error })
  }
}

function withoutFragment(url: URL): string {
  const bare = new URL(url)
  bare.hash = ""
  return bare.href
}

/** Content codings, and what decoders call them; no runtime's types know them all. */
const codings: Readonly<Record<string, string>> = { gzip: "gzip", "x-gzip": "gzip", deflate: "deflate", br: "brotli" }

/** More than any service has a reason for: each takes memory of its own. */
const codingsMax = 5

/** The body without its content codings, or as it is when there is one that this runtime does not know, or too many. */
function decoded(body: ReadableStream<Uint8Array>, headers: HeaderList): ReadableStream<Uint8Array> {
  const formats = headers
    .filter(([name]) => name.toLowerCase() === "content-encoding")
    .flatMap(([, value]) => value.toLowerCase().split(","))
    .map((name) => codings[name.trim()] ?? "unknown")
  if (formats.length === 0 || formats.length > codingsMax) return body
  let decoders: readonly ReadableWritablePair<Uint8Array, Uint8Array>[]
  try {
    decoders = formats.map((format) => new DecompressionStream(format as CompressionFormat) as ReadableWritablePair<Uint8Array, Uint8Array>)
  } catch {
    return body
  }
  // The last was put on last.
  return withTypedErrors(decoders.reduceRight((coded, decoder) => coded.pipeThrough(decoder), body))
}

/** A decoder fails with an error of the runtime's when it is not given its coding. */
function withTypedErrors(decoded: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = decoded.getReader()
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        try {
          const { done, value } = await reader.read()
          if (done) controller.close()
          else controller.enqueue(value)
        } catch (error) {
          if (error instanceof TunnelError) throw error
          const message = "the answer's body is not in the coding that its content-encoding names, or ends too early"
          throw new TunnelError("service-failed", message, { delivered: "yes", cause: error })
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  )
}
