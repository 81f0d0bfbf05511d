/** The entry of the SDK: a gateway, by URL and token. */
import { type Clock, endpointName, endpointNameRule, TunnelError } from "@trunkline/protocol"
import { Agent } from "./agent.ts"
import type { Dial } from "./dial.ts"
import { Endpoints } from "./endpoints.ts"
import { type HttpAccess, httpAccess } from "./http-access.ts"
import { systemClock } from "./runtime.ts"
import { dialWeb } from "./transports/web.ts"

export interface ConnectOptions {
  /** The gateway's URL, `http:` or `https:`. */
  readonly url: string | URL
  /** The gateway secret or a token. Sent in headers alone. */
  readonly token: string
  /** How sockets are opened; standard WebSocket by default, which every runtime has. */
  readonly dial?: Dial
  readonly fetch?: typeof fetch
  readonly clock?: Clock
  /** Milliseconds an agent's link is kept without a stream; 1,000 by default, so that a script ends soon after its last call. */
  readonly idleMs?: number
}

const defaultIdleMs = 1_000

export class Gateway {
  readonly url: URL
  readonly endpoints: Endpoints
  readonly #options: ConnectOptions
  readonly #agents = new Map<string, Agent>()

  constructor(options: ConnectOptions) {
    this.#options = options
    this.url = gatewayUrl(options.url)
    if (options.token === "") throw new TunnelError("unauthorised", "the token is empty")
    if (!/^[\x21-\x7e]+$/.test(options.token))
      throw new TunnelError("unauthorised", "the token holds a character that no token has, such as a line end")
    this.endpoints = new Endpoints({ url: this.url, token: options.token, fetch: options.fetch ?? fetch })
  }

  /** A handle; nothing is dialled until it is used. The same name gives the same handle. Throws `bad-name`. */
  agent(name: string): Agent {
    if (endpointName(name) === undefined) throw new TunnelError("bad-name", `"${name}" is not an endpoint name: ${endpointNameRule}`)
    let agent = this.#agents.get(name)
    if (agent === undefined) {
      agent = new Agent(name, {
        gateway: this.url,
        token: this.#options.token,
        dial: this.#options.dial ?? dialWeb(this.#options.fetch ?? fetch),
        clock: this.#options.clock ?? systemClock,
        idleMs: this.#options.idleMs ?? defaultIdleMs,
      })
      this.#agents.set(name, agent)
    }
    return agent
  }

  /** The URLs of an agent's HTTP service, with a way in for one browser. Rejects with TunnelError. */
  httpAccess(name: string, port: number): Promise<HttpAccess> {
    return httpAccess({ url: this.url, token: this.#options.token, fetch: this.#options.fetch ?? fetch }, name, port)
  }

  /** Ends every link. */
  close(): void {
    for (const agent of this.#agents.values()) agent.close()
    this.#agents.clear()
  }
}

/** Nothing is sent before the first call. Throws `bad-request` for a URL that is none, `unauthorised` for a token that cannot be one. */
export const connect = (options: ConnectOptions): Gateway => new Gateway(options)

function gatewayUrl(value: string | URL): URL {
  let url: URL
  try {
    url = new URL(value)
  } catch {
    throw new TunnelError("bad-request", `"${String(value)}" is not a URL; a gateway's looks like https://gateway.example.com`)
  }
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new TunnelError("bad-request", `a gateway's URL starts with http: or https:, not ${url.protocol}`)
  if (url.username !== "" || url.password !== "" || url.search !== "")
    throw new TunnelError("bad-request", "a gateway's URL holds no credentials and no query")
  if (!url.pathname.endsWith("/")) url.pathname += "/"
  return url
}
