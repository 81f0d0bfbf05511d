/** The client's link over cuts, on a virtual clock, against a gateway and an agent that say what the test wants. */
import { byteOffset, limits, pingText, pongText, TunnelError } from "@trunkline/protocol"
import { ScriptedPeer, VirtualClock } from "@trunkline/protocol/testing"
import { describe, expect, test } from "vitest"
import type { Dial, SocketEvents } from "../src/dial.ts"
import { LinkConnection } from "../src/link-connection.ts"

/** Lets promises go on. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** The gateway answers the first dial and is away afterwards; `agent` is what the link talks to. */
class Line {
  readonly clock = new VirtualClock()
  readonly agent = new ScriptedPeer()
  readonly connection: LinkConnection
  dials = 0
  #events: SocketEvents | undefined

  constructor() {
    const dial: Dial = async (_target, events) => {
      this.dials += 1
      if (this.dials > 1) throw new TunnelError("agent-offline", "away", { retryable: true })
      this.#events = events
      const { transport } = this.agent
      this.agent.attach({ message: events.message, drained: events.drained, closed: events.closed })
      return {
        bufferedBytes: 0,
        send: (message) => {
          if (typeof message !== "string") transport.send(message)
          else if (message === pingText) events.message(pongText)
        },
        close: (code, reason) => transport.close(code, reason),
      }
    }
    const target = { gateway: new URL("http://gateway.test/"), agent: "box", token: "token" }
    this.connection = new LinkConnection({ target, dial, clock: this.clock, idleMs: 1_000 })
  }

  agentIs(state: "away" | "back"): void {
    this.#events?.message(JSON.stringify({ type: "agent-state", state, generation: 1 }))
  }

  welcome(resumed: boolean): void {
    this.agent.sayControl({
      type: "welcome",
      protocol: 1,
      received: byteOffset(this.agent.heardBytes),
      window: limits.linkWindowBytesMax,
      resumed,
    })
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 1_000) {
      this.clock.advance(Math.min(left, 1_000))
      await turn()
    }
  }
}

describe("LinkConnection", () => {
  test("counts the grace until the agent answers: a gateway that says it is back is not enough", async () => {
    const line = new Line()
    const ended: (TunnelError | undefined)[] = []
    await line.connection.open("exec", {}, { data() {}, closed: (error) => ended.push(error) })
    line.welcome(false)
    line.agentIs("away")
    await line.pass(1_000)
    line.agentIs("back")
    await line.pass(limits.resumeGraceMs)
    expect(ended).toMatchObject([{ code: "link-lost" }])
  })

  test.for([1, 2])(
    "ends its streams with link-lost when the agent is away for longer than the grace, also at absence %i",
    async (absence) => {
      const line = new Line()
      const ended: (TunnelError | undefined)[] = []
      await line.connection.open("exec", {}, { data() {}, closed: (error) => ended.push(error) })
      line.welcome(false)
      line.clock.settle()
      for (let absent = 1; absent < absence; absent += 1) {
        line.agentIs("away")
        await line.pass(limits.resumeGraceMs / 2)
        line.agentIs("back")
        line.welcome(true)
        await turn()
      }
      line.agentIs("away")
      await line.pass(limits.resumeGraceMs - 1_000)
      expect(ended).toEqual([])
      await line.pass(2_000)
      expect(ended).toMatchObject([{ code: "link-lost" }])
    },
  )
})
