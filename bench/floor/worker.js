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

export default {
  fetch(request, env) {
    return env.FLOOR.getByName(new URL(request.url).searchParams.get("name") ?? "").fetch(request)
  },
}
