/** A gateway on loopback with one agent, `box`, inside: commands in processes of their own reach real services through it, by real sockets. */
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { systemClock } from "@trunkline/client/runtime"
import {
  encodeControl,
  type MuxStream,
  type Principal,
  pongText,
  silentLogger,
  type TransportEvents,
  TunnelError,
} from "@trunkline/protocol"
import { AgentEnd } from "@trunkline/protocol/testing"
import { WebSocketServer } from "ws"
import { dispatch } from "../../src/agent/dispatch.ts"
import type { ProcessTable } from "../../src/processes/process-table.ts"
import { HttpServices } from "../../src/services/http.ts"
import { Listeners } from "../../src/services/listeners.ts"
import { OwnerPolicy } from "../../src/targets/owner-policy.ts"
import { defaultPolicySettings, type PolicySettings } from "../../src/targets/policy-settings.ts"

const noProcesses = undefined as unknown as ProcessTable

export class LinkGateway {
  readonly url: string
  /** A home for the commands. */
  readonly home = mkdtempSync(join(tmpdir(), "link-gateway-"))
  settings: PolicySettings = defaultPolicySettings
  /** What tickets for services are answered with. */
  ticket: object = { ticket: "t.t", expiresAt: 1, url: null, enterUrl: null }
  /** Bodies of requests for tickets. */
  readonly asked: string[] = []
  readonly #server: Server
  readonly #http = new HttpServices()
  readonly #listeners = new Listeners(silentLogger)
  readonly #sockets = new Set<Socket>()
  readonly #end = new AgentEnd(() => ({ link: { clock: systemClock }, offered: (stream, body) => this.#serve(stream, body) }))

  private constructor(server: Server) {
    this.#server = server
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const links = new WebSocketServer({ noServer: true, maxPayload: 2_097_152, handleProtocols: () => "trunkline.v1" })
    server.on("connection", (socket) => {
      this.#sockets.add(socket)
      socket.on("close", () => this.#sockets.delete(socket))
    })
    server.on("upgrade", (request, socket, head) => {
      if (request.url !== "/v1/agents/box/link" || request.headers.authorization !== "Bearer s3cret") {
        const error = { code: "agent-unknown", message: "there is no such agent" }
        return void socket.end(`HTTP/1.1 404 No\r\nconnection: close\r\n\r\n${JSON.stringify({ error })}`)
      }
      links.handleUpgrade(request, socket, head, (link) => {
        const events: TransportEvents = this.#end.attach({
          get bufferedBytes() {
            return link.bufferedAmount
          },
          send: (message) => link.send(message.slice(), () => events.drained()),
          close: (code, reason) => link.close(code, reason),
        })
        link.on("message", (data, binary) => {
          if (!binary) link.send(pongText)
          else if (data instanceof Buffer) events.message(data)
        })
        link.on("close", (code, reason) => events.closed(code, reason.toString()))
        link.send(encodeControl({ type: "ready", protocol: 1, agent: "here", generation: 1, instance: "i", version: "v" }))
      })
    })
    server.on("request", async (request, response) => {
      let body = ""
      for await (const chunk of request) body += chunk
      this.asked.push(`${request.method} ${request.url} ${body}`)
      response.writeHead(201, { "content-type": "application/json" }).end(JSON.stringify(this.ticket))
    })
  }

  static async start(): Promise<LinkGateway> {
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    return new LinkGateway(server)
  }

  get environment(): Record<string, string> {
    const { PATH: path = "" } = process.env
    return { PATH: path, HOME: this.home, XDG_CONFIG_HOME: this.home, TRUNKLINE_GATEWAY: this.url, TRUNKLINE_SECRET: "s3cret" }
  }

  async stop(): Promise<void> {
    for (const { mux } of this.#end.links.values()) mux.link.end(new TunnelError("aborted", "the test is over"))
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, "close")
    rmSync(this.home, { recursive: true, force: true })
  }

  #serve(stream: MuxStream, body: unknown): void {
    dispatch(stream, body, { id: "me", scopes: ["admin"] } as unknown as Principal, {
      logger: silentLogger,
      processes: noProcesses,
      listeners: this.#listeners,
      http: this.#http,
      policy: () => new OwnerPolicy(this.settings),
      draining: () => false,
    })
  }
}
