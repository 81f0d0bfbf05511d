/** One request passed on to a service at an agent: HTTP, or an upgrade to a WebSocket. The Worker is a client of the agent like any other. */
import type { HeaderList } from "@trunkline/protocol"
import { limits, type Principal, TunnelError, ticketSubprotocolPrefix } from "@trunkline/protocol"
import type { Env } from "../env.ts"
import { agentFor } from "./dial-agent.ts"
import { handshakeHeaders } from "./forwarded-headers.ts"
import type { Service } from "./service-address.ts"
import { serviceAnswer } from "./service-answer.ts"
import { RequestRefused } from "./service-failure.ts"
import { socketAnswer } from "./service-socket.ts"
import { type Upload, uploadOf } from "./upload.ts"

export interface ServiceRequest {
  readonly service: Service
  readonly principal: Principal
  /** As it goes into the service's request line. */
  readonly path: string
  readonly headers: HeaderList
}

/** The agent's object is dialled, not a URL. */
const nowhere = new URL("https://gateway/")

/** The service's answer. Throws TunnelError: what keeps the agent or the service from answering, and RequestRefused. */
export async function passToService(
  request: Request,
  { service, principal, path, headers }: ServiceRequest,
  env: Env,
  ctx: Pick<ExecutionContext, "waitUntil">,
): Promise<Response> {
  const target = { service: service.port }
  const { method, signal } = request
  requireHeadFits(`${method} ${path}`, headers)
  const agent = agentFor({ env, ctx }, service.agent, principal, nowhere)
  const leave = () => agent.close()
  const context = { method, ctx, leave }
  const upload = request.body === null || isWebSocketUpgrade(request) ? undefined : uploadOf(request.body)
  try {
    if (isWebSocketUpgrade(request)) {
      const offered = headers.filter(([name]) => !handshakeHeaders.includes(name))
      const socket = await agent.webSocket({ target, path, headers: offered, protocols: protocolsOf(request), signal })
      return socket.type === "refused" ? serviceAnswer(socket, context) : socketAnswer(socket, ctx, leave)
    }
    const answer = await agent.request({ target, method, path, headers, ...bodyOf(request, upload), signal })
    const response = serviceAnswer(answer, upload === undefined ? context : { ...context, uploaded: upload.over })
    // With nothing to stream there is no end to hold back.
    if (response.body === null) await upload?.over
    return response
  } catch (error) {
    leave()
    await upload?.over
    throw isNonsense(error)
      ? new TunnelError("protocol-error", `the agent's answer is none: ${error.message}`, { delivered: "yes", cause: error })
      : error
  }
}

/** What the agent has, and is refused as malformed, is what came back from it: no fault of who asked. */
const isNonsense = (error: unknown): error is TunnelError =>
  error instanceof TunnelError && error.code === "bad-request" && error.delivered === "yes"

const isWebSocketUpgrade = (request: Request): boolean =>
  request.method === "GET" && (request.headers.get("upgrade") ?? "").split(",").some((name) => name.trim().toLowerCase() === "websocket")

const protocolsOf = ({ headers }: Request): string[] =>
  (headers.get("sec-websocket-protocol") ?? "")
    .split(",")
    .map((name) => name.trim())
    // A ticket is for the gateway.
    .filter((name) => name !== "" && !name.startsWith(ticketSubprotocolPrefix))

function bodyOf(
  { headers }: Request,
  upload: Upload | undefined,
): { readonly body?: ReadableStream<Uint8Array>; readonly bodyBytes?: number } {
  if (upload === undefined) return {}
  const length = headers.get("content-length")
  return { body: upload.body, ...(length === null ? {} : { bodyBytes: Number(length) }) }
}

/** The runtime takes longer heads, and has no bound for the number of headers. */
function requireHeadFits(line: string, headers: HeaderList): void {
  const bytes = headers.reduce((sum, [name, value]) => sum + name.length + value.length + 4, line.length)
  if (bytes <= headBytesMax) return
  const message = `the request's head has ${bytes} bytes, with what tells the service who asked: at most ${headBytesMax} are passed on`
  throw new RequestRefused("too-large", message, headTooLarge)
}

/** Bytes of a head that fit in an OPEN, whose JSON takes two for each at most. */
const headBytesMax = Math.min(limits.httpHeadBytesMax, (limits.openBytesMax - 1_024) / 2)
const headTooLarge = 431
