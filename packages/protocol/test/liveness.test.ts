import { describe, expect, test } from "vitest"
import { Liveness, limits } from "../src/index.ts"
import { VirtualClock } from "../src/testing/index.ts"

const { pingIntervalMs, pingDeadMs, probeAfterMs, probeVerdictMs } = limits
const probeDeadMs = probeAfterMs + probeVerdictMs

function leg() {
  const clock = new VirtualClock()
  const pings: number[] = []
  let deadAtMs: number | undefined
  const start = clock.now()
  const liveness = new Liveness({
    clock,
    ping: () => pings.push(clock.now() - start),
    dead: () => {
      expect(deadAtMs).toBeUndefined()
      deadAtMs = clock.now() - start
    },
  })
  return { clock, liveness, pings, deadAt: () => deadAtMs }
}

describe("liveness", () => {
  test("[CT1] an idle leg is pinged every 30 s and dead after 75 s without a word", () => {
    const { clock, pings, deadAt } = leg()
    clock.advance(pingDeadMs - 1)
    expect(pings).toEqual([pingIntervalMs, 2 * pingIntervalMs])
    expect(deadAt()).toBeUndefined()
    clock.advance(1)
    expect(deadAt()).toBe(pingDeadMs)
    clock.advance(10 * pingDeadMs)
    expect(pings).toHaveLength(2)
  })

  test("[CT1] a leg that answers lives for ever, on one ping in 30 s", () => {
    const { clock, liveness, pings, deadAt } = leg()
    for (let round = 0; round < 100; round++) {
      clock.advance(pingIntervalMs)
      liveness.heard()
    }
    expect(pings).toHaveLength(100)
    expect(deadAt()).toBeUndefined()
  })

  test("[CT8] what was sent and not answered is asked after in 4 s, and the leg is dead in 9", () => {
    const { clock, liveness, pings, deadAt } = leg()
    clock.advance(1_000)
    liveness.sent()
    clock.advance(probeAfterMs - 1)
    expect(pings).toEqual([])
    clock.advance(1)
    expect(pings).toEqual([1_000 + probeAfterMs])
    clock.advance(probeDeadMs - probeAfterMs - 1)
    expect(deadAt()).toBeUndefined()
    clock.advance(1)
    expect(deadAt()).toBe(1_000 + probeDeadMs)
  })

  test("[CT8] an answer to the probe is enough, and the leg is idle again", () => {
    const { clock, liveness, pings, deadAt } = leg()
    liveness.sent()
    clock.advance(probeAfterMs)
    liveness.heard()
    clock.advance(pingIntervalMs - 1)
    expect(pings).toHaveLength(1)
    clock.advance(1)
    expect(pings).toEqual([probeAfterMs, probeAfterMs + pingIntervalMs])
    expect(deadAt()).toBeUndefined()
  })

  test("[CT8] traffic that is answered is never probed, however long it goes on", () => {
    const { clock, liveness, pings } = leg()
    for (let round = 0; round < 1_000; round++) {
      liveness.sent()
      clock.advance(probeAfterMs - 1)
      liveness.heard()
    }
    expect(pings).toEqual([])
  })

  test("[CT8] later messages do not put off the verdict on the first", () => {
    const { clock, liveness, deadAt } = leg()
    for (let at = 0; at < probeDeadMs; at += 500) {
      liveness.sent()
      clock.advance(500)
    }
    expect(deadAt()).toBe(probeDeadMs)
  })

  test("[CT8] a leg that was heard of, and may have answered something older, is asked as if it had answered nothing", () => {
    const { clock, liveness, deadAt } = leg()
    liveness.sent()
    clock.advance(10)
    liveness.heard()
    clock.advance(probeDeadMs)
    expect(deadAt()).toBe(10 + probeDeadMs)
  })

  test("[CT8] a process that slept asks before it judges", () => {
    const { clock, liveness, pings, deadAt } = leg()
    liveness.sent()
    // The timer comes late: what waits in the socket has not been read yet.
    clock.skip(probeDeadMs + 5_000)
    expect(pings).toHaveLength(1)
    clock.advance(probeVerdictMs - 1)
    expect(deadAt()).toBeUndefined()
    liveness.heard()
    clock.advance(pingIntervalMs - 1)
    expect(deadAt()).toBeUndefined()
  })

  test("[CT8] an idle leg that slept for longer than it may be silent is asked too, and is dead without an answer", () => {
    const { clock, pings, deadAt } = leg()
    clock.skip(10 * pingDeadMs)
    expect(pings).toHaveLength(1)
    clock.advance(probeVerdictMs)
    expect(deadAt()).toBe(10 * pingDeadMs + probeVerdictMs)
  })

  test("a leg that was closed is asked nothing", () => {
    const { clock, liveness, pings, deadAt } = leg()
    liveness.sent()
    liveness.stop()
    clock.advance(10 * pingDeadMs)
    expect([pings, deadAt()]).toEqual([[], undefined])
  })
})
