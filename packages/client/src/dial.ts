/** What opens a socket on an agent's link route. One implementation per runtime, in `transports/`. */

/** An open socket: binary messages are link data, text is the gateway's. */
export interface Socket {
  send(message: Uint8Array | string): void
  /** Bytes not yet handed to the operating system; 0 where the runtime cannot tell. */
  readonly bufferedBytes: number
  /** Closes; nothing more is delivered, `closed` included. */
  close(code: number, reason: string): void
  /** The agent has been handed the dial's `first`. */
  readonly tookFirst?: boolean
}

export interface SocketEvents {
  message(message: Uint8Array | string): void
  drained(): void
  /** Once, unless we closed it ourselves. */
  closed(code: number, reason: string): void
}

export interface DialTarget {
  /** The gateway, `http:` or `https:`. */
  readonly gateway: URL
  readonly agent: string
  readonly token: string
  readonly signal: AbortSignal
  /** A link message for an agent that is there, to be handed over with the dial by one that can ({@link EarlyDial}). */
  readonly first?: Uint8Array
}

/**
 * Resolves when the socket is open; the events are attached before anything can arrive. Rejects with TunnelError:
 * `unauthorised`, `agent-unknown`, `agent-offline`, `agent-draining`, `agent-stopped`, `gateway-unreachable` and what else
 * the gateway answers. An agent that was lost a moment ago is no refusal: the gateway says so on the socket.
 */
export type Dial = (target: DialTarget, events: SocketEvents) => Promise<Socket>

/**
 * A dial that takes `first` along. It says with `tookFirst` whether the agent has it. A rejection with `delivered: "no"` says that it has not; with any other
 * nobody knows.
 */
export interface EarlyDial {
  (target: DialTarget, events: SocketEvents): Promise<Socket>
  readonly takesFirst: true
}

export const takesFirst = (dial: Dial | EarlyDial): dial is EarlyDial => "takesFirst" in dial

/** `https://gateway/v1/agents/NAME/link` with the WebSocket scheme. */
export function linkUrl(gateway: URL, agent: string): URL {
  const url = new URL(`v1/agents/${encodeURIComponent(agent)}/link`, gateway)
  url.protocol = gateway.protocol === "https:" ? "wss:" : "ws:"
  return url
}
