/** The conformance suite on the simulated line, and on transports that are wrong on purpose. */
import { describe, expect, test } from "vitest"
import type { TransportEvents } from "../../src/index.ts"
import { type OpenTransports, registerTransportConformance, SeededRandom, SimulatedLine, VirtualClock } from "../../src/testing/index.ts"

/** A line whose virtual time passes while the event loop turns. `spoil` changes what the right end hears. */
const openLine =
  (spoil: (events: TransportEvents) => TransportEvents = (events) => events): OpenTransports =>
  (leftEvents, rightEvents) => {
    const clock = new VirtualClock()
    const line = new SimulatedLine({ clock, random: new SeededRandom(1), delayMs: 5, jitterMs: 20, bytesPerMs: 50_000 })
    line.listen("left", leftEvents)
    line.listen("right", spoil(rightEvents))
    let disposed = false
    const turn = () => {
      clock.advance(1)
      if (!disposed) setImmediate(turn)
    }
    setImmediate(turn)
    const dispose = async () => {
      disposed = true
    }
    return Promise.resolve({ left: line.left, right: line.right, dispose })
  }

describe("the simulated line", () => {
  registerTransportConformance(test, openLine())
})

describe("the suite finds", () => {
  const failures = async (open: OpenTransports): Promise<string[]> => {
    const failed: string[] = []
    const bodies: Promise<void>[] = []
    registerTransportConformance((title, body) => {
      bodies.push(body().catch(() => void failed.push(title.slice(0, 5))))
    }, open)
    await Promise.all(bodies)
    return failed
  }

  test("a transport that changes a byte", async () => {
    const open = openLine((events) => ({
      message: (bytes) => {
        const [first = 0] = bytes
        events.message(Uint8Array.from(bytes, (byte, index) => (index === 0 ? first ^ 1 : byte)))
      },
      drained: () => events.drained(),
      closed: (code, reason) => events.closed(code, reason),
    }))
    expect(await failures(open)).toEqual(expect.arrayContaining(["[TP1]", "[TP3]"]))
  })

  test("a transport that loses the reason of a close", async () => {
    const open = openLine((events) => ({
      message: (bytes) => events.message(bytes),
      drained: () => events.drained(),
      closed: (code) => events.closed(code, ""),
    }))
    expect(await failures(open)).toEqual(["[TP4]"])
  })
})
