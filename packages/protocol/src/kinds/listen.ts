/**
 * The kinds `listen` and `accept`: a listener at the agent whose connections go to the client (SPEC KR). The client is told of each
 * connection and opens a stream for it: only clients open streams.
 */
import * as v from "valibot"
import { hostSchema, socketPathSchema } from "./target.ts"

/** Random; knowing it is no right: the connections are for the principal that opened the listener. */
const listenerIdSchema = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{16,64}$/, "not a listener's id"))
const connectionNumberSchema = v.pipe(v.number(), v.integer(), v.minValue(1))

/** Where to listen: port 0 takes any free one. */
export const listenAddressSchema = v.union(
  [
    v.object({ host: hostSchema, port: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535)) }),
    v.object({ path: socketPathSchema }),
  ],
  "expected a host and a port, or a path",
)
export type ListenAddress = v.InferOutput<typeof listenAddressSchema>

export const listenOpenSchema = v.object({ address: listenAddressSchema })
export type ListenOpen = v.InferOutput<typeof listenOpenSchema>

/** It listens, at this address; for as long as the stream is open. */
export const listenAcceptSchema = v.object({ listener: listenerIdSchema, address: listenAddressSchema })
export type ListenAccept = v.InferOutput<typeof listenAcceptSchema>

/** MESSAGE from agent to client: somebody has connected, and waits. */
export const incomingSchema = v.object({
  type: v.literal("incoming"),
  connection: connectionNumberSchema,
  /** Who it is: an IP address and a port; of a unix socket nothing is known. */
  from: v.optional(v.object({ address: v.string(), port: v.number() })),
})
export type Incoming = v.InferOutput<typeof incomingSchema>

/** Takes one that waits. DATA and its tag are as in `tcp`. */
export const acceptOpenSchema = v.object({ listener: listenerIdSchema, connection: connectionNumberSchema })
export type AcceptOpen = v.InferOutput<typeof acceptOpenSchema>
