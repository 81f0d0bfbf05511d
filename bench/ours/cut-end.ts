/** Clients and agents behind lines that are cut on command: how long the output of a command then stands still. */
import { type Agent, connect } from "@trunkline/client"
import { dialNode } from "@trunkline/client/node"
import { limits } from "@trunkline/protocol"
import { CutProxy } from "../../e2e/cut-proxy.ts"
import { serveEnd } from "../serve-end.ts"

export type Leg = "client" | "agent" | "both"

interface Pair {
  readonly client: CutProxy
  readonly agent: CutProxy
}

/** Bytes that have come before the cut: the path is full by then, and windows have grown. */
const underWayBytes = 4 * 2 ** 20

const pairs: Pair[] = []
const agents: Agent[] = []

const tasks = {
  /** Lays lines for so many agents and as many clients. Returns what each agent is told to dial. */
  async lines({ gatewayPort, count }: { gatewayPort: number; count: number }): Promise<readonly string[]> {
    for (let line = 0; line < count; line++)
      pairs.push({ client: await CutProxy.start(gatewayPort), agent: await CutProxy.start(gatewayPort) })
    return pairs.map(({ agent }) => agent.url)
  },

  /** Links a client to each agent, the names in the order of the lines. */
  async connect({ secret, names }: { secret: string; names: readonly string[] }): Promise<void> {
    for (const [index, name] of names.entries()) {
      const url = pairs[index]?.client.url
      if (url === undefined) throw new Error(`there is no line for ${name}`)
      const agent = connect({ url, token: secret, dial: dialNode, idleMs: 3_600_000 }).agent(name)
      await agent.exec(["true"])
      agents.push(agent)
    }
  },

  /**
   * Milliseconds from a cut under output that is as fast as the path until the first byte that had not been sent yet: what is on the
   * way at a cut is at most a stream's window, so it is the byte that far on.
   */
  async cut({ index, leg }: { index: number; leg: Leg }): Promise<number> {
    const [pair, agent] = [pairs[index], agents[index]]
    if (pair === undefined || agent === undefined) throw new Error(`there is no line ${index}`)
    const lines = leg === "both" ? [pair.client, pair.agent] : [pair[leg]]
    const process = await agent.spawn(["cat", "/dev/zero"])
    let received = 0
    let startMs = 0
    let newByte = 0
    let cut: Promise<unknown> = Promise.resolve()
    for await (const event of process.output()) {
      if (!("bytes" in event)) continue
      received += event.bytes.byteLength
      if (newByte > 0 && received > newByte) break
      if (newByte > 0 || received < underWayBytes) continue
      newByte = received + limits.streamWindowBytesMax
      startMs = performance.now()
      cut = Promise.all(lines.map((line) => line.cut({ how: "rst" })))
    }
    const waitedMs = performance.now() - startMs
    await cut
    process.kill("SIGKILL")
    return waitedMs
  },
}

export type CutTasks = typeof tasks
serveEnd(tasks)
