/** What a stream of the agent is connected to: a TCP port, a unix socket, or a service by its port (SPEC KT, KH). */
import * as v from "valibot"

/** A TCP port. */
export const portSchema = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535))

/** A host name or an IP address, without brackets; what the agent's resolver makes of a name counts. DNS names have 253 characters at most. */
export const hostSchema = v.pipe(
  v.string(),
  v.minLength(1, "the host is empty"),
  v.maxLength(253, "a host has at most 253 characters"),
  v.regex(/^[A-Za-z0-9._:%-]+$/, "not a host name or an IP address"),
)

/** The path of a unix socket. 107 bytes fit in an address of Linux, 103 of macOS. */
export const socketPathSchema = v.pipe(
  v.string(),
  v.regex(/^\/[^\0]*$/, "the path of a unix socket begins with / and holds no NUL"),
  v.check((path) => new TextEncoder().encode(path).byteLength <= 107, "the path of a unix socket has at most 107 bytes"),
)

/** TCP as the agent sees it, or a unix socket there. */
export const streamTargetSchema = v.union(
  [v.object({ host: hostSchema, port: portSchema }), v.object({ path: socketPathSchema })],
  "expected a host and a port, or a path",
)
export type StreamTarget = v.InferOutput<typeof streamTargetSchema>

/** TLS to a service. Without `verify` any certificate will do. */
const tlsSchema = v.object({ verify: v.optional(v.boolean(), true) })

/**
 * Where HTTP is spoken at the agent: `{ service }` is a port number for which the machine's owner may have named another place, and which otherwise is
 * that port on loopback; the others say it themselves.
 */
export const httpTargetSchema = v.union(
  [
    v.object({ service: portSchema }),
    v.object({ host: hostSchema, port: portSchema, tls: v.optional(tlsSchema) }),
    v.object({ path: socketPathSchema, tls: v.optional(tlsSchema) }),
  ],
  "expected a service's port, a host and a port, or a path",
)
export type HttpTarget = v.InferOutput<typeof httpTargetSchema>

/** `host:port`, with brackets where the host is an IPv6 address, or the path. */
export function targetText(target: StreamTarget | HttpTarget): string {
  if ("service" in target) return `port ${target.service}`
  if ("path" in target) return target.path
  return `${target.host.includes(":") ? `[${target.host}]` : target.host}:${target.port}`
}
