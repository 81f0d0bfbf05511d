/**
 * What a SOCKS client says before its bytes begin, taken apart as they come: version 5 (RFC 1928) without authentication, and the CONNECT of 4 and 4a, which old programs
 * speak. Pure; what it holds is bounded by what a request can be.
 */
import { isIPv6, SocketAddress } from "node:net"
import { hostSchema, type TunnelError } from "@trunkline/protocol"
import * as v from "valibot"

export interface SocksTarget {
  readonly host: string
  readonly port: number
}

type SocksVersion = 4 | 5

export type SocksVerdict =
  /** `reply` is to be sent, then more bytes are needed. */
  | { readonly type: "more"; readonly reply?: Uint8Array }
  /** `reply` is to be sent before the answer to the request; `rest` are bytes of the connection itself. */
  | {
      readonly type: "connect"
      readonly version: SocksVersion
      readonly target: SocksTarget
      readonly rest: Uint8Array
      readonly reply?: Uint8Array
    }
  /** `reply` is the last to be sent; `why` is for the user who has set up the program. */
  | { readonly type: "refuse"; readonly reply: Uint8Array; readonly why: string }

const encoder = new TextEncoder()

/** RFC 1928, section 6. */
export const socksReplies = {
  succeeded: 0,
  failed: 1,
  denied: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  refused: 5,
  expired: 6,
  commandUnsupported: 7,
  addressUnsupported: 8,
} as const
export type SocksReply = (typeof socksReplies)[keyof typeof socksReplies]

/** Ends the handshake. The address our side is bound to is the agent's affair: zeros, as ssh answers. */
export function encodeReply(version: SocksVersion, reply: SocksReply): Uint8Array {
  return version === 5
    ? Uint8Array.of(5, reply, 0, 1, 0, 0, 0, 0, 0, 0)
    : Uint8Array.of(0, reply === socksReplies.succeeded ? 90 : 91, 0, 0, 0, 0, 0, 0)
}

/** What a connection that failed is to a SOCKS client. */
export function replyOf({ code }: TunnelError): SocksReply {
  switch (code) {
    case "denied":
    case "unauthorised":
      return socksReplies.denied
    case "service-refused":
      return socksReplies.refused
    case "service-unreachable":
      return socksReplies.hostUnreachable
    case "service-timeout":
    case "timeout":
      return socksReplies.expired
    case "agent-unknown":
    case "agent-away":
    case "agent-offline":
    case "agent-draining":
    case "agent-stopped":
    case "agent-replaced":
    case "agent-restarted":
    case "link-lost":
    case "gateway-unreachable":
      return socksReplies.networkUnreachable
    default:
      return socksReplies.failed
  }
}

const more = { type: "more" } as const
const nothing = new Uint8Array(0)

/** Of version 4: bytes before the user's name, and of each of the two texts, the longest that RFC 1928 gives a domain. */
const head4Bytes = 8
const text4BytesMax = 255

export class SocksHandshake {
  #held: Uint8Array = nothing
  #greeted = false

  /** Bytes in the order they came. Not to be called again after a verdict other than `more`. */
  take(bytes: Uint8Array): SocksVerdict {
    this.#held = this.#held.byteLength === 0 ? bytes : joined(this.#held, bytes)
    const [version] = this.#held
    if (version === undefined) return more
    if (this.#greeted) return this.#request5()
    if (version === 5) return this.#greeting()
    if (version === 4) return this.#request4()
    // Every method of HTTP begins with a capital.
    if (version >= 0x41 && version <= 0x5a)
      return { type: "refuse", reply: encoder.encode(httpAnswer), why: "it speaks HTTP: this port is a SOCKS5 proxy" }
    return { type: "refuse", reply: nothing, why: "it does not speak SOCKS" }
  }

  /** `05 count methods…` */
  #greeting(): SocksVerdict {
    const held = this.#held
    const [, count] = held
    if (count === undefined || held.byteLength < 2 + count) return more
    const noAuthentication = 0
    if (!held.subarray(2, 2 + count).includes(noAuthentication)) {
      return {
        type: "refuse",
        reply: Uint8Array.of(5, 0xff),
        why: "it insists on authentication, and here is none: leave out user name and password",
      }
    }
    this.#greeted = true
    this.#held = held.subarray(2 + count)
    const next = this.#held.byteLength === 0 ? more : this.#request5()
    const chosen = Uint8Array.of(5, noAuthentication)
    switch (next.type) {
      case "more":
        return { type: "more", reply: chosen }
      case "refuse":
        return { ...next, reply: joined(chosen, next.reply) }
      case "connect":
        return { ...next, reply: chosen }
    }
  }

  /** `05 command 00 type address port` */
  #request5(): SocksVerdict {
    const held = this.#held
    const [version, command, , type, nameBytes] = held
    if (version !== 5) return refuse5(socksReplies.failed, "it does not speak SOCKS5")
    // Whatever the address, nothing more is needed to refuse it.
    if (command !== undefined && command !== 1) return refuse5(socksReplies.commandUnsupported, refusedCommand(command))
    if (type === undefined) return more
    const addressAt = type === 3 ? 5 : 4
    const addressBytes = type === 1 ? 4 : type === 4 ? 16 : type === 3 ? nameBytes : 0
    if (addressBytes === undefined) return more
    if (addressBytes === 0)
      return refuse5(socksReplies.addressUnsupported, type === 3 ? "its target has no name" : `type ${type} of address is unknown`)
    const end = addressAt + addressBytes + 2
    if (held.byteLength < end) return more
    const address = held.subarray(addressAt, end - 2)
    const host = type === 1 ? address.join(".") : type === 4 ? ipv6Text(address) : nameText(address)
    const port = (held[end - 2] ?? 0) * 256 + (held[end - 1] ?? 0)
    if (host === undefined || port === 0)
      return refuse5(socksReplies.hostUnreachable, "its target is no host name and no address, or has no port")
    return { type: "connect", version: 5, target: { host, port }, rest: held.subarray(end) }
  }

  /** `04 command port address user 00`, and of 4a, which has an address 0.0.0.x, `name 00`. */
  #request4(): SocksVerdict {
    const held = this.#held
    const [, command, high = 0, low = 0] = held
    if (command !== undefined && command !== 1) return refuse4(refusedCommand(command))
    const userEnd = held.indexOf(0, head4Bytes)
    if (held.byteLength < head4Bytes || userEnd === -1) return tooLong(held, head4Bytes) ?? more
    const address = held.subarray(4, head4Bytes)
    const named = address.subarray(0, 3).every((byte) => byte === 0) && address[3] !== 0
    const end = named ? held.indexOf(0, userEnd + 1) : userEnd
    if (end === -1) return tooLong(held, userEnd + 1) ?? more
    const host = named ? nameText(held.subarray(userEnd + 1, end)) : address.join(".")
    const port = high * 256 + low
    if (host === undefined || port === 0) return refuse4("its target is no host name and no address, or has no port")
    return { type: "connect", version: 4, target: { host, port }, rest: held.subarray(end + 1) }
  }
}

const refuse5 = (reply: SocksReply, why: string): SocksVerdict => ({ type: "refuse", reply: encodeReply(5, reply), why })
const refuse4 = (why: string): SocksVerdict => ({ type: "refuse", reply: encodeReply(4, socksReplies.failed), why })

const tooLong = (held: Uint8Array, textAt: number): SocksVerdict | undefined =>
  held.byteLength - textAt > text4BytesMax ? refuse4(`a text of its request is longer than ${text4BytesMax} bytes`) : undefined

function refusedCommand(command: number): string {
  const name = command === 2 ? "BIND" : command === 3 ? "UDP ASSOCIATE" : `command ${command}`
  return `it asks for ${name}: CONNECT alone is carried${command === 3 ? ", and no UDP" : ""}`
}

/** The shortest form of an IPv6 address. */
const ipv6Text = (address: Uint8Array): string =>
  new SocketAddress({
    family: "ipv6",
    address: Array.from({ length: 8 }, (_, at) =>
      Buffer.from(address)
        .readUInt16BE(2 * at)
        .toString(16),
    ).join(":"),
  }).address

/** Names are resolved at the agent. Some programs send an address as a name, an IPv6 one in brackets. */
function nameText(name: Uint8Array): string | undefined {
  const text = Buffer.from(name).toString("latin1")
  const host = text.startsWith("[") && text.endsWith("]") && isIPv6(text.slice(1, -1)) ? text.slice(1, -1) : text
  return v.is(hostSchema, host) ? host : undefined
}

const httpBody = "This port is a SOCKS5 proxy: set it up as one, socks5h://HOST:PORT, not as an HTTP proxy.\n"
const httpAnswer = `HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: ${httpBody.length}\r\nConnection: close\r\n\r\n${httpBody}`

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.byteLength + second.byteLength)
  both.set(first)
  both.set(second, first.byteLength)
  return both
}
