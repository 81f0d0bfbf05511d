/** Streams of the kind tcp, joined to real sockets: bytes, ends, resets and stalls, each way. */
import { createHash, randomBytes } from "node:crypto"
import type { Socket } from "node:net"
import { limits, TunnelError } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest"
import { settle } from "./settle.ts"
import { type Client, muchBytes, SocketBench } from "./socket-bench.ts"
import { StoppedServer } from "./stopped-server.ts"

let bench: SocketBench
let client: Client
beforeEach(() => {
  bench = new SocketBench()
  client = bench.client()
})
afterEach(() => bench.close())

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** A target that keeps what it reads, and the stream that was opened to it. */
async function joined(type: "tcp" | "unix") {
  const { promise, resolve } = Promise.withResolvers<Socket>()
  const target = await bench.serve(type, resolve)
  const asked = await client.opened("tcp", { target })
  const socket = await promise
  const seen = { bytes: 0, text: "", ended: false }
  socket.on("data", (chunk: Buffer) => {
    seen.bytes += chunk.byteLength
    if (seen.text.length < 1_000) seen.text += chunk
    bench.changed()
  })
  socket.once("end", () => {
    seen.ended = true
  })
  return { asked, socket, seen, target }
}

describe.each(["tcp", "unix"] as const)("to a %s socket", (type) => {
  test("[KT1] [KT2] bytes go both ways, and each half ends apart, the client's first", async () => {
    const { asked, socket, seen } = await joined(type)
    expect(asked.answer).toEqual(type === "tcp" ? { address: "127.0.0.1" } : {})
    asked.write("ping")
    asked.stream.finish()
    await bench.until(() => seen.ended)
    expect(seen.text).toBe("ping")
    socket.write("pong")
    await bench.until(() => asked.received.toString() === "pong")
    expect([asked.finished, asked.closed]).toEqual([false, undefined])
    socket.end(" done")
    await bench.until(() => asked.closed !== undefined)
    expect([asked.received.toString(), asked.finished, asked.closed]).toEqual(["pong done", true, { error: undefined }])
  })

  test("[KT2] the target's half may end first", async () => {
    const { asked, socket, seen } = await joined(type)
    socket.end("bye")
    await bench.until(() => asked.finished)
    expect([asked.received.toString(), asked.closed]).toEqual(["bye", undefined])
    asked.write("still ")
    await bench.until(() => seen.text === "still ")
    asked.write("here")
    asked.stream.finish()
    await bench.until(() => socket.destroyed && asked.closed !== undefined)
    expect([seen.text, seen.ended, socket.errored, asked.closed]).toEqual(["still here", true, null, { error: undefined }])
  })

  test("[KT2] a client's reset breaks the connection off", async () => {
    const { asked, socket } = await joined(type)
    asked.stream.reset(new TunnelError("aborted", "enough"))
    await bench.until(() => socket.errored !== null || socket.readableEnded)
    // A unix socket has no reset.
    expect(socket.errored).toEqual(type === "tcp" ? expect.objectContaining({ code: "ECONNRESET" }) : null)
  })

  test("[KT2] a target that is gone, with its half not ended or bytes not read, is service-failed and named", async () => {
    const { asked, socket, target } = await joined(type)
    if (type === "tcp") socket.resetAndDestroy()
    else socket.destroy()
    for (; asked.closed === undefined; await settle(1)) asked.write("anybody?")
    expect(asked.closed.error).toMatchObject({
      code: "service-failed",
      message: expect.stringContaining("path" in target ? target.path : `127.0.0.1:${target.port}`),
    })
  })

  test("[KT3] what the client sends before the answer arrives once there is a connection", async () => {
    const connecting = Promise.withResolvers<void>()
    const { hops } = bench.policy
    bench.policy.hops = async (target) => {
      await connecting.promise
      return await hops(target)
    }
    const target = await bench.serve(type, (socket) => socket.pipe(socket))
    const asked = client.open("tcp", { target })
    asked.write("early")
    asked.stream.finish()
    await settle()
    expect(asked.answer).toBeUndefined()
    connecting.resolve()
    await bench.until(() => asked.closed !== undefined)
    expect([asked.received.toString(), asked.closed]).toEqual(["early", { error: undefined }])
  })

  test("a megabyte each way at once arrives whole, also when the path is cut meanwhile", async () => {
    const up = randomBytes(1_048_576)
    const down = randomBytes(1_048_576)
    const { promise: uploaded, resolve } = Promise.withResolvers<string>()
    const target = await bench.serve(type, (socket) => {
      const hash = createHash("sha256")
      socket.on("data", (chunk: Buffer) => hash.update(chunk)).once("end", () => resolve(hash.digest("hex")))
      socket.end(down)
    })
    const asked = await client.opened("tcp", { target })
    const sent = asked.writeAll(up)
    await bench.until(() => asked.receivedBytes > 300_000)
    client.reconnect()
    await sent
    asked.stream.finish()
    await bench.until(() => asked.closed !== undefined)
    expect([sha256(asked.received), await uploaded]).toEqual([sha256(down), sha256(up)])
    expect(asked.closed).toEqual({ error: undefined })
  })

  test("a target that does not read holds up its client, and gets everything when it does", async () => {
    const { asked, socket, seen } = await joined(type)
    socket.pause()
    const taken = await asked.fill()
    // The queue of the stream, a window behind it, and what the two sockets hold; TCP's may grow to some megabytes.
    expect(taken).toBeLessThan(type === "tcp" ? muchBytes : 2_097_152)
    socket.resume()
    asked.stream.finish()
    await bench.until(() => seen.ended)
    expect(seen.bytes).toBe(taken)
  })

  test("small pieces that wait for the target arrive in order, with the end behind them", async () => {
    const { asked, socket, seen } = await joined(type)
    socket.pause()
    const hash = createHash("sha256")
    socket.on("data", (chunk: Buffer) => hash.update(chunk))
    socket.pause()
    const sent = createHash("sha256")
    for (let count = 0, bytes = 0; bytes < 1_048_576; count++) {
      const piece = randomBytes(1 + ((count * 37) % 6_000))
      bytes += piece.byteLength
      sent.update(piece)
      asked.write(piece)
      // Frames of their own.
      await settle(1)
    }
    asked.stream.finish()
    await settle()
    socket.resume()
    await bench.until(() => seen.ended)
    expect(hash.digest("hex")).toBe(sent.digest("hex"))
  })

  test("a client that does not read holds up its target, and gets everything when it does", async () => {
    const { asked, socket } = await joined(type)
    asked.reading = false
    let sent = 0
    for (let quietRounds = 0; quietRounds < 20; quietRounds++) {
      for (; sent < muchBytes && socket.writableLength === 0; quietRounds = 0) {
        socket.write(new Uint8Array(65_536))
        sent += 65_536
      }
      await settle(20)
    }
    expect(sent).toBeLessThan(type === "tcp" ? muchBytes : 2_097_152)
    expect(asked.receivedBytes).toBeLessThanOrEqual(limits.streamWindowBytes)
    asked.reading = true
    socket.end()
    await bench.until(() => asked.finished)
    expect(asked.receivedBytes).toBe(sent)
  })
})

describe("what is not connected", () => {
  test("[KT1] a refusal, and the owner's denial, reject the stream", async () => {
    const gone = await bench.serve("unix", () => {})
    const refused = await client.opened("tcp", { target: { path: `${"path" in gone ? gone.path : ""}-gone` } })
    expect(refused.closed?.error).toMatchObject({ code: "service-refused", delivered: "no" })
    bench.policy.hops = async () => {
      throw new TunnelError("denied", "the owner does not allow it")
    }
    expect((await client.opened("tcp", { target: gone })).code).toBe("denied")
  })

  test.each([
    undefined,
    null,
    "127.0.0.1:80",
    { target: {} },
    { target: { host: "127.0.0.1" } },
    { target: { host: "a b", port: 80 } },
    { target: { host: "127.0.0.1", port: 65_536 } },
    { target: { path: "relative" } },
  ])("%j for a body is bad-request, and nobody is asked", async (body) => {
    bench.policy.hops = async () => {
      throw new TunnelError("internal", "asked")
    }
    expect((await client.opened("tcp", body)).code).toBe("bad-request")
  })

  test("[KT2] DATA with another tag resets the stream and the connection", async () => {
    const { asked, socket, seen } = await joined("tcp")
    asked.stream.write(1, new Uint8Array(8))
    await bench.until(() => asked.closed !== undefined && socket.destroyed)
    expect([asked.code, seen.bytes]).toEqual(["bad-request", 0])
  })

  test.runIf(process.platform === "linux")("a client that leaves meanwhile ends the attempt", async () => {
    const stopped = await StoppedServer.start()
    onTestFinished(() => stopped.end())
    const asked = client.open("tcp", { target: stopped.target })
    await settle()
    asked.stream.reset(new TunnelError("aborted", "enough"))
    await bench.until(() => bench.refused.length > 0)
    expect(bench.refused).toMatchObject([{ code: "aborted" }])
  })

  test("a client that leaves while its target is looked up is not connected", async () => {
    const found = Promise.withResolvers<void>()
    const { hops } = bench.policy
    bench.policy.hops = async (target) => {
      await found.promise
      return await hops(target)
    }
    let connections = 0
    const target = await bench.serve("tcp", () => {
      connections += 1
    })
    const asked = client.open("tcp", { target })
    await settle()
    asked.stream.reset(new TunnelError("aborted", "enough"))
    await settle()
    found.resolve()
    await bench.until(() => bench.refused.length > 0)
    expect([bench.refused, connections]).toMatchObject([[{ code: "aborted" }], 0])
  })
})

test("a client that is lost for good breaks its connections off", async () => {
  const { socket } = await joined("tcp")
  client.leave()
  await bench.until(() => socket.destroyed)
  expect(socket.errored).toMatchObject({ code: "ECONNRESET" })
})

test("256 streams of one link work side by side, one more is refused, and another fits when one has ended", async () => {
  const target = await bench.serve("tcp", (socket) => socket.pipe(socket))
  const opened = await Promise.all(Array.from({ length: limits.streamsMax }, () => client.opened("tcp", { target })))
  expect(() => client.open("tcp", { target })).toThrow(expect.objectContaining({ code: "too-many-streams" }))
  for (const [index, asked] of opened.entries()) asked.write(`I am ${index}`)
  await bench.until(() => opened.every((asked, index) => asked.received.toString() === `I am ${index}`))
  const [first] = opened
  first?.stream.finish()
  await bench.until(() => first?.closed !== undefined)
  expect((await client.opened("tcp", { target })).answer).toEqual({ address: "127.0.0.1" })
})
