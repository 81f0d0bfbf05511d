/** Connects to the first place of several that answers. */
import { Socket } from "node:net"
import { limits, TunnelError } from "@trunkline/protocol"
import { errnoOf } from "../errno.ts"
import type { Hop } from "./owner-policy.ts"

export interface Connected {
  readonly socket: Socket
  readonly hop: Hop
}

/** Milliseconds an address has to itself before the next is tried beside it, as RFC 8305 has it. */
const staggerMs = 250

/** Milliseconds until a unix socket whose queue is full is tried again: there the system does not wait, as it does for TCP. */
const fullQueueMs = 20

/** Milliseconds of silence after which a TCP connection is probed: a target that has vanished is noticed some minutes later. */
export const keepAliveMs = 60_000

/**
 * Tries each in turn, all within `limits.targetConnectMs`. The socket allows half-open connections and is paused. `what` names the target in errors.
 * Rejects with TunnelError `service-refused`, `service-unreachable`, `service-timeout`, `overloaded`, and with the signal's reason.
 */
export async function connectHops(hops: readonly Hop[], what: string, signal?: AbortSignal): Promise<Connected> {
  signal?.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<Connected>()
  const waiting = [...hops]
  const attempts = new Set<Socket>()
  const failures: TunnelError[] = []
  let next: NodeJS.Timeout | undefined

  const tryNext = (): void => {
    clearTimeout(next)
    const hop = waiting.shift()
    if (hop === undefined) {
      if (attempts.size === 0) reject(mostTelling(failures) ?? new TunnelError("service-unreachable", `${what} has no address`))
      return
    }
    const socket = dial(hop)
    attempts.add(socket)
    next = setTimeout(tryNext, staggerMs)
    socket.once("connect", () => resolve({ socket, hop }))
    // Stays on the socket: until its new owner listens, an error would end the agent.
    socket.on("error", (error) => {
      if (!attempts.delete(socket)) return
      if (hop.type === "unix" && errnoOf(error) === "EAGAIN") {
        clearTimeout(next)
        waiting.unshift(hop)
        next = setTimeout(tryNext, fullQueueMs)
        return
      }
      failures.push(connectError(error, what, hop))
      tryNext()
    })
  }

  const abort = (): void => reject(signal?.reason)
  signal?.addEventListener("abort", abort, { once: true })
  const deadline = setTimeout(() => reject(timeoutError(what)), limits.targetConnectMs)
  tryNext()
  try {
    const connected = await promise
    attempts.delete(connected.socket)
    return connected
  } finally {
    clearTimeout(deadline)
    clearTimeout(next)
    signal?.removeEventListener("abort", abort)
    for (const socket of attempts) socket.destroy()
  }
}

function dial(hop: Hop): Socket {
  const socket = new Socket({ allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs })
  // Before it is connected, or it would begin to read.
  socket.pause()
  return socket.connect(hop.type === "unix" ? { path: hop.path } : { host: hop.address, port: hop.port })
}

/** Why a connection could not be made. */
function connectError(cause: Error, what: string, hop: Hop): TunnelError {
  const place = hop.type === "unix" || what.includes(hop.address) ? what : `${what} (${hop.address})`
  const code = errnoOf(cause)
  switch (code) {
    case "ECONNREFUSED":
    case "ECONNRESET":
      return new TunnelError("service-refused", `${place} refuses connections; is the service running at the agent?`, { cause })
    case "ENOENT":
      return new TunnelError("service-refused", `there is no socket at ${place}; is the service running at the agent?`, { cause })
    case "EACCES":
    case "EPERM":
      return hop.type === "unix"
        ? new TunnelError("service-refused", `the agent's user may not use the socket ${place}; change its mode or its group`, { cause })
        : new TunnelError("service-unreachable", `the agent's system does not let it connect to ${place} (${code})`, { cause })
    case "ETIMEDOUT":
      return timeoutError(place, cause)
    case "EMFILE":
    case "ENFILE":
      return new TunnelError("overloaded", `the agent has as many files open as it may and cannot connect to ${place}`, { cause })
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "EHOSTDOWN":
    case "ENETDOWN":
      return new TunnelError("service-unreachable", `the agent has no way to ${place}; is that machine up, and the agent in its network?`, {
        cause,
      })
    default:
      return new TunnelError("service-unreachable", `the agent cannot connect to ${place}: ${code ?? cause.message}`, { cause })
  }
}

const timeoutError = (what: string, cause?: Error): TunnelError =>
  new TunnelError(
    "service-timeout",
    `${what} did not take the connection within ${limits.targetConnectMs / 1_000} s; is it up, and does no firewall stand between?`,
    { cause },
  )

/** A refusal says that somebody is there; that one address of several cannot be reached often says nothing. */
const mostTelling = (failures: readonly TunnelError[]): TunnelError | undefined =>
  failures.find(({ code }) => code === "service-refused") ?? failures.find(({ code }) => code === "service-timeout") ?? failures[0]
