// The least that a relay on this platform can do: one Durable Object passes messages between an agent's socket and a client's.
// Hibernation API as in the gateway; no protocol, no authentication, nothing stored.
import { DurableObject } from "cloudflare:workers"

export class Floor extends DurableObject {
  #peers = new Map()

  fetch(request) {
    const role = new URL(request.url).pathname.slice(1)
    const { 0: far, 1: near } = new WebSocketPair()
    this.ctx.acceptWebSocket(near, [role])
    this.#peers.clear()
    return new Response(null, { status: 101, webSocket: far })
  }

  webSocketMessage(socket, message) {
    if (message === "hello") return
    this.#peerOf(socket)?.send(message)
  }

  webSocketClose(socket, code) {
    this.#peers.clear()
    socket.close(code === 1000 ? 1000 : 1012)
  }

  #peerOf(socket) {
    let peer = this.#peers.get(socket)
    if (peer === undefined) {
      const [role] = this.ctx.getTags(socket)
      peer = this.ctx.getWebSockets(role === "agent" ? "client" : "agent").find((other) => other.readyState === 1)
      this.#peers.set(socket, peer)
    }
    return peer
  }
}

// The least that an answer over HTTP can do: the object asks the agent over its socket and answers with what comes back.
export class Ask extends DurableObject {
  #asked = []

  async fetch(request) {
    if (new URL(request.url).pathname === "/ask") {
      const { promise, resolve } = Promise.withResolvers()
      this.#asked.push(resolve)
      this.ctx.getWebSockets()[0].send("served")
      return new Response(await promise)
    }
    const { 0: far, 1: near } = new WebSocketPair()
    this.ctx.acceptWebSocket(near)
    return new Response(null, { status: 101, webSocket: far })
  }

  webSocketMessage(_socket, message) {
    if (message !== "hello") this.#asked.shift()?.(message)
  }
}

export default {
  fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url)
    const objects = pathname.startsWith("/ask") ? env.ASK : env.FLOOR
    return objects.getByName(searchParams.get("name") ?? "").fetch(request)
  },
}
