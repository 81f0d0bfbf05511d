/** The kind `tcp` at the agent (SPEC KT). */
import { checkBody, type MuxStream, type TcpAccept, targetText, tcpOpenSchema } from "@trunkline/protocol"
import { connectHops } from "../targets/connect-hops.ts"
import type { OwnerPolicy } from "../targets/owner-policy.ts"
import { joinSocket } from "./socket-stream.ts"
import { whileOffered } from "./while-offered.ts"

/** Rejects with TunnelError or InvalidBody for what cannot be connected to. */
export async function serveTcp(stream: MuxStream, body: unknown, policy: Pick<OwnerPolicy, "hops">): Promise<void> {
  const { target } = checkBody(tcpOpenSchema, body)
  const what = targetText(target)
  const hops = await policy.hops(target, "tcp")
  const { socket, hop } = await whileOffered(stream, (signal) => connectHops(hops, what, signal))
  const answer: TcpAccept = hop.type === "tcp" ? { address: hop.address } : {}
  joinSocket(stream, socket, answer, what)
}
