/**
 * What other Workers of the account bind to: `env.AGENTS.fetch("http://3000--build-7/…")` and `env.AGENTS.connect("build-7:5432")`. Having the binding is the
 * permission; its `props` may narrow it.
 */
import { WorkerEntrypoint } from "cloudflare:workers"
import { type EndpointName, type Principal, TunnelError } from "@trunkline/protocol"
import { unexpected } from "./answer.ts"
import { gatewayPrincipal } from "./auth.ts"
import type { Env } from "./env.ts"
import { agentFor } from "./http-edge/dial-agent.ts"
import { forwardedHeaders } from "./http-edge/forwarded-headers.ts"
import { inLargePieces } from "./http-edge/request-body-stream.ts"
import { type Service, serviceOf, serviceOfLabel } from "./http-edge/service-address.ts"
import { serviceFailure } from "./http-edge/service-failure.ts"
import { passToService } from "./http-edge/service-request.ts"

/** What a binding may be narrowed to. */
export interface AgentsProps {
  /** As a token's: `http`, `http:3000`, `tcp`, `tcp:localhost:5432`. */
  readonly scopes?: readonly string[]
  /** Names of agents, with `*` for any part. */
  readonly agents?: readonly string[]
}

export class Agents extends WorkerEntrypoint<Env, AgentsProps | undefined> {
  /** The host of the URL is `PORT--NAME`, with any domain behind it, or `NAME:PORT`. Never rejects: failures are answers with a `trunkline-error`. */
  override async fetch(request: Request): Promise<Response> {
    let service: Service | undefined
    try {
      const url = new URL(request.url)
      const [label = ""] = url.hostname.split(".")
      const labelled = serviceOfLabel(label)
      service = labelled ?? serviceOf(url.hostname, url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port)
      if (service === undefined)
        throw new TunnelError("not-found", `"${url.host}" names no service: the host is PORT--NAME, such as 3000--build-7, or NAME:PORT`)
      const principal = this.#principal(service.agent)
      const askedHost = request.headers.get("host") ?? url.host
      const headers = forwardedHeaders(request.headers, {
        host: labelled === undefined ? `localhost:${service.port}` : url.host,
        askedHost,
        scheme: url.protocol === "https:" ? "https" : "http",
        client: undefined,
      })
      return await passToService(
        request,
        { service, principal, path: `${url.pathname}${searchOf(request.url)}`, headers },
        this.env,
        this.ctx,
      )
    } catch (error) {
      const requestId = crypto.randomUUID()
      return serviceFailure(error instanceof TunnelError ? error : unexpected(error, requestId), { request, requestId, service })
    }
  }

  /**
   * `NAME:PORT`: TCP to that port on the agent's loopback, each direction with an end of its own. The platform has no way to tell the caller of a connection that
   * cannot be made, or breaks off: it ends like any other, and the log has the reason.
   */
  override async connect(socket: Socket): Promise<void> {
    const { localAddress = "" } = await socket.opened
    try {
      await this.#carry(socket, localAddress)
    } catch (error) {
      const { code, message } = error instanceof TunnelError ? error : { code: "internal", message: String(error) }
      console.warn("connection.failed", { address: localAddress, code, message })
    }
  }

  async #carry(socket: Socket, address: string): Promise<void> {
    const [, name = "", digits = ""] = /^(.*):(\d+)$/.exec(address) ?? []
    const service = serviceOf(name, digits)
    if (service === undefined) throw new TunnelError("bad-request", `"${address}" names no port of an agent: connect to NAME:PORT`)
    const agent = agentFor({ env: this.env, ctx: this.ctx }, service.agent, this.#principal(service.agent), new URL("https://gateway/"))
    try {
      const target = await agent.connect({ port: service.port })
      await Promise.all([inLargePieces(socket.readable).pipeTo(target.writable), target.readable.pipeTo(socket.writable)])
      // The end of the link must not take along what was said last.
      await agent.ping()
    } finally {
      agent.close()
    }
  }

  /** Throws `denied`. Scopes are the agent's to check. */
  #principal(agent: EndpointName): Principal {
    const { scopes, agents } = this.ctx.props ?? {}
    if (agents !== undefined && !agents.some((pattern) => matches(pattern, agent)))
      throw new TunnelError("denied", `this binding is not for the agent "${agent}": its props allow ${agents.join(", ")}`)
    return scopes === undefined ? gatewayPrincipal : { id: "worker", scopes: [...scopes] }
  }
}

/** With the mark of an empty query, which a parsed URL leaves out. */
const searchOf = (url: string): string => /\?[^#]*/.exec(url)?.[0] ?? ""

const matches = (pattern: string, name: string): boolean =>
  new RegExp(
    `^${pattern
      .split("*")
      .map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&"))
      .join(".*")}$`,
  ).test(name)
