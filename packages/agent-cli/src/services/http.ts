/** The kind `http` at the agent (SPEC KH): a request is checked, a connection found for it, and both handed to an exchange. */
import { checkBody, httpOpenSchema, type MuxStream, TunnelError, targetText } from "@trunkline/protocol"
import type { OwnerPolicy } from "../targets/owner-policy.ts"
import { type ServicePlace, serverNameOf } from "./connect-service.ts"
import { HttpExchange } from "./http-exchange.ts"
import { requestHead } from "./http-request-head.ts"
import { ServiceConnections } from "./service-connections.ts"
import { whileOffered } from "./while-offered.ts"

/** RFC 9110 9.2.2. */
const idempotent: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])

/** One for an agent: it keeps connections to services for the next request. */
export class HttpServices {
  readonly #connections = new ServiceConnections()

  /** Rejects with TunnelError or InvalidBody for a request that cannot be sent. */
  async serve(stream: MuxStream, body: unknown, policy: Pick<OwnerPolicy, "service" | "hops" | "firstByteMs" | "idleMs">): Promise<void> {
    const open = checkBody(httpOpenSchema, body)
    const what = targetText(open.target)
    const service = policy.service(open.target)
    const head = requestHead(open, service.target, service.tls !== undefined)
    // Asked for each request, also for one that will find a connection: what is denied is denied at once.
    const hops = await policy.hops(service.target, "http")
    const host = open.headers.find(([name]) => name.toLowerCase() === "host")?.[1]
    const place: ServicePlace = { what, hops, tls: service.tls, serverName: serverNameOf(service, host) }
    const { method, path, bodyBytes } = open
    const twice = idempotent.has(method) && (bodyBytes ?? 0) === 0 && bodyBytes !== null
    const connection =
      this.#connections.take(place, twice) ?? (await whileOffered(stream, (signal) => this.#connections.connect(place, signal)))
    const exchange = new HttpExchange(stream, {
      what,
      method,
      path,
      head,
      bodyBytes,
      firstByteMs: shorter(open.firstByteMs ?? 0, policy.firstByteMs),
      idleMs: policy.idleMs,
      again: twice ? (signal) => this.#connections.connect(place, signal) : undefined,
    })
    // In this order: what has come of the body is given out with the accept. Nothing is on its way before the next turn.
    exchange.send(connection)
    // Nobody waits to hear that the request may be sent: it is on its way.
    if (!stream.accept({}, exchange, { unhurried: true })) exchange.closed(new TunnelError("aborted", "the client has left"))
  }
}

/** Of two limits, 0 for none. */
const shorter = (one: number, other: number): number => (one === 0 || other === 0 ? one + other : Math.min(one, other))
