/**
 * What being able to resume costs while nothing fails: the same frames of output through two links (offsets, kept messages, windows,
 * acknowledgements) and through the frame codec alone, in one process and without a network.
 */

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

/** Bytes through each in one round, and rounds. */
const roundBytes = 256 * 2 ** 20
const rounds = 7

const frame: Frame = { type: "data", stream: streamId(1), tag: 1, bytes: new Uint8Array(limits.dataBytesMax) }
const frames = roundBytes / limits.dataBytesMax

/** Microseconds per megabyte (10^6 bytes) that both ends of a link spend on it, beyond the codec's. */
export function measureResumeCost(): number {
  const costs = Array.from({ length: rounds }, () => Math.max(0, throughLinks() - throughCodec()))
  return median(costs) / (roundBytes / 1e6)
}

function throughCodec(): number {
  const startMs = performance.now()
  let seen = 0
  // As many as a window has in flight: memory that was just used is faster than any path is.
  const messages = Array.from({ length: limits.linkWindowBytes / limits.dataBytesMax }, () => new Uint8Array(frameBytes(frame)))
  for (let sent = 0; sent < frames; sent += messages.length) {
    for (const message of messages) writeFrame(message, 0, frame)
    for (const message of messages) seen += decodeFrames(message).length
  }
  if (seen !== frames) throw new Error(`${seen} frames`)
  return (performance.now() - startMs) * 1_000
}

function throughLinks(): number {
  let toSend = 0
  let seen = 0
  const queue: (() => void)[] = []
  const clock: Clock = { now: () => performance.now(), schedule: () => () => {}, defer: (task) => queue.push(task) }
  const linkEnded = (error: Error): never => {
    throw error
  }
  const agent = new Link({ clock }, { take: ({ bytes }) => take(bytes), receive() {}, linkEnded })
  const take = (roomBytes: number): readonly Frame[] => {
    if (toSend === 0 || roomBytes < frameBytes(frame)) return []
    toSend -= 1
    return [frame]
  }
  const receive = () => {
    seen += 1
  }
  const client = new Link({ clock }, { take: () => [], receive, linkEnded })
  connect(client, agent, queue)
  const deliver = () => {
    for (let at = 0; at < queue.length; at++) queue[at]?.()
    queue.length = 0
  }
  deliver()
  const startMs = performance.now()
  toSend = frames
  agent.wake()
  deliver()
  const tookUs = (performance.now() - startMs) * 1_000
  if (seen !== frames) throw new Error(`${seen} of ${frames} frames arrived`)
  return tookUs
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
