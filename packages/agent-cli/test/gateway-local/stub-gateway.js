// A Worker with the class names and bindings of the gateway, small enough that these tests do not depend on its build.
import { DurableObject } from "cloudflare:workers"

export class AgentSocket extends DurableObject {
  async fetch() {
    const { 0: client, 1: server } = new WebSocketPair()
    this.ctx.acceptWebSocket(server)
    return new Response(null, { status: 101, webSocket: client })
  }
  webSocketMessage(socket, message) {
    socket.send(message)
  }
  webSocketClose(socket, code) {
    socket.close(code)
  }
  drain() {
    for (const socket of this.ctx.getWebSockets()) socket.close(1012, "gateway restarts")
  }
}

export class Registry extends DurableObject {
  put(value) {
    this.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS kept (value TEXT)")
    this.ctx.storage.sql.exec("INSERT INTO kept VALUES (?)", value)
  }
  values() {
    return this.ctx.storage.sql
      .exec("SELECT value FROM kept ORDER BY rowid")
      .toArray()
      .map((row) => row.value)
  }
}

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url)
    const value = searchParams.get("value")
    if (pathname !== "/healthz" && request.headers.get("authorization") !== `Bearer ${env.GATEWAY_SECRET}`)
      return new Response("", { status: 401 })
    switch (pathname) {
      case "/healthz":
        return Response.json({ ok: true })
      case "/bindings":
        return Response.json({
          previous: env.GATEWAY_SECRET_PREVIOUS ?? null,
          takeover: env.TAKEOVER ?? null,
          httpDomain: env.HTTP_DOMAIN ?? null,
        })
      case "/socket":
        return env.AGENT.getByName("agent").fetch(request)
      case "/v1/admin/drain":
        await env.AGENT.getByName("agent").drain()
        return Response.json({ drained: true })
      case "/put":
        await env.REGISTRY.getByName("registry").put(value)
        await env.KV.put("kept", value, { expirationTtl: 3600 })
        return Response.json({ ok: true })
      case "/get":
        return Response.json({ registry: await env.REGISTRY.getByName("registry").values(), kv: await env.KV.get("kept") })
      default:
        return new Response("", { status: 404 })
    }
  },
}
