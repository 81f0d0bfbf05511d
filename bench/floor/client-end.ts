/** The client's end of the bare relay: times round trips, and receives and acknowledges a stream of messages. */
import { once } from "node:events"
import { WebSocket } from "ws"
import { firstBytes } from "../first-bytes.ts"
import { serveEnd } from "../serve-end.ts"

let connected: WebSocket | undefined
let elapsedMs: Promise<number> | undefined

const socketNow = (): WebSocket => {
  if (connected === undefined) throw new Error("the client is not connected")
  return connected
}

const tasks = {
  async connect({ url }: { url: string }): Promise<void> {
    const socket = new WebSocket(url, { perMessageDeflate: false })
    await once(socket, "open")
    socket.send("hello")
    connected = socket
  },

  firstBytes: ({ url, count, warmup }: { url: string; count: number; warmup: number }): Promise<number[]> =>
    firstBytes(url, {}, count, warmup),

  /** Microseconds of each of `count` round trips, one at a time, after `warmup` that are not counted. */
  async roundTrips(options: { count: number; warmup: number; messageBytes: number }): Promise<number[]> {
    const { count, warmup, messageBytes } = options
    const socket = socketNow()
    const message = Buffer.alloc(messageBytes, "floor")
    const samples: number[] = []
    for (let trip = 0; trip < warmup + count; trip++) {
      const startMs = performance.now()
      const echoed = Promise.withResolvers<void>()
      socket.once("message", () => {
        if (trip >= warmup) samples.push((performance.now() - startMs) * 1_000)
        echoed.resolve()
      })
      socket.send(message)
      await echoed.promise
    }
    return samples
  },

  /** Receives `warmupBytes + bytes` from now on, acknowledging every `acknowledgeBytes`; resolves as soon as it is ready. */
  async receive(options: { bytes: number; warmupBytes: number; acknowledgeBytes: number }): Promise<void> {
    const { bytes, warmupBytes, acknowledgeBytes } = options
    const socket = socketNow()
    const done = Promise.withResolvers<number>()
    let received = 0
    let acknowledged = 0
    let startMs = performance.now()
    const onMessage = (message: Buffer): void => {
      const before = received
      received += message.byteLength
      if (before < warmupBytes && received >= warmupBytes) startMs = performance.now()
      const atEnd = received >= warmupBytes + bytes
      if (!atEnd && received - acknowledged < acknowledgeBytes) return
      acknowledged = received
      const acknowledgement = Buffer.alloc(8)
      acknowledgement.writeDoubleLE(received)
      socket.send(acknowledgement)
      if (!atEnd) return
      socket.off("message", onMessage)
      done.resolve(performance.now() - startMs)
    }
    socket.on("message", onMessage)
    elapsedMs = done.promise
  },

  /** The milliseconds that the last `bytes` of `receive` took, once they are here. */
  async received(_: null): Promise<number> {
    if (elapsedMs === undefined) throw new Error("the client does not receive")
    return elapsedMs
  },
}

export type ClientTasks = typeof tasks
serveEnd(tasks)
