/**
 * The way to an agent at its URL: a client's upgrade is passed on to the link route there. The URL is the word of whoever holds the
 * agent's key, and what answers may be anything: it gets one request whose path ends as we say, and of an answer that is no
 * socket nothing reaches the client but what it means.
 */
import { type EndpointName, type ErrorCode, isErrorCode, TunnelError } from "@trunkline/protocol"

/** Milliseconds until the socket is there. What waits is a client, which gives up after ten seconds. */
const dialMs = 5_000
/** Bytes of a refusal that are read. */
const refusalBytesMax = 16_384

/** The 101 response with the agent's own socket. Throws `agent-offline`, `agent-draining`, `too-many-clients`, `overloaded`. */
export async function dialUrl(url: string, name: EndpointName, assertion: string, subprotocol: string | undefined): Promise<Response> {
  const { origin } = new URL(url)
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(), dialMs)
  try {
    const response = await fetch(`${url}/v1/agents/${name}/link`, {
      headers: {
        upgrade: "websocket",
        authorization: `Bearer ${assertion}`,
        ...(subprotocol === undefined ? {} : { "sec-websocket-protocol": subprotocol }),
      },
      // The assertion is for this place.
      redirect: "manual",
      signal: late.signal,
    })
    const { webSocket } = response
    if (response.status !== 101 || webSocket === null) throw await refusalOf(response, name, origin)
    // Only the socket: cookies of whatever publishes the agent are not for this gateway's origin.
    return new Response(null, {
      status: 101,
      webSocket,
      ...(subprotocol === undefined ? {} : { headers: { "sec-websocket-protocol": subprotocol } }),
    })
  } catch (error) {
    if (error instanceof TunnelError) throw error
    const reason = late.signal.aborted ? `did not answer within ${dialMs / 1000} seconds` : "cannot be reached"
    throw new TunnelError("agent-offline", `the agent "${name}" has no socket here, and its URL at ${origin} ${reason}`, { cause: error })
  } finally {
    clearTimeout(timer)
  }
}

async function refusalOf(response: Response, name: EndpointName, origin: string): Promise<TunnelError> {
  const code = codeOf(await textOf(response))
  switch (code) {
    case "agent-draining":
      return new TunnelError(code, `the agent "${name}" is about to stop and takes no new clients: retry when it is back`)
    case "agent-away":
      return new TunnelError(code, `the agent "${name}" starts again: try again soon`)
    case "too-many-clients":
    case "overloaded":
      return new TunnelError(code, `the agent "${name}" takes no more clients now: retry later`)
    case "unauthorised": {
      const advice =
        "is it this agent's URL, was the agent given this gateway's secret, are both clocks right, and was no ticket used before?"
      return new TunnelError("agent-offline", `what answers at ${origin} does not take this gateway's word for "${name}": ${advice}`)
    }
    default: {
      const answer = code === undefined ? `HTTP ${response.status}` : `HTTP ${response.status} (${code})`
      const advice = "is the tunnel up, and is it this agent's URL?"
      return new TunnelError(
        "agent-offline",
        `the agent "${name}" has no socket here, and its URL at ${origin} answers ${answer}: ${advice}`,
      )
    }
  }
}

/** The code of an agent's refusal; undefined for anything else. */
function codeOf(body: string): ErrorCode | undefined {
  try {
    const { code } = (JSON.parse(body) as { error: { code: unknown } }).error
    return typeof code === "string" && isErrorCode(code) ? code : undefined
  } catch {
    return undefined
  }
}

async function textOf(response: Response): Promise<string> {
  if (response.body === null) return ""
  const decoder = new TextDecoder()
  let text = ""
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true })
    // Leaving the loop ends the answer.
    if (text.length > refusalBytesMax) return ""
  }
  return text
}
