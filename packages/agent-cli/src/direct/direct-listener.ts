/**
 * This machine's own listener: the gateway's link route for clients who dial the agent itself, or for a gateway that dials it at the URL
 * under which something publishes it. Refusals come in the gateway's order and words. It outlives keepers, so that nobody takes
 * the address in between.
 */
import { once } from "node:events"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import {
  closeCodes,
  type EndpointName,
  type Logger,
  limits,
  type Offer,
  type Principal,
  protocolVersion,
  readOffer,
  TunnelError,
} from "@trunkline/protocol"
import { type ServerOptions, type WebSocket, WebSocketServer } from "ws"
import { formatAddress, localUrl } from "../gateway-local/listen-address.ts"
import { readHost } from "../targets/address.ts"
import { isLoopback } from "../targets/network.ts"
import type { Access } from "./access.ts"
import { answerError, answerJson, answerPreflight, closeTimeoutMs, refuseUpgrade } from "./answer.ts"
import { type ApiRoute, DirectApi, type DirectApiOptions, type DirectPresence, readName, requireOurs } from "./direct-api.ts"
import type { DirectClients } from "./direct-clients.ts"
import { listenFailure } from "./listen-failure.ts"

export interface DirectListenerOptions {
  readonly host: string
  /** 0 takes any free one. */
  readonly port: number
  readonly name: EndpointName
  readonly version: string
  readonly access: Access
  readonly logger: Logger
  /** The API for clients without a gateway; behind a published URL only a gateway comes, which needs none. */
  readonly api?: Omit<DirectApiOptions, "name" | "version" | "presence" | "callerOf">
}

/** Connections besides those of clients: health checks, calls, and those that are to hear why they are refused. */
const otherConnectionsMax = 128
/** Milliseconds between looks at connections that take too long over a request. */
const lookMs = 1_000

type Phase =
  /** No keeper is there, yet or any more. */
  | { readonly type: "away" }
  | { readonly type: "open"; readonly clients: DirectClients; readonly since: number; readonly instance: string }
  | { readonly type: "draining"; readonly clients: DirectClients | undefined }

export class DirectListener {
  /** Where this machine reaches it. */
  readonly url: string
  /** Whether this machine alone does. */
  readonly isLocal: boolean
  readonly #options: DirectListenerOptions
  readonly #server: Server
  readonly #sockets: WebSocketServer
  readonly #api: DirectApi | undefined
  #phase: Phase = { type: "away" }

  private constructor(options: DirectListenerOptions, server: Server) {
    this.#options = options
    this.#server = server
    const { name, version, api } = options
    const presence = () => this.#presence()
    const callerOf = (request: IncomingMessage) => this.#callerOf(request)
    this.#api = api === undefined ? undefined : new DirectApi({ ...api, name, version, presence, callerOf })
    const { address, port } = server.address() as AddressInfo
    this.url = localUrl(options.host, port)
    const host = readHost(address)
    this.isLocal = host?.type === "address" && isLoopback(host.address)
    const socketOptions: ServerOptions & { readonly closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: limits.messageBytesMax,
      // A flood of pings is answered no further than there is room.
      autoPong: false,
      handleProtocols: (_protocols, request) => offerOf(request).answer ?? false,
      closeTimeout: closeTimeoutMs,
    }
    this.#sockets = new WebSocketServer(socketOptions)
    server.on("request", (request, response) => void this.#answer(request, response))
    server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head))
  }

  /** Rejects with `address-in-use`, or `bad-request` for an address that cannot be listened on. */
  static async listen(options: DirectListenerOptions): Promise<DirectListener> {
    const server = createServer({
      headersTimeout: limits.handshakeMs,
      requestTimeout: limits.handshakeMs,
      connectionsCheckingInterval: lookMs,
    })
    server.maxConnections = limits.clientsMax + otherConnectionsMax
    try {
      server.listen({ host: options.host, port: options.port })
      await once(server, "listening")
    } catch (error) {
      throw listenFailure(formatAddress(options.host, options.port), error)
    }
    return new DirectListener(options, server)
  }

  /** Clients may come. */
  open(clients: DirectClients, instance: string): void {
    this.#phase = { type: "open", clients, since: this.#options.api?.epochMs() ?? 0, instance }
  }

  /** Until there is another keeper. */
  away(): void {
    this.#phase = { type: "away" }
  }

  /** No new clients. */
  drain(): void {
    this.#phase = { type: "draining", clients: this.#phase.type === "open" ? this.#phase.clients : undefined }
  }

  /** Resolves when the address is free. Clients are to be closed before. */
  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, "close")
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const { pathname, searchParams } = urlOf(request)
      const route = this.#routeOf(pathname)
      if (route === undefined) throw new TunnelError("not-found", `there is nothing at ${pathname}: this is an agent, not a gateway`)
      const { method, answer } = route
      if (request.method === "OPTIONS") return answerPreflight(response, method)
      if (request.method !== method && !(request.method === "HEAD" && method === "GET"))
        return answerError(response, new TunnelError("method-not-allowed", `${request.method} is not possible here, only ${method}`), {
          allow: method,
        })
      await answer(request, response, searchParams)
    } catch (error) {
      if (!(error instanceof TunnelError)) {
        if (!request.complete) return void response.destroy()
        this.#options.logger.error("direct.failed", { error: String(error) })
      }
      answerError(response, error instanceof TunnelError ? error : new TunnelError("internal", "the agent failed on this request"))
    }
  }

  #routeOf(pathname: string): ApiRoute | undefined {
    if (pathname === "/healthz")
      return { method: "GET", answer: (_, response) => answerJson(response, 200, { ok: true, version: this.#options.version }) }
    const link = linkPattern.exec(pathname)?.[1]
    if (link === undefined) return this.#api?.routeOf(pathname)
    const answer = (request: IncomingMessage) => {
      readName(link)
      this.#principalOf(request)
      throw new TunnelError("upgrade-required", "this is a WebSocket: send `Upgrade: websocket`")
    }
    return { method: "GET", answer }
  }

  #presence(): DirectPresence {
    const phase = this.#phase
    switch (phase.type) {
      case "open":
        return { status: "online", since: phase.since, instance: phase.instance, clients: phase.clients.count }
      case "draining":
        return { status: "draining" }
      case "away":
        return { status: "offline" }
    }
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Whoever leaves in the middle of it is no fault of ours.
    socket.on("error", () => socket.destroy())
    try {
      const text = linkPattern.exec(urlOf(request).pathname)?.[1]
      if (text === undefined) throw new TunnelError("not-found", "there is no WebSocket at this path: an agent has its link route alone")
      const given = readName(text)
      const principal = this.#principalOf(request)
      if (request.headers.upgrade?.toLowerCase() !== "websocket")
        throw new TunnelError("upgrade-required", "this is a WebSocket: send `Upgrade: websocket`")
      const { supported, answer } = offerOf(request)
      if (!supported && answer !== undefined)
        return this.#handshake(request, socket, head, (client) => {
          // What it says in answer is for nobody, and may be no frame.
          client.on("error", () => {})
          client.close(closeCodes.version, `this agent speaks trunkline.v${protocolVersion} only`)
        })
      requireOurs(given, this.#options.name)
      const clients = this.#admit()
      this.#handshake(request, socket, head, (client) => clients.accept(client, principal))
    } catch (error) {
      refuseUpgrade(request, socket, error instanceof TunnelError ? error : new TunnelError("internal", "the agent failed on this request"))
      if (!(error instanceof TunnelError)) this.#options.logger.error("direct.failed", { error: String(error) })
    }
  }

  #handshake(request: IncomingMessage, socket: Duplex, head: Buffer, opened: (client: WebSocket) => void): void {
    this.#sockets.handleUpgrade(request, socket, head, (client) => opened(client))
  }

  #admit(): DirectClients {
    const phase = this.#phase
    const { name } = this.#options
    switch (phase.type) {
      case "away":
        throw new TunnelError("agent-away", `the agent "${name}" starts again: try again soon`)
      case "draining":
        throw new TunnelError("agent-draining", `the agent "${name}" is about to stop and takes no new clients: retry when it is back`)
      case "open":
        if (phase.clients.count < limits.clientsMax) return phase.clients
        throw new TunnelError(
          "too-many-clients",
          `"${name}" has ${phase.clients.count} clients, the limit is ${limits.clientsMax}: retry later`,
        )
    }
  }

  #principalOf(request: IncomingMessage): Principal {
    const { ticket } = offerOf(request)
    const { api } = this.#options
    if (request.headers.authorization === undefined && ticket !== undefined && api !== undefined) return api.tickets.use(ticket)
    return this.#callerOf(request)
  }

  #callerOf(request: IncomingMessage): Principal {
    const { authorization } = request.headers
    if (authorization === undefined)
      throw new TunnelError("unauthorised", "no credential: send `Authorization: Bearer …`; a credential in the URL is never read")
    const bearer = /^Bearer +(.+)$/i.exec(authorization)?.[1]
    if (bearer === undefined) throw new TunnelError("unauthorised", "the Authorization header is not `Bearer …`")
    return this.#options.access.check(bearer)
  }
}

const linkPattern = /^\/v1\/agents\/([^/]*)\/link$/

const offerOf = (request: IncomingMessage): Offer => readOffer(request.headers["sec-websocket-protocol"] ?? null)

/** Throws `bad-request` for what is no path. */
function urlOf(request: IncomingMessage): URL {
  const url = URL.parse(request.url ?? "", "http://agent")
  if (url === null) throw new TunnelError("bad-request", "the request's path is malformed")
  return url
}
