import { describe, expect, test } from "vitest"
import { firstDelayMs, isFinalCloseCode, reconnect, stableMs } from "../src/index.ts"

const lost = { attempt: 0, code: 1006, connectedMs: 0, random: 0.5 }

describe("reconnect", () => {
  test.each([4001, 4003, 4009, 4010, 4026])("[RC1] %i is final", (code) => {
    expect(reconnect({ ...lost, code, connectedMs: 1e9 })).toEqual({ action: "stop" })
  })

  test.each([1000, 1001, 1002, 1006, 1009, 1011, 1012, 4000, 4029])("[RC1] %i is not", (code) => {
    expect(isFinalCloseCode(code)).toBe(false)
    expect(reconnect({ ...lost, code }).action).toBe("wait")
  })

  test("[RC2] waits are drawn from a range that doubles from 1 s to 30 s and starts at zero", () => {
    const ranges = Array.from({ length: 8 }, (_, attempt) => {
      const longest = reconnect({ ...lost, attempt, random: 0.999_999 })
      const shortest = reconnect({ ...lost, attempt, random: 0 })
      expect(shortest).toMatchObject({ delayMs: 0, attempt: attempt + 1 })
      return longest.action === "wait" ? Math.round(longest.delayMs / 1_000) : -1
    })
    expect(ranges).toEqual([1, 2, 4, 8, 16, 30, 30, 30])
    expect(reconnect({ ...lost, attempt: 5_000, random: 0.5 })).toMatchObject({ delayMs: 15_000 })
  })

  test("[RC3] a connection that lasted 10 s is redialled at once and the attempts are forgiven", () => {
    expect(reconnect({ ...lost, attempt: 9, connectedMs: stableMs })).toEqual({ action: "wait", delayMs: 0, attempt: 0 })
  })

  test("[RC3] one that lasted 1 s forgives the attempts before it and counts as the first, a shorter one forgives none", () => {
    expect(reconnect({ ...lost, attempt: 9, connectedMs: stableMs - 1 })).toEqual({ action: "wait", delayMs: 500, attempt: 1 })
    expect(reconnect({ ...lost, attempt: 9, connectedMs: firstDelayMs })).toEqual({ action: "wait", delayMs: 500, attempt: 1 })
    expect(reconnect({ ...lost, attempt: 9, connectedMs: firstDelayMs - 1 })).toEqual({ action: "wait", delayMs: 15_000, attempt: 10 })
  })

  test("[RC3] a line that is cut every 2 s costs at most as long a wait as the first cut, however often", () => {
    let attempt = 0
    for (let cut = 0; cut < 100; cut++) {
      const verdict = reconnect({ ...lost, attempt, connectedMs: 2_000, random: 0.999_999 })
      if (verdict.action === "stop") throw new Error("not final")
      expect(verdict.delayMs).toBeLessThan(firstDelayMs)
      attempt = verdict.attempt
    }
  })

  test("[RC3] a restart of the gateway does not bring everybody back in the same instant", () => {
    const lasting = { ...lost, attempt: 3, code: 1012, connectedMs: stableMs }
    expect(reconnect({ ...lasting, random: 0 })).toEqual({ action: "wait", delayMs: 0, attempt: 0 })
    expect(reconnect({ ...lasting, random: 0.9 })).toEqual({ action: "wait", delayMs: 900, attempt: 0 })
  })

  test("[RC6] after 1011 a connection counts as one that did not last, however long it did", () => {
    const flapping = { ...lost, code: 1011, connectedMs: 1e9, random: 0.5 }
    expect(reconnect(flapping)).toEqual({ action: "wait", delayMs: 500, attempt: 1 })
    expect(reconnect({ ...flapping, attempt: 3 })).toEqual({ action: "wait", delayMs: 4_000, attempt: 4 })
  })

  test("[RC4] after 4029 at least 5 s pass, however long the connection lasted", () => {
    expect(reconnect({ ...lost, code: 4029, connectedMs: 1e9, random: 0 })).toEqual({ action: "wait", delayMs: 5_000, attempt: 1 })
    expect(reconnect({ ...lost, code: 4029, random: 0.5 })).toMatchObject({ delayMs: 20_000 })
  })
})
