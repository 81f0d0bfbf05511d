/** The Worker as a client: dials the agent's object instead of a URL, and speaks the same wire as everybody. */

import { Agent, type Dial, type EarlyDial } from "@trunkline/client"
import { systemClock } from "@trunkline/client/runtime"
import { type EndpointName, type Principal, TunnelError } from "@trunkline/protocol"
import type { Env } from "../env.ts"
import { openLink } from "../open-link.ts"
import { isRefusingSockets } from "../restart.ts"

export interface AgentContext {
  readonly env: Env
  readonly ctx: Pick<ExecutionContext, "waitUntil">
}

/** An agent handle for one request. Its link ends with `close()`, and at the latest with the request. */
export function agentFor({ env, ctx }: AgentContext, name: EndpointName, principal: Principal, gateway: URL): Agent {
  const dial = dialObject(env, name, principal)
  const held = (...[target, events]: Parameters<Dial>): ReturnType<Dial> => {
    const dialled = dial(target, events)
    // The agent may have been handed the request: whoever has left meanwhile must still close the socket, or the link would be kept for a return.
    ctx.waitUntil(dialled.then(nothing, nothing))
    return dialled
  }
  const early: EarlyDial = Object.assign(held, { takesFirst: true as const })
  return new Agent(name, { gateway, token: "", dial: early, clock: systemClock, idleMs: 0 })
}

const nothing = (): void => {}

function dialObject(env: Env, name: EndpointName, principal: Principal): Dial {
  let dialled = false
  return async ({ first }, events) => {
    // This process is about to end, and the request with it: trying on would only keep it from ending.
    if (dialled && isRefusingSockets()) throw new TunnelError("link-lost", "the gateway restarts", { delivered: "unknown" })
    const { socket, readiness } = await openLink(env, name, principal, first)
    dialled = true
    // Listeners first: the object has sent its greeting already.
    socket.addEventListener("message", ({ data }) => {
      if (typeof data === "string") events.message(data)
      else if (data instanceof ArrayBuffer) events.message(new Uint8Array(data))
    })
    let closed = false
    socket.addEventListener("close", ({ code, reason }) => {
      if (!closed) events.closed(code, reason)
      closed = true
    })
    socket.binaryType = "arraybuffer"
    socket.accept()
    if (readiness !== undefined) events.message(readiness.ready)
    return {
      tookFirst: readiness?.tookFirst === true,
      send(message) {
        if (socket.readyState === WebSocket.OPEN) socket.send(message)
      },
      get bufferedBytes() {
        return socket.bufferedAmount ?? 0
      },
      close(code, reason) {
        closed = true
        if (socket.readyState === WebSocket.OPEN) socket.close(code, reason)
      },
    }
  }
}
