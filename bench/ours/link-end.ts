/** What links cost by themselves, in a process that does nothing else. */
import { randomBytes } from "node:crypto"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { systemClock } from "@trunkline/client/runtime"
import { byteOffset, encodeLinkControl, limits, protocolVersion, silentLogger, slot } from "@trunkline/protocol"
import { Links } from "../../packages/agent-cli/src/agent/links.ts"
import { measureResumeCost } from "../resume-cost.ts"
import { serveEnd } from "../serve-end.ts"

/** Links that are there before the first reading, so that what the first ones load is not counted. */
const warmup = 24

setFlagsFromString("--expose-gc")
const collect: unknown = runInNewContext("gc")

/** Bytes that are in use, on the heap and beside it. */
function usedBytes(): number {
  if (typeof collect !== "function") throw new Error("this runtime does not collect on command")
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const tasks = {
  /** Microseconds per megabyte. */
  resumeCost: (_: undefined): Promise<number> => Promise.resolve(measureResumeCost()),

  /** Bytes that each of so many links takes at the agent, greeted and idle. */
  async idleLinks({ count }: { count: number }): Promise<number> {
    const links = new Links({ clock: systemClock, logger: silentLogger, offered() {} })
    links.connected({ transport: () => ({ send() {}, bufferedBytes: 0, close() {} }), detach() {} })
    let last = 0
    const open = () => {
      last += 1
      links.attached(slot(last), { id: `client-${last}`, scopes: ["exec"] })
      const received = byteOffset(0)
      const hello = encodeLinkControl(
        {
          type: "hello",
          protocol: { min: protocolVersion, max: protocolVersion },
          link: randomBytes(16).toString("base64url"),
          secret: randomBytes(32).toString("base64url"),
          attempt: 1,
          received,
          window: limits.linkWindowBytes,
        },
        received,
      )
      links.message(slot(last), hello)
    }
    for (let link = 0; link < warmup; link++) open()
    const before = usedBytes()
    for (let link = 0; link < count; link++) open()
    const after = usedBytes()
    if (links.linkCount !== warmup + count) throw new Error(`${links.linkCount} links are there`)
    return (after - before) / count
  },
}

export type LinkTasks = typeof tasks
serveEnd(tasks)
