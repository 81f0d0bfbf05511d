/** The addresses that names stand for, asked of the system, of which nobody can ask too much at once. */
import { lookup } from "node:dns/promises"
import { limits, TunnelError } from "@trunkline/protocol"

/** Rejects when there is none. */
export type Resolve = (name: string) => Promise<readonly string[]>

/** What connecting to the name would make of it, /etc/hosts included. */
export const resolveBySystem: Resolve = async (name) => (await lookup(name, { all: true })).map(({ address }) => address)

/** Names being looked up, also for clients that have left: the system does two at a time and may take half a minute for each. One link has as many streams. */
const lookupsMax = limits.streamsMax

export class Lookups {
  readonly #resolve: Resolve
  readonly #limitMs: number
  #count = 0

  constructor(resolve: Resolve, limitMs: number = limits.targetConnectMs) {
    this.#resolve = resolve
    this.#limitMs = limitMs
  }

  /** Asks once. Rejects when no answer has come in time, and with TunnelError `overloaded`. */
  async addressesOf(name: string): Promise<readonly string[]> {
    if (this.#count >= lookupsMax)
      throw new TunnelError("overloaded", `the agent's machine looks up ${lookupsMax} names already; try again when its resolver answers`)
    this.#count += 1
    const found = this.#resolve(name).finally(() => {
      this.#count -= 1
    })
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => late.reject(new Error(`no answer from the resolver within ${this.#limitMs / 1_000} s`)), this.#limitMs)
    try {
      return await Promise.race([found, late.promise])
    } finally {
      clearTimeout(timer)
    }
  }
}
