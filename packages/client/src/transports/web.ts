/**
 * Standard WebSocket: browsers, Node, Deno, Workers. It cannot set headers, so a single-use ticket of 60 seconds is
 * fetched with the token and goes in the subprotocol list.
 */
import { subprotocol, TunnelError, ticketSubprotocolPrefix } from "@trunkline/protocol"
import { type Dial, linkUrl, type Socket, type SocketEvents } from "../dial.ts"
import { callGateway, type GatewayApi, unreachable } from "../gateway-api.ts"

/** Milliseconds between looks at a full socket: the standard has no event for it. */
const drainPollMs = 5
/** Bytes below which a socket counts as drained. */
const drainedBytes = 65_536

export const dialWeb =
  (fetcher: typeof fetch): Dial =>
  async ({ gateway, agent, token, signal }, events) => {
    const api = { url: gateway, token, fetch: fetcher }
    const answer = await callGateway(api, "v1/tickets", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ agent }),
      signal,
    })
    if (typeof answer !== "object" || answer === null || !("ticket" in answer) || !isTicket(answer.ticket)) {
      throw new TunnelError("protocol-error", "the gateway gave no ticket")
    }
    return open(api, agent, answer.ticket, signal, events)
  }

/** One that fits in a list of subprotocols. */
const isTicket = (value: unknown): value is string => typeof value === "string" && /^[\w.~-]+$/.test(value)

function open(api: GatewayApi, agent: string, ticket: string, signal: AbortSignal, events: SocketEvents): Promise<Socket> {
  const socket = new WebSocket(linkUrl(api.url, agent).href, [subprotocol, `${ticketSubprotocolPrefix}${ticket}`])
  socket.binaryType = "arraybuffer"
  let polling = false
  /** We closed it: nothing more is of interest. */
  let silent = false
  // Not every runtime counts, whatever its types say.
  const bufferedBytes = () => socket.bufferedAmount ?? 0
  const pollDrained = () => {
    if (polling) return
    polling = true
    const look = () => {
      if (silent || socket.readyState !== WebSocket.OPEN) return
      const bytes = bufferedBytes()
      polling = bytes > 0
      if (polling) setTimeout(look, drainPollMs)
      if (bytes <= drainedBytes) events.drained()
    }
    setTimeout(look, drainPollMs)
  }
  const adapter: Socket = {
    send(message) {
      if (socket.readyState !== WebSocket.OPEN) return
      // The DOM's types want a buffer that is not shared; ours never is.
      socket.send(message as Uint8Array<ArrayBuffer> | string)
      if (bufferedBytes() > drainedBytes) pollDrained()
    },
    get bufferedBytes() {
      return bufferedBytes()
    },
    close(code, reason) {
      silent = true
      // Browsers allow 1000 and the application's own codes only.
      if (code === 1000 || code >= 3000) socket.close(code, reason)
      else socket.close()
    },
  }
  return new Promise((resolve, reject) => {
    let opened = false
    const abort = () => {
      adapter.close(1000, "aborted")
      reject(unreachable(api.url, signal.reason))
    }
    signal.addEventListener("abort", abort, { once: true })
    socket.addEventListener("open", () => {
      opened = true
      signal.removeEventListener("abort", abort)
      if (!silent) resolve(adapter)
    })
    socket.addEventListener("message", ({ data }: { data: unknown }) => {
      if (silent) return
      if (typeof data === "string") events.message(data)
      else if (data instanceof ArrayBuffer) events.message(new Uint8Array(data))
    })
    socket.addEventListener("close", ({ code, reason }) => {
      signal.removeEventListener("abort", abort)
      if (silent) return
      if (opened) events.closed(code, reason)
      else resolve(refused(api, agent, signal))
    })
  })
}

/** A browser does not say why a handshake failed. The ticket call has ruled out most reasons; the agent's own record tells the rest. */
async function refused(api: GatewayApi, agent: string, signal: AbortSignal): Promise<never> {
  try {
    await callGateway(api, `v1/endpoints/${encodeURIComponent(agent)}`, { signal })
  } catch (error) {
    if (error instanceof TunnelError && (error.code === "agent-unknown" || error.code === "gateway-unreachable")) throw error
  }
  throw new TunnelError("agent-offline", `the agent "${agent}" cannot be reached right now`)
}
