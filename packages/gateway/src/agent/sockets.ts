/**
 * Every use of the hibernation socket API. What bites, and is settled here:
 * - the runtime keeps CLOSING sockets in its list: only OPEN ones that were not retired are ever chosen;
 * - a hibernatable socket's close must be answered by hand, or the peer waits ten seconds and sees 1006;
 * - reserved close codes and long reasons throw: they are replaced and cut;
 * - roles live in attachments and are cached per wake, because reading one for each message would cost more than the relay.
 */
import { closeCodes, pingText, pongText, type Slot } from "@trunkline/protocol"
import { decodeRole, encodeRole, type SocketRole } from "./attachment.ts"
import { slotTag } from "./slots.ts"

type RoleOf<Type extends SocketRole["type"]> = Extract<SocketRole, { type: Type }>

/** An open socket and what it is. */
export interface Leg<Type extends SocketRole["type"]> {
  readonly socket: WebSocket
  readonly role: RoleOf<Type>
}

const agentTag = "agent"
const clientTag = "client"
const reasonBytesMax = 123

export class Sockets {
  readonly #ctx: DurableObjectState
  readonly #roles = new WeakMap<WebSocket, SocketRole>()

  constructor(ctx: DurableObjectState) {
    this.#ctx = ctx
    // Held in memory only, so it is set on every wake.
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(pingText, pongText))
  }

  /** Takes an agent's socket that has still to say hello. */
  acceptAgent(socket: WebSocket, role: RoleOf<"pending">): void {
    this.#ctx.acceptWebSocket(socket, [agentTag])
    this.assign(socket, role)
  }

  acceptClient(socket: WebSocket, role: RoleOf<"client">): void {
    this.#ctx.acceptWebSocket(socket, [clientTag, slotTag(role.slot)])
    this.assign(socket, role)
  }

  /** What the socket is; undefined if another version of this code accepted it. */
  role(socket: WebSocket): SocketRole | undefined {
    const cached = this.#roles.get(socket)
    if (cached !== undefined) return cached
    const role = decodeRole(socket.deserializeAttachment())
    if (role !== undefined) this.#roles.set(socket, role)
    return role
  }

  assign(socket: WebSocket, role: SocketRole): void {
    socket.serializeAttachment(encodeRole(role))
    this.#roles.set(socket, role)
  }

  pending(): Leg<"pending">[] {
    return this.#open(agentTag, "pending")
  }

  /** The open agent socket of this generation. */
  agent(generation: number): Leg<"agent"> | undefined {
    return this.#open(agentTag, "agent").find((leg) => leg.role.generation === generation)
  }

  clients(): Leg<"client">[] {
    return this.#open(clientTag, "client")
  }

  client(slot: Slot): Leg<"client"> | undefined {
    return this.#open(slotTag(slot), "client")[0]
  }

  isOpen(socket: WebSocket): boolean {
    return socket.readyState === WebSocket.OPEN
  }

  bufferedBytes(socket: WebSocket): number {
    // The type says it is always there; deployed runtimes may be older.
    const bytes: number | undefined = socket.bufferedAmount
    return bytes ?? 0
  }

  /** Epoch milliseconds of the last ping the runtime answered on this socket; 0 for none. */
  pongedAt(socket: WebSocket): number {
    return this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0
  }

  send(socket: WebSocket, message: string | Uint8Array): void {
    if (!this.isOpen(socket)) return
    try {
      socket.send(message)
    } catch {
      // It closed under us; its close event does what is to be done.
    }
  }

  /** Closes from this side. Later messages and the close event find a retired socket. */
  retire(socket: WebSocket, code: number, reason: string): void {
    this.assign(socket, { type: "retired" })
    this.#close(socket, code, reason)
  }

  #close(socket: WebSocket, code: number, reason: string): void {
    try {
      socket.close(sendableCode(code), cutReason(reason))
    } catch {
      // Already closed.
    }
  }

  #open<Type extends SocketRole["type"]>(tag: string, type: Type): Leg<Type>[] {
    const legs: Leg<Type>[] = []
    for (const socket of this.#ctx.getWebSockets(tag)) {
      if (!this.isOpen(socket)) continue
      const role = this.role(socket)
      if (role !== undefined && isType(role, type)) legs.push({ socket, role })
    }
    return legs
  }
}

const isType = <Type extends SocketRole["type"]>(role: SocketRole, type: Type): role is RoleOf<Type> => role.type === type

/** The code itself where a peer may send it; 1005, 1006, 1015 and the unassigned ones become 1000. */
export function sendableCode(code: number): number {
  const protocolCode = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
  return protocolCode || (code >= 3000 && code <= 4999) ? code : closeCodes.normal
}

/** The longest start of the reason that fits in a close frame, cut between characters. */
export function cutReason(reason: string): string {
  const bytes = new TextEncoder().encode(reason)
  if (bytes.byteLength <= reasonBytesMax) return reason
  let end = reasonBytesMax
  // 10xxxxxx continues a character: step back to where one starts.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1
  return new TextDecoder().decode(bytes.subarray(0, end))
}
