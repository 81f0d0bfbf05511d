/**
 * What being able to resume costs while nothing fails: the same frames of output through two links (offsets, kept messages, windows,
 * acknowledgements) and through the frame codec alone, in one process and without a network.
 */

import { systemClock } from "@trunkline/client/runtime"
import {
  type Clock,
  decodeFrames,
  type Frame,
  frameBytes,
  Link,
  type LinkHello,
  limits,
  protocolVersion,
  streamId,
  type Transport,
  type TransportEvents,
  writeFrame,
} from "@trunkline/protocol"
import { median } from "./statistics.ts"

/** Bytes through each in one round. Many short rounds: whatever else the machine does falls into few of them. */
const roundBytes = 64 * 2 ** 20
const rounds = 41
/** Rounds before those, in which the code is compiled. */
const warmupRounds = 5

const frame: Frame = { type: "data", stream: streamId(1), tag: 1, bytes: new Uint8Array(limits.dataBytesMax) }
const frames = roundBytes / limits.dataBytesMax

/** Microseconds of processor time per megabyte (10^6 bytes), the collector's included, that both ends of a link spend beyond the codec's. */
export function measureResumeCost(): number {
  const costs = Array.from({ length: warmupRounds + rounds }, (_, round) => {
    // In turn, or what the one leaves in the caches would be the other's gain every time.
    if (round % 2 === 0) return -spentUs(throughCodec) + spentUs(throughLinks)
    return spentUs(throughLinks) - spentUs(throughCodec)
  })
  return median(costs.slice(warmupRounds)) / (roundBytes / 1e6)
}

function spentUs(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

/** One message buffer, as for a sender that never sends again: the socket has masked a copy when the next is written. */
function throughCodec(): void {
  const message = new Uint8Array(frameBytes(frame))
  let seen = 0
  for (let sent = 0; sent < frames; sent++) {
    writeFrame(message, 0, frame)
    seen += decodeFrames(message).length
  }
  if (seen !== frames) throw new Error(`${seen} of ${frames} frames`)
}

function throughLinks(): void {
  let toSend = 0
  let seen = 0
  const queue: (() => void)[] = []
  const clock: Clock = { ...systemClock, defer: (task) => queue.push(task) }
  const linkEnded = (error: Error): never => {
    throw error
  }
  const take = (roomBytes: number): readonly Frame[] => {
    if (toSend === 0 || roomBytes < frameBytes(frame)) return []
    toSend -= 1
    return [frame]
  }
  const receive = () => {
    seen += 1
  }
  const agent = new Link({ clock }, { take: ({ bulkBytes }) => take(bulkBytes), receive() {}, linkEnded })
  const client = new Link({ clock }, { take: () => [], receive, linkEnded })
  connect(client, agent, queue)
  const deliver = () => {
    for (let at = 0; at < queue.length; at++) queue[at]?.()
    queue.length = 0
  }
  deliver()
  toSend = frames
  agent.wake()
  deliver()
  if (seen !== frames) throw new Error(`${seen} of ${frames} frames arrived`)
}

/** Joins the two: what one sends the other hears of when the queue is run. */
function connect(client: Link, agent: Link, queue: (() => void)[]): void {
  const heard: { client?: TransportEvents; agent?: TransportEvents } = {}
  const to = (end: "client" | "agent"): Transport => ({
    bufferedBytes: 0,
    send: (message) => queue.push(() => heard[end]?.message(message)),
    close() {},
  })
  const hello: LinkHello = {
    type: "hello",
    protocol: { min: protocolVersion, max: protocolVersion },
    link: "A".repeat(22),
    secret: "A".repeat(43),
    attempt: 1,
    received: client.received,
    window: client.windowBytes,
  }
  const { received, windowBytes: window } = agent
  heard.client = client.start(to("agent"), hello)
  heard.agent = agent.welcome(to("client"), hello, { type: "welcome", protocol: protocolVersion, received, window, resumed: false })
}
