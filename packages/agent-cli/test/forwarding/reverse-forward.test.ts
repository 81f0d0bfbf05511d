import type { IncomingConnection, Listener } from "@trunkline/client"
import { type ListenAddress, TunnelError } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { startReverseForward } from "../../src/forwarding/reverse-forward.ts"
import { type StreamAgent, StreamPlaces, streamsPerLinkMax } from "../../src/forwarding/stream-places.ts"
import { until } from "./scripted-tunnel.ts"

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] })
  // The longest wait of each range.
  vi.spyOn(Math, "random").mockReturnValue(1)
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const somewhere: IncomingConnection = { from: undefined, accept: () => Promise.reject(new Error("not asked for")) }

/** An agent that listens, or refuses, as the script says: undefined is a listener. */
class ScriptedAgent implements StreamAgent {
  readonly asked: ListenAddress[] = []
  script: (TunnelError | undefined)[] = []
  #wake: ((result: IteratorResult<IncomingConnection>) => void) | undefined
  #break: ((error: Error) => void) | undefined

  connect(): never {
    throw new Error("not asked for")
  }

  async listen(address: ListenAddress, options: { readonly signal?: AbortSignal } = {}): Promise<Listener> {
    this.asked.push(address)
    const refusal = this.script.shift()
    if (refusal !== undefined) throw refusal
    options.signal?.addEventListener("abort", () => this.#break?.(new TunnelError("aborted", "aborted")))
    const connections: AsyncIterableIterator<IncomingConnection> = {
      next: () =>
        new Promise((resolve, reject) => {
          this.#wake = resolve
          this.#break = reject
        }),
      [Symbol.asyncIterator]: () => connections,
    }
    return {
      address: "port" in address ? { ...address, port: address.port === 0 ? 40_000 : address.port } : address,
      connections,
      close() {},
    }
  }

  connected(): void {
    this.#wake?.({ done: false, value: somewhere })
  }

  /** The listener is gone. */
  lose(): void {
    this.#break?.(new TunnelError("link-lost", "the link is gone"))
  }
}

async function started(script: (TunnelError | undefined)[] = []) {
  const agent = new ScriptedAgent()
  agent.script = script
  const places = new StreamPlaces([agent])
  const closing = new AbortController()
  const told: string[] = []
  const { address } = await startReverseForward({
    address: { host: "localhost", port: 0 },
    places,
    signal: closing.signal,
    connected: (_incoming, listener) => told.push(listener.agent === agent ? "connected" : "elsewhere"),
    lost: ({ code }) => told.push(`lost: ${code}`),
    back: () => told.push("back"),
    failed: (error) => told.push(`failed: ${error instanceof TunnelError ? error.code : error}`),
  })
  return { agent, address, told, places, closing }
}

const offline = new TunnelError("agent-offline", "not there")
const inUse = new TunnelError("address-in-use", "the lost link still has it")

describe("a reverse forward", () => {
  test("says which port it took, and passes on who connects, for that listener's link", async () => {
    const { agent, address, told } = await started()
    expect(address).toEqual({ host: "localhost", port: 40_000 })
    agent.connected()
    await until(() => told.length === 1)
    expect(told).toEqual(["connected"])
  })

  test("that cannot be had at the start rejects", async () => {
    await expect(started([inUse])).rejects.toBe(inUse)
  })

  test("listens again at the same port, with longer and longer waits, and says so once", async () => {
    const { agent, told } = await started()
    agent.script = [offline, inUse, undefined]
    agent.lose()
    await until(() => told.length === 1)
    for (const [waitMs, asked] of [
      [1_000, 2],
      [2_000, 3],
      [4_000, 4],
    ] as const) {
      await vi.advanceTimersByTimeAsync(waitMs - 1)
      expect(agent.asked).toHaveLength(asked - 1)
      await vi.advanceTimersByTimeAsync(1)
      expect(agent.asked).toHaveLength(asked)
    }
    await until(() => told.length === 2)
    expect(told).toEqual(["lost: link-lost", "back"])
    expect(agent.asked.slice(1)).toEqual([1, 2, 3].map(() => ({ host: "localhost", port: 40_000 })))
  })

  test("that is lost as soon as it is back waits longer; one that lasted does not", async () => {
    const { agent, told } = await started()
    agent.lose()
    await until(() => told.length === 1)
    await vi.advanceTimersByTimeAsync(1_000)
    agent.lose()
    await until(() => told.length === 3)
    await vi.advanceTimersByTimeAsync(1_999)
    expect(told).toHaveLength(3)
    await vi.advanceTimersByTimeAsync(1)
    expect(told).toHaveLength(4)
    await vi.advanceTimersByTimeAsync(10_000)
    agent.lose()
    await until(() => told.length === 5)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(told).toEqual(["lost: link-lost", "back", "lost: link-lost", "back", "lost: link-lost", "back"])
  })

  test.each(["unauthorised", "denied"] as const)("stops trying at %s, and says so", async (code) => {
    const { agent, told } = await started()
    agent.script = [new TunnelError(code, "no")]
    agent.lose()
    await until(() => told.length === 1)
    await vi.advanceTimersByTimeAsync(1_000)
    await until(() => told.length === 2)
    await vi.advanceTimersByTimeAsync(600_000)
    expect(told).toEqual(["lost: link-lost", `failed: ${code}`])
  })

  test("holds a place on its link while it listens, and no other", async () => {
    const { agent, told, places } = await started()
    await Promise.all(Array.from({ length: streamsPerLinkMax - 1 }, () => places.take()))
    let free = false
    void places.take().then(() => {
      free = true
    })
    agent.lose()
    await until(() => told.length === 1)
    await until(() => free)
  })

  test("that is closed says nothing and tries nothing, whether it listens or waits", async () => {
    const listening = await started()
    listening.closing.abort()
    await vi.advanceTimersByTimeAsync(60_000)
    expect({ told: listening.told, asked: listening.agent.asked.length }).toEqual({ told: [], asked: 1 })
    const waiting = await started()
    waiting.agent.script = [offline, offline, offline, offline]
    waiting.agent.lose()
    await until(() => waiting.told.length === 1)
    waiting.closing.abort()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(waiting.told).toEqual(["lost: link-lost"])
    expect(vi.getTimerCount()).toBe(0)
  })
})
