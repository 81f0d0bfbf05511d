/** The client's end of the bare relay: times round trips, and receives and acknowledges a stream of messages. */
import { once } from "node:events"
import { WebSocket } from "ws"
import { serveEnd } from "../end-process.ts"

let connected: WebSocket | undefined

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

  /**
   * Receives `warmupBytes + bytes`, acknowledging every `acknowledgeBytes`; resolves with the milliseconds
   * that the last `bytes` took.
   */
  async consume(options: { bytes: number; warmupBytes: number; acknowledgeBytes: number }): Promise<number> {
    const { bytes, warmupBytes, acknowledgeBytes } = options
    const socket = socketNow()
    let received = 0
    let acknowledged = 0
    let startMs = performance.now()
    const done = Promise.withResolvers<number>()
    const onMessage = (message: Buffer): void => {
      const before = received
      received += message.byteLength
      if (before < warmupBytes && received >= warmupBytes) startMs = performance.now()
      const end = received >= warmupBytes + bytes
      if (end) done.resolve(performance.now() - startMs)
      if (!end && received - acknowledged < acknowledgeBytes) return
      acknowledged = received
      const acknowledgement = Buffer.alloc(8)
      acknowledgement.writeDoubleLE(received)
      socket.send(acknowledgement)
    }
    socket.on("message", onMessage)
    const elapsedMs = await done.promise
    socket.off("message", onMessage)
    return elapsedMs
  },
}

export type ClientTasks = typeof tasks
serveEnd(tasks)
