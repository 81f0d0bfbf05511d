/** The agent's end of any number of links for tests: keeps them by id and answers each hello (SPEC LC). */
import type { TunnelError } from "../errors.ts"
import { encodeLinkControl, type LinkHello, readLinkControl } from "../link/link-control.ts"
import { controlOffset, readLinkHeader } from "../link/link-header.ts"
import { Mux, type MuxOptions } from "../mux/mux.ts"
import type { Transport, TransportEvents } from "../ports.ts"
import { byteOffset } from "../wire/ids.ts"
import { protocolVersion } from "../wire/limits.ts"

export type AgentEndOptions = (hello: LinkHello) => Omit<MuxOptions, "role">

export interface AgentLink {
  readonly mux: Mux
  readonly secret: string
  attempt: number
}

export class AgentEnd {
  /** Links by id. */
  readonly links = new Map<string, AgentLink>()
  readonly #optionsOf: AgentEndOptions

  constructor(optionsOf: AgentEndOptions) {
    this.#optionsOf = optionsOf
  }

  /** What a new transport's messages go to: nothing counts before a hello. */
  attach(transport: Transport): TransportEvents {
    let events: TransportEvents | undefined
    return {
      message: (message) => {
        if (events === undefined) events = this.#greeted(transport, message)
        else events.message(message)
      },
      drained: () => events?.drained(),
      closed: (code, reason) => events?.closed(code, reason),
    }
  }

  #greeted(transport: Transport, message: Uint8Array): TransportEvents | undefined {
    if (readLinkHeader(message)?.offset !== controlOffset) return undefined
    const { control: hello, data } = readLinkControl(message)
    if (hello.type !== "hello") return undefined
    const refuse = (code: string): undefined => {
      transport.send(encodeLinkControl({ type: "refused", code, message: `refused: ${code}` }, byteOffset(0)))
    }
    if (hello.protocol.min > protocolVersion || hello.protocol.max < protocolVersion) return refuse("unsupported-version")
    const known = this.links.get(hello.link)
    if (known === undefined && hello.attempt > 1) return refuse("agent-restarted")
    if (known !== undefined && (known.secret !== hello.secret || known.attempt >= hello.attempt)) return refuse("denied")
    const link = known ?? this.#open(hello)
    link.attempt = hello.attempt
    const welcome = {
      type: "welcome",
      protocol: protocolVersion,
      received: link.mux.link.received,
      window: link.mux.link.windowBytes,
      resumed: known !== undefined,
    } as const
    const events = link.mux.link.welcome(transport, hello, welcome)
    if (data !== undefined) events.message(data)
    return events
  }

  #open(hello: LinkHello): AgentLink {
    const options = this.#optionsOf(hello)
    const ended = (error: TunnelError) => {
      this.links.delete(hello.link)
      options.ended?.(error)
    }
    const link: AgentLink = { mux: new Mux({ ...options, ended, role: "agent" }), secret: hello.secret, attempt: 0 }
    this.links.set(hello.link, link)
    return link
  }
}
