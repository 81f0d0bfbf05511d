/** The agent's end of the bare relay: echoes, sends with a bounded amount in flight, or sits idle on many sockets. */
import { once } from "node:events"
import { WebSocket } from "ws"
import { serveEnd } from "../serve-end.ts"

let echo: WebSocket | undefined

const open = async (url: string): Promise<WebSocket> => {
  const socket = new WebSocket(url, { perMessageDeflate: false })
  await once(socket, "open")
  socket.send("hello")
  return socket
}

const tasks = {
  /** Connects and echoes every message from now on. */
  async echo({ url }: { url: string }): Promise<void> {
    const socket = await open(url)
    socket.on("message", (message: Buffer) => socket.send(message))
    echo = socket
  },

  /** Connects another socket and echoes every message as text, for the object that asks. */
  async answer({ url }: { url: string }): Promise<void> {
    const socket = await open(url)
    socket.on("message", (message: Buffer) => socket.send(message, { binary: false }))
  },

  /**
   * Stops echoing and sends `bytes` in messages of `messageBytes`; what the client has not yet acknowledged
   * never exceeds `inFlightBytes`. Each message from the client is the count of bytes it has received. Resolves when all is acknowledged.
   */
  async produce(options: { bytes: number; messageBytes: number; inFlightBytes: number }): Promise<void> {
    const { bytes, messageBytes, inFlightBytes } = options
    const socket = echo
    if (socket === undefined) throw new Error("the agent is not connected")
    const echoing = socket.listeners("message")
    socket.removeAllListeners("message")
    const message = Buffer.alloc(messageBytes, "floor")
    let sent = 0
    const done = Promise.withResolvers<void>()
    const fill = (acknowledged: number): void => {
      while (sent < bytes && sent + messageBytes - acknowledged <= inFlightBytes) {
        socket.send(message)
        sent += messageBytes
      }
      if (acknowledged >= bytes) done.resolve()
    }
    socket.on("message", (acknowledgement: Buffer) => fill(acknowledgement.readDoubleLE()))
    fill(0)
    await done.promise
    socket.removeAllListeners("message")
    for (const listener of echoing) socket.on("message", listener as (message: Buffer) => void)
  },

  /** Connects one socket for each URL, says hello and leaves it be. */
  async idle({ urls }: { urls: readonly string[] }): Promise<void> {
    for (const url of urls) await open(url)
  },
}

export type AgentTasks = typeof tasks
serveEnd(tasks)
