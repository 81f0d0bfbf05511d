/** A client's machine: a path of its own, the SDK on it, and what may be told to its user when. */
import { type Agent, connect, type Dial, type Gateway, TunnelError } from "@trunkline/client"
import type { Principal } from "@trunkline/protocol"
import type { SimulatedAgent } from "./agent.ts"
import { check } from "./check.ts"
import type { SimulatedGateway } from "./gateway.ts"
import { Path } from "./network.ts"
import type { SimulatedService } from "./service.ts"
import type { World } from "./world.ts"

/** What comes of a call on a link that is not there yet. */
const dialCodes: ReadonlySet<string> = new Set([
  "link-lost",
  "agent-away",
  "agent-offline",
  "agent-restarted",
  "gateway-unreachable",
  "timeout",
])

export class Machine {
  readonly path: Path
  readonly agent: Agent
  readonly #world: World
  readonly #gateway: Gateway
  readonly #target: SimulatedAgent
  /** Restarts of the agent before the newest socket was open, and before the one that the link was made on; undefined without a link. */
  #openedAtRestart = 0
  #linkedAtRestart: number | undefined
  /** What was connected to from here. */
  readonly services: SimulatedService[] = []
  /** Its user has gone from it. */
  gone = false

  constructor(
    name: string,
    parts: { world: World; gateway: SimulatedGateway; agent: SimulatedAgent; principal: Principal; idleMs: number },
  ) {
    const { world, gateway, agent, principal, idleMs } = parts
    this.#world = world
    this.#target = agent
    this.path = new Path(name, world, gateway)
    this.#gateway = connect({ url: "http://gateway.test", token: "token", dial: this.#dial(principal), clock: this.path.clock, idleMs })
    this.agent = this.#gateway.agent("machine")
    this.agent.onLinkState((change) => {
      world.note(`${name} ${change.state}`)
      if (change.state === "connected") this.#linkedAtRestart = this.#openedAtRestart
      if (change.state === "ended") {
        this.#linkedAtRestart = undefined
        if (!this.gone) this.#mayEnd(change.error)
      }
    })
  }

  /** The user leaves, and says so. */
  leave(): void {
    this.#forsake()
    this.#gateway.close()
  }

  /** The machine is gone from one moment to the next. */
  vanish(): void {
    this.#forsake()
    this.path.lose("hole")
  }

  #forsake(): void {
    this.gone = true
    for (const service of this.services) service.forsaken ||= !service.heardEnd
  }

  /** What may go wrong with a call that begins now. Throws BrokenPromise for what may not. */
  expectations(): (error: unknown) => TunnelError {
    const linkedAtRestart = this.#linkedAtRestart
    const faults = this.#world.faults
    return (error) => {
      check(error instanceof TunnelError, `thrown was ${String(error)}`)
      const text = `${error.code} (${error.delivered}): ${error.message}`
      if (this.gone && (error.code === "aborted" || error.code === "link-lost" || dialCodes.has(error.code))) return error
      if (linkedAtRestart !== undefined) {
        const restarted = this.#target.restarts > linkedAtRestart
        check(restarted || this.#world.longOutages > 0, `a link that was up failed with ${text}`)
        check(error.code === "agent-restarted" || this.#world.longOutages > 0, `the agent was restarted, told was ${text}`)
      }
      check(dialCodes.has(error.code), `a call failed with ${text}`)
      check(this.#world.faults > 0, `a call failed with ${text}, ${faults} faults before`)
      return error
    }
  }

  /** What may go wrong with a process that was granted when the agent had been restarted so often. */
  expectationsOf(restarts: number): (error: unknown) => TunnelError {
    return (error) => {
      check(error instanceof TunnelError, `thrown was ${String(error)}`)
      const text = `${error.code} (${error.delivered}): ${error.message}`
      check(error.delivered === "yes", `the stream of a process that was started ended with ${text}`)
      if (this.gone) return error
      check(this.#target.restarts > restarts || this.#world.longOutages > 0, `a process's stream ended with ${text}`)
      check(error.code === "agent-restarted" || this.#world.longOutages > 0, `the agent was restarted, told was ${text}`)
      return error
    }
  }

  #mayEnd(error: TunnelError): void {
    // An idle link is let go.
    if (error.code === "aborted") return
    this.#world.require(dialCodes.has(error.code), `a link ended with ${error.code}: ${error.message}`)
  }

  #dial(principal: Principal): Dial {
    return ({ signal }, events) =>
      new Promise((resolve, reject) => {
        const unreachable = () => new TunnelError("gateway-unreachable", "the dial was given up")
        if (signal.aborted) return reject(unreachable())
        const giveUp = () => {
          cancel()
          reject(unreachable())
        }
        const cancel = this.path.dial({
          as: { role: "client", principal },
          opened: ({ near }) => {
            // From now on it is closed behind what was sent.
            signal.removeEventListener("abort", giveUp)
            this.#openedAtRestart = this.#target.restarts
            near.listen(events)
            resolve({
              send: (message) => near.send(message),
              get bufferedBytes() {
                return near.bufferedBytes
              },
              close: (code, reason) => near.close(code, reason),
            })
          },
          refused: (error) => reject(error),
        })
        signal.addEventListener("abort", giveUp)
      })
  }
}
