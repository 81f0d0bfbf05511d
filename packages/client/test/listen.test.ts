/** A listener at the agent as its client sees it: who comes, taking them, and every end. */
import { getEventListeners } from "node:events"
import { limits, TunnelError } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { IncomingConnection, Listener, SocketOptions } from "../src/index.ts"
import { MemoryAgent, type Served, settle, utf8 } from "./memory-agent.ts"

let memory: MemoryAgent
beforeEach(() => {
  memory = new MemoryAgent()
})
afterEach(() => memory.agent.close())

const id = "a".repeat(22)
const from = { address: "10.0.0.9", port: 40_000 }

async function listen(options?: SocketOptions): Promise<[Listener, Served]> {
  const starting = memory.agent.listen({ host: "127.0.0.1", port: 0 }, options)
  const served = await memory.next()
  served.accept({ listener: id, address: { host: "127.0.0.1", port: 8_080 } })
  return [await starting, served]
}

const comes = (served: Served, connection: number): void => served.stream.sendMessage({ type: "incoming", connection, from })

async function next(listener: Listener): Promise<IncomingConnection> {
  const result = await listener.connections.next()
  if (result.done === true) throw new Error("the listener has ended")
  return result.value
}

describe("listen", () => {
  test("asks for an address, and gives the one that was taken", async () => {
    const [listener, served] = await listen()
    expect([served.stream.kind, served.body]).toEqual(["listen", { address: { host: "127.0.0.1", port: 0 } }])
    expect(listener.address).toEqual({ host: "127.0.0.1", port: 8_080 })
  })

  test.each([{ host: "", port: 0 }, { host: "h", port: 65_536 }, { path: "relative" }])("at %j is bad-request", async (wrong) => {
    await expect(memory.agent.listen(wrong)).rejects.toMatchObject({ code: "bad-request", delivered: "no" })
    expect(memory.dials).toBe(0)
  })

  test("rejects with the agent's refusal", async () => {
    const starting = memory.agent.listen({ path: "/run/s" })
    ;(await memory.next()).stream.reject(new TunnelError("address-in-use", "/run/s is taken"))
    await expect(starting).rejects.toMatchObject({ code: "address-in-use", delivered: "no" })
  })

  test("rejects, and ends what was opened, when the agent's answer is none", async () => {
    const starting = memory.agent.listen({ path: "/run/s" })
    const served = await memory.next()
    served.accept({ listener: id })
    await expect(starting).rejects.toMatchObject({ code: "bad-request" })
    await served.until(() => served.closed !== undefined)
  })
})

describe("those who connect", () => {
  test("are given in order, and taken one by one", async () => {
    const [listener, served] = await listen()
    const first = next(listener)
    comes(served, 1)
    comes(served, 2)
    expect((await first).from).toEqual(from)
    const second = await next(listener)
    const accepting = second.accept()
    const accepted = await memory.next()
    expect([accepted.stream.kind, accepted.body]).toEqual(["accept", { listener: id, connection: 2 }])
    accepted.accept({})
    const socket = await accepting
    expect(socket.address).toBeUndefined()
    accepted.say(0, "hello")
    const { value } = await socket.readable.getReader().read()
    expect(value).toEqual(utf8("hello"))
    await socket.writable.getWriter().write(utf8("welcome"))
    await accepted.until(() => accepted.input === "welcome")
  })

  test("are of no known place at a unix socket", async () => {
    const [listener, served] = await listen()
    served.stream.sendMessage({ type: "incoming", connection: 1 })
    expect((await next(listener)).from).toBeUndefined()
  })

  test("and are gone when they are taken reject with not-found", async () => {
    const [listener, served] = await listen()
    comes(served, 1)
    const accepting = (await next(listener)).accept()
    ;(await memory.next()).stream.reject(new TunnelError("not-found", "does not wait"))
    await expect(accepting).rejects.toMatchObject({ code: "not-found" })
  })

  test("are forgotten, the oldest first, when more are not looked at than can wait at the agent", async () => {
    const [listener, served] = await listen()
    for (let connection = 1; connection <= limits.listenBacklogMax + 2; connection++) {
      comes(served, connection)
      await settle()
    }
    const accepting = (await next(listener)).accept()
    expect((await memory.next()).body).toEqual({ listener: id, connection: 3 })
    listener.close()
    memory.agent.close()
    await expect(accepting).rejects.toBeInstanceOf(TunnelError)
  })
})

describe("the end", () => {
  test("by close() is the agent's too; nobody else is given, and those taken go on", async () => {
    const [listener, served] = await listen()
    comes(served, 1)
    const accepting = (await next(listener)).accept()
    const accepted = await memory.next()
    accepted.accept({})
    const socket = await accepting
    comes(served, 2)
    await settle()
    await next(listener)
    const waits = listener.connections.next()
    listener.close()
    expect(await waits).toEqual({ done: true, value: undefined })
    await served.until(() => served.inputEnded)
    served.stream.finish()
    await settle()
    expect(served.closed).toEqual({ error: undefined })
    accepted.say(0, "still here")
    expect((await socket.readable.getReader().read()).value).toEqual(utf8("still here"))
  })

  test("is at once: who came before close() is not given after it", async () => {
    const [listener, served] = await listen()
    comes(served, 1)
    await settle()
    listener.close()
    comes(served, 2)
    await settle()
    expect(await listener.connections.next()).toEqual({ done: true, value: undefined })
  })

  test("comes with leaving the iteration", async () => {
    const [listener, served] = await listen()
    comes(served, 1)
    for await (const incoming of listener.connections) {
      expect(incoming.from).toEqual(from)
      break
    }
    await served.until(() => served.inputEnded)
  })

  test("by the agent ends the iteration, and our half", async () => {
    const [listener, served] = await listen()
    const waits = listener.connections.next()
    served.stream.finish()
    expect(await waits).toEqual({ done: true, value: undefined })
    await served.until(() => served.closed !== undefined)
    expect(served.closed).toEqual({ error: undefined })
  })

  test("by a reset is thrown to whoever waits and whoever asks", async () => {
    const [listener, served] = await listen()
    const waits = [listener.connections.next(), listener.connections.next()]
    served.stream.reset(new TunnelError("agent-stopped", "stopped"))
    for (const wait of waits) await expect(wait).rejects.toMatchObject({ code: "agent-stopped" })
    await expect(listener.connections.next()).rejects.toMatchObject({ code: "agent-stopped" })
  })

  test("by a message that is none is bad-request, at both ends", async () => {
    const [listener, served] = await listen()
    served.stream.sendMessage({ type: "incoming", connection: 0 })
    await expect(listener.connections.next()).rejects.toMatchObject({ code: "bad-request" })
    await served.until(() => served.closed !== undefined)
    expect(served.closed?.error).toMatchObject({ code: "bad-request" })
  })

  test("by the caller's signal is aborted, and the signal is let go", async () => {
    const abort = new AbortController()
    const [listener, served] = await listen({ signal: abort.signal })
    const waits = listener.connections.next()
    abort.abort("enough")
    await expect(waits).rejects.toMatchObject({ code: "aborted", cause: "enough" })
    await served.until(() => served.closed !== undefined)
    const over = new AbortController()
    const [other, servedOther] = await listen({ signal: over.signal })
    other.close()
    await servedOther.until(() => servedOther.inputEnded)
    servedOther.stream.finish()
    await settle()
    expect(getEventListeners(over.signal, "abort")).toHaveLength(0)
  })

  test("before the answer, by the caller's signal, is aborted", async () => {
    const abort = new AbortController()
    const starting = memory.agent.listen({ path: "/run/s" }, { signal: abort.signal })
    await memory.next()
    abort.abort()
    await expect(starting).rejects.toMatchObject({ code: "aborted", delivered: "unknown" })
  })
})
