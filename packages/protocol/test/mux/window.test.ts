import { describe, expect, test } from "vitest"
import { limits } from "../../src/index.ts"
import { ReceiveWindow, SendWindow } from "../../src/mux/window.ts"

const quarter = limits.streamWindowBytes / 4

describe("receive window", () => {
  test("[FC2] takes its window to the byte", () => {
    const window = new ReceiveWindow()
    window.receive(limits.streamWindowBytes)
    expect(() => window.receive(1)).toThrow("FC2")
  })

  test("[FC3] grants are gathered to a quarter window", () => {
    const window = new ReceiveWindow()
    window.receive(limits.streamWindowBytes)
    expect(window.consume(quarter - 1, 0, 50)).toBe(0)
    expect(window.consume(1, 0, 50)).toBe(quarter)
    window.receive(quarter)
    expect(() => window.receive(1)).toThrow("FC2")
  })

  test("[FC5] a quarter consumed within half a round trip of the last grant doubles the window, to 1 MiB at most", () => {
    const window = new ReceiveWindow()
    const grants = [0, 1, 2, 3].map((nowMs) => window.consume(1_048_576, nowMs, 50) - 1_048_576)
    expect(grants).toEqual([0, 262_144, 524_288, 0])
  })

  test("[FC5] half a round trip later or more it stays", () => {
    const window = new ReceiveWindow()
    expect(window.consume(quarter, 0, 50)).toBe(quarter)
    expect(window.consume(quarter, 25, 50)).toBe(quarter)
    expect(window.consume(quarter, 49.9, 50)).toBe(2 * quarter * 2.5)
  })
})

describe("send window", () => {
  test("[FC4] credit may reach 1 MiB and not pass it", () => {
    const window = new SendWindow()
    window.grant(limits.streamWindowBytesMax - limits.streamWindowBytes)
    expect(window.creditBytes).toBe(limits.streamWindowBytesMax)
    window.spend(10)
    expect(() => window.grant(11)).toThrow("FC4")
  })
})
