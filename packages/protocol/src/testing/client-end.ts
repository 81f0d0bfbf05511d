/** The client's end of one link for tests: greets on every transport and counts the attempts. It does not dial by itself. */
import type { LinkHello } from "../link/link-control.ts"
import { Mux, type MuxOptions } from "../mux/mux.ts"
import type { Transport, TransportEvents } from "../ports.ts"
import { protocolVersion } from "../wire/limits.ts"

export interface ClientEndOptions extends Omit<MuxOptions, "role"> {
  /** Number of the client: its link id is made of it. */
  readonly number?: number
}

export class ClientEnd {
  readonly mux: Mux
  readonly #number: number
  #attempt = 0

  constructor(options: ClientEndOptions) {
    this.#number = options.number ?? 1
    this.mux = new Mux({ ...options, role: "client" })
  }

  /** Starts the link on its first transport and resumes it on every later one. */
  attach(transport: Transport): TransportEvents {
    const hello = this.hello()
    return hello.attempt === 1 ? this.mux.link.start(transport, hello) : this.mux.link.resume(transport, hello)
  }

  hello(): LinkHello {
    this.#attempt += 1
    return {
      type: "hello",
      protocol: { min: protocolVersion, max: protocolVersion },
      link: `link${String(this.#number).padStart(18, "0")}`,
      secret: `secret${String(this.#number).padStart(37, "0")}`,
      attempt: this.#attempt,
      received: this.mux.link.received,
      window: this.mux.link.windowBytes,
    }
  }
}
