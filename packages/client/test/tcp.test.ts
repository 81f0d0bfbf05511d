/** A connection through the tunnel as its client sees it: two Web streams, their ends, their pace and what breaks them. */
import { getEventListeners } from "node:events"
import { limits, TunnelError } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { SocketOptions, SocketTarget, TunnelSocket } from "../src/index.ts"
import { MemoryAgent, type Served, settle, utf8 } from "./memory-agent.ts"

let memory: MemoryAgent
beforeEach(() => {
  memory = new MemoryAgent()
})
afterEach(() => memory.agent.close())

const tag = 0
const target = { host: "db", port: 5_432 }
/** More than any window: what nobody grants room for does not fit. */
const muchBytes = 4_194_304

async function connect(options?: SocketOptions): Promise<[TunnelSocket, Served]> {
  const connecting = memory.agent.connect(target, options)
  const served = await memory.next()
  served.accept({ address: "10.0.0.7" })
  return [await connecting, served]
}

/** Writes for as long as it is taken; resolves with the bytes that were. */
async function fill(served: Served, bytesMax: number): Promise<number> {
  let bytes = 0
  for (; bytes < bytesMax && served.stream.writableBytes > 0; bytes += 65_536) {
    served.say(tag, new Uint8Array(65_536))
    await settle()
  }
  return bytes
}

async function readAll(readable: ReadableStream<Uint8Array>): Promise<string> {
  let text = ""
  for await (const bytes of readable) text += new TextDecoder().decode(bytes)
  return text
}

describe("connect", () => {
  test.each([
    [{ port: 80 }, { host: "localhost", port: 80 }],
    [
      { host: "::1", port: 80 },
      { host: "::1", port: 80 },
    ],
    [{ path: "/run/s" }, { path: "/run/s" }],
  ])("asks for %j", async (asked, sent) => {
    const connecting = memory.agent.connect(asked)
    const served = await memory.next()
    expect([served.stream.kind, served.body]).toEqual(["tcp", { target: sent }])
    served.accept({})
    expect((await connecting).address).toBeUndefined()
  })

  test("gives the address that the agent has connected to", async () => {
    const [socket] = await connect()
    expect(socket.address).toBe("10.0.0.7")
  })

  test.each([
    { port: 0 },
    { port: 65_536 },
    { host: "", port: 1 },
    { host: "a b", port: 1 },
    { path: "relative" },
    5432,
    "localhost:5432",
    undefined,
  ])("of %j is bad-request, and nothing is dialled", async (wrong) => {
    await expect(memory.agent.connect(wrong as SocketTarget)).rejects.toMatchObject({ code: "bad-request", delivered: "no" })
    expect(memory.dials).toBe(0)
  })

  test("rejects with the agent's refusal", async () => {
    const connecting = memory.agent.connect(target)
    ;(await memory.next()).stream.reject(new TunnelError("service-refused", "nobody there"))
    await expect(connecting).rejects.toMatchObject({ code: "service-refused", message: "nobody there", delivered: "no" })
  })

  test("rejects, and resets, when the agent's answer is none", async () => {
    const connecting = memory.agent.connect(target)
    const served = await memory.next()
    served.accept({ address: 7 })
    await expect(connecting).rejects.toMatchObject({ code: "bad-request" })
    await served.until(() => served.closed !== undefined)
  })
})

describe("bytes and ends", () => {
  test("go both ways, each half with an end of its own, ours first", async () => {
    const [socket, served] = await connect()
    const writer = socket.writable.getWriter()
    await writer.write(utf8("ping"))
    await writer.close()
    await served.until(() => served.inputEnded)
    expect(served.input).toBe("ping")
    served.say(tag, "po")
    served.say(tag, "ng")
    served.stream.finish()
    expect(await readAll(socket.readable)).toBe("pong")
    await socket.closed
    expect(served.closed).toEqual({ error: undefined })
  })

  test("go both ways, each half with an end of its own, theirs first", async () => {
    const [socket, served] = await connect()
    served.say(tag, "bye")
    served.stream.finish()
    await settle()
    expect(await readAll(socket.readable)).toBe("bye")
    const writer = socket.writable.getWriter()
    await writer.write(utf8("still here"))
    await served.until(() => served.input === "still here")
    await writer.close()
    await socket.closed
  })

  test("are in order however many readers wait", async () => {
    const [socket, served] = await connect()
    const reader = socket.readable.getReader()
    const reads = Array.from({ length: 5 }, () => reader.read())
    for (const letter of "abc") {
      served.say(tag, letter)
      await settle()
    }
    served.stream.finish()
    const read = (await Promise.all(reads)).map(({ done, value }) => (done ? "end" : new TextDecoder().decode(value)))
    expect(read).toEqual(["a", "b", "c", "end", "end"])
  })

  test("pipe, all of them, from one half to the other", async () => {
    const [socket, served] = await connect()
    const echoed = socket.readable.pipeTo(socket.writable)
    for (let bytes = 0; bytes < muchBytes; bytes += 65_536) {
      served.say(tag, "x".repeat(65_536))
      await served.until(() => served.stream.writableBytes > 0)
    }
    served.stream.finish()
    await echoed
    await served.until(() => served.inputEnded)
    expect(served.input.length).toBe(muchBytes)
  })
})

describe("pace", () => {
  test("nothing is taken from the target beyond its credit until somebody reads", async () => {
    const [socket, served] = await connect()
    // What the agent queues and what the client's window takes.
    const sent = await fill(served, muchBytes)
    expect(sent).toBeLessThanOrEqual(limits.streamWindowBytes * 2 + 65_536)
    const reader = socket.readable.getReader()
    for (let read = 0; read < sent; ) read += (await reader.read()).value?.byteLength ?? sent
    expect(await fill(served, 65_536)).toBe(65_536)
  })

  test("a write resolves when there is room for the next", async () => {
    const [socket, served] = await connect()
    served.reading = false
    const writer = socket.writable.getWriter()
    let written = 0
    let waits = false
    const writing = (async () => {
      for (; written < muchBytes; written += 65_536) {
        waits = true
        await writer.write(new Uint8Array(65_536))
        waits = false
      }
    })()
    await settle()
    const held = written
    await settle()
    expect([waits, written]).toEqual([true, held])
    expect(held).toBeLessThanOrEqual(limits.streamWindowBytes * 2)
    served.reading = true
    served.stream.consumed(served.input.length)
    await writing
    await served.until(() => served.input.length === muchBytes)
  })
})

describe("what breaks it off", () => {
  /** Every part of the socket says so. */
  async function expectBroken(socket: TunnelSocket, code: string): Promise<void> {
    await expect(socket.closed).rejects.toMatchObject({ code })
    await expect(socket.readable.getReader().read()).rejects.toMatchObject({ code })
    await expect(socket.writable.getWriter().write(utf8("more"))).rejects.toMatchObject({ code })
  }

  test("a reset from the agent, also of a reader and a writer that wait", async () => {
    const [socket, served] = await connect()
    served.reading = false
    const reader = socket.readable.getReader()
    const writer = socket.writable.getWriter()
    const read = reader.read()
    const wrote = writer.write(new Uint8Array(muchBytes))
    await settle()
    served.stream.reset(new TunnelError("service-failed", "db:5432 broke the connection off"))
    await expect(read).rejects.toMatchObject({ code: "service-failed", delivered: "yes" })
    // The bytes of a write that waits have been taken; what comes next has nowhere to go.
    await wrote
    reader.releaseLock()
    writer.releaseLock()
    await expectBroken(socket, "service-failed")
  })

  test("a reset from the agent, behind what had come before it", async () => {
    const [socket, served] = await connect()
    served.say(tag, "last words")
    await settle()
    served.stream.reset(new TunnelError("service-failed", "db:5432 broke the connection off"))
    await settle()
    const reader = socket.readable.getReader()
    expect((await reader.read()).value).toEqual(utf8("last words"))
    await expect(reader.read()).rejects.toMatchObject({ code: "service-failed" })
  })

  test("the end of the link", async () => {
    const [socket] = await connect()
    memory.stop()
    await expectBroken(socket, "agent-stopped")
  })

  test("nobody has to look", async () => {
    const [, served] = await connect()
    served.stream.reset(new TunnelError("service-failed", "broken"))
    await settle()
  })

  test("a reader that cancels", async () => {
    const [socket, served] = await connect()
    served.say(tag, "unread")
    await settle()
    await socket.readable.cancel("enough")
    await expect(socket.closed).rejects.toMatchObject({ code: "aborted", cause: "enough" })
    await expect(socket.writable.getWriter().write(utf8("more"))).rejects.toMatchObject({ code: "aborted" })
    await served.until(() => served.closed !== undefined)
    expect(served.closed?.error).toMatchObject({ code: "aborted" })
  })

  test("a writer that aborts, even behind a write that waits", async () => {
    const [socket, served] = await connect()
    served.reading = false
    const writer = socket.writable.getWriter()
    const wrote = writer.write(new Uint8Array(muchBytes))
    await settle()
    await writer.abort("enough")
    await wrote
    await served.until(() => served.closed !== undefined)
    expect(served.closed?.error).toMatchObject({ code: "aborted" })
    await expect(socket.readable.getReader().read()).rejects.toMatchObject({ code: "aborted" })
  })

  test("a write of what is no bytes", async () => {
    const [socket, served] = await connect()
    const wrote = socket.writable.getWriter().write("text" as unknown as Uint8Array)
    await expect(wrote).rejects.toMatchObject({ code: "bad-request" })
    await served.until(() => served.closed !== undefined)
    await expect(socket.closed).rejects.toMatchObject({ code: "bad-request" })
  })

  test("bytes with a tag that means nothing", async () => {
    const [socket, served] = await connect()
    served.say(1, "what?")
    await expectBroken(socket, "bad-request")
  })
})

describe("a caller's signal", () => {
  test("that has aborted dials nowhere", async () => {
    await expect(memory.agent.connect(target, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted", delivered: "no" })
    expect(memory.dials).toBe(0)
  })

  test("gives up a connection that is being made", async () => {
    const abort = new AbortController()
    const connecting = memory.agent.connect(target, { signal: abort.signal })
    const served = await memory.next()
    abort.abort()
    await expect(connecting).rejects.toMatchObject({ code: "aborted", delivered: "unknown" })
    await settle()
    expect(served.stream.phase).toBe("closed")
    expect(getEventListeners(abort.signal, "abort")).toHaveLength(0)
  })

  test("resets one that is made", async () => {
    const abort = new AbortController()
    const [socket, served] = await connect({ signal: abort.signal })
    abort.abort("enough")
    await expect(socket.closed).rejects.toMatchObject({ code: "aborted", delivered: "yes", cause: "enough" })
    await served.until(() => served.closed !== undefined)
  })

  test("leaves nothing to read of what had come", async () => {
    const abort = new AbortController()
    const [socket, served] = await connect({ signal: abort.signal })
    served.say(tag, "not read yet")
    await settle()
    abort.abort()
    await expect(socket.readable.getReader().read()).rejects.toMatchObject({ code: "aborted" })
  })

  test("is let go when the connection is over", async () => {
    const abort = new AbortController()
    const [socket, served] = await connect({ signal: abort.signal })
    served.stream.finish()
    await socket.writable.close()
    await readAll(socket.readable)
    await socket.closed
    await settle()
    expect(getEventListeners(abort.signal, "abort")).toHaveLength(0)
  })
})

test("300 connections at once are 256 and 44 typed errors, and those that are go on", async () => {
  const connecting = Promise.allSettled(Array.from({ length: 300 }, () => memory.agent.connect(target)))
  const served = await Promise.all(Array.from({ length: limits.streamsMax }, () => memory.next()))
  for (const one of served) one.accept({})
  const results = await connecting
  const failed = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []))
  expect(failed).toHaveLength(44)
  expect(new Set(failed.map(({ code }) => code))).toEqual(new Set(["too-many-streams"]))
  for (const one of served) {
    one.say(tag, "hello")
    one.stream.finish()
  }
  for (const result of results) if (result.status === "fulfilled") expect(await readAll(result.value.readable)).toBe("hello")
})
