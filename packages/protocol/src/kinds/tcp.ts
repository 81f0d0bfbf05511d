/** The kind `tcp`: a connection that the agent makes to a TCP port or a unix socket, byte for byte, each half with an end of its own (SPEC KT). */
import * as v from "valibot"
import { streamTargetSchema } from "./target.ts"

export const tcpOpenSchema = v.object({ target: streamTargetSchema })
export type TcpOpen = v.InferOutput<typeof tcpOpenSchema>

/** Comes once the connection is made. `address` is the IP address that the agent has connected to; of a unix socket there is none. */
export const tcpAcceptSchema = v.object({ address: v.optional(v.string()) })
export type TcpAccept = v.InferOutput<typeof tcpAcceptSchema>

/** The one DATA tag, both ways. */
export const tcpTag = 0
