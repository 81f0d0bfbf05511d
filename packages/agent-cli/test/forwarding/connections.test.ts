import { createServer } from "node:net"
import type { TunnelSocket } from "@trunkline/client"
import { type StreamTarget, TunnelError } from "@trunkline/protocol"
import { describe, expect, onTestFinished, test } from "vitest"
import { Complaints } from "../../src/forwarding/complaints.ts"
import { Connections } from "../../src/forwarding/connections.ts"
import { type StreamAgent, StreamPlaces, streamsPerLinkMax } from "../../src/forwarding/stream-places.ts"
import { closing, listening, portOf, readAll, ScriptedTunnel, socketPair, until } from "./scripted-tunnel.ts"

const target: StreamTarget = { host: "db", port: 5432 }

function carrying(connectThere: () => Promise<TunnelSocket>) {
  const lines: string[] = []
  const refused: TunnelError[] = []
  const asked: unknown[] = []
  const agent: StreamAgent = {
    connect: (to) => {
      asked.push(to)
      return connectThere()
    },
    listen: () => Promise.reject(new Error("not asked for")),
  }
  const places = new StreamPlaces([agent])
  const connections = new Connections({
    places,
    complaints: new Complaints((line) => lines.push(line)),
    refused: (error) => refused.push(error),
  })
  onTestFinished(() => connections.end())
  return { connections, lines, refused, asked, agent, places }
}

describe("a connection", () => {
  test("is carried to its target, counts until it has ended, and gives its place back", async () => {
    const tunnel = new ScriptedTunnel()
    const { connections, asked, places } = carrying(async () => tunnel.socket)
    const { near, far } = await socketPair()
    connections.forward(near, target)
    expect(connections.count).toBe(1)
    const read = readAll(far)
    far.end("question")
    await until(() => tunnel.receivedEnd)
    tunnel.send("answer")
    tunnel.end()
    expect((await read).toString()).toBe("answer")
    await connections.drained()
    expect({ count: connections.count, asked }).toEqual({ count: 0, asked: [target] })
    await Promise.all(Array.from({ length: streamsPerLinkMax }, () => places.take()))
  })

  test("that comes to nothing is reset and said, once for many", async () => {
    const { connections, lines } = carrying(() => Promise.reject(new TunnelError("service-refused", "db:5432 refuses connections")))
    for (let i = 0; i < 3; i++) {
      const { near, far } = await socketPair()
      const reset = closing(far.resume())
      connections.forward(near, target)
      expect(await reset).toBe(true)
    }
    await connections.drained()
    expect(lines).toEqual(["trunkline: a connection to db:5432 failed: db:5432 refuses connections"])
  })

  test("that finds the credential invalid is the end of all, not a line", async () => {
    const { connections, lines, refused } = carrying(() => Promise.reject(new TunnelError("unauthorised", "revoked")))
    const { near } = await socketPair()
    connections.forward(near, target)
    await connections.drained()
    expect(refused).toHaveLength(1)
    expect(lines).toEqual([])
  })

  test("waits unread for a place while the link is full", async () => {
    const tunnel = new ScriptedTunnel()
    const { connections, asked, places } = carrying(async () => tunnel.socket)
    const taken = await Promise.all(Array.from({ length: streamsPerLinkMax }, () => places.take()))
    const { near, far } = await socketPair()
    connections.forward(near, target)
    far.write("early")
    await until(() => far.bytesWritten === 5)
    expect({ asked, readBytes: near.bytesRead }).toEqual({ asked: [], readBytes: 0 })
    taken[0]?.release()
    await until(() => tunnel.receivedText === "early")
  })

  test("is reset when all are ended, whether it is carried or waits, and so is one that comes after", async () => {
    const never = Promise.withResolvers<TunnelSocket>()
    const { connections, lines } = carrying(() => never.promise)
    const pairs = await Promise.all([socketPair(), socketPair()])
    const resets = pairs.map(({ far }) => closing(far.resume()))
    const [first, late] = pairs
    connections.forward(first.near, target)
    connections.end()
    connections.forward(late.near, target)
    expect(await Promise.all(resets)).toEqual([true, true])
    never.reject(new TunnelError("aborted", "closed"))
    await connections.drained()
    expect(lines).toEqual([])
  })
})

describe("from the agent", () => {
  test("a connection is made here and joined, whatever comes first", async () => {
    const server = await listening(createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)))
    const tunnel = new ScriptedTunnel()
    const { connections, agent, places } = carrying(() => Promise.reject(new Error("not asked for")))
    const place = await places.take()
    connections.reverse(
      { from: undefined, accept: async () => tunnel.socket },
      { host: "localhost", port: portOf(server) },
      { ...place, agent },
    )
    tunnel.send("echo")
    tunnel.end()
    await until(() => tunnel.receivedEnd)
    expect(tunnel.receivedText).toBe("echo")
    await connections.drained()
  })

  test("to where nothing listens here it is broken off there, and said", async () => {
    const server = await listening(createServer())
    const port = portOf(server)
    await new Promise((resolve) => server.close(resolve))
    const tunnel = new ScriptedTunnel()
    const { connections, lines, agent, places } = carrying(() => Promise.reject(new Error("not asked for")))
    const place = await places.take()
    connections.reverse({ from: undefined, accept: async () => tunnel.socket }, { host: "127.0.0.1", port }, { ...place, agent })
    await connections.drained()
    expect(tunnel.brokenOff).toBeDefined()
    expect(lines).toEqual([`trunkline: a connection to 127.0.0.1:${port} failed: nothing listens there, on this side`])
  })

  test("one that has left before it was taken is let go here", async () => {
    const met: Promise<boolean>[] = []
    const server = await listening(createServer((socket) => met.push(closing(socket.resume().on("error", () => {})))))
    const { connections, lines, agent, places } = carrying(() => Promise.reject(new Error("not asked for")))
    const place = await places.take()
    const gone = Promise.withResolvers<TunnelSocket>()
    connections.reverse({ from: undefined, accept: () => gone.promise }, { host: "127.0.0.1", port: portOf(server) }, { ...place, agent })
    await until(() => met.length === 1)
    gone.reject(new TunnelError("not-found", "it does not wait any more"))
    await Promise.all([...met, connections.drained()])
    expect(lines).toHaveLength(1)
  })
})
