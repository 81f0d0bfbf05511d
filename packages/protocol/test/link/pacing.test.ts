import { describe, expect, test } from "vitest"
import { byteOffset } from "../../src/index.ts"
import { Pacing } from "../../src/link/pacing.ts"

const floorBytes = 65_536
const sent = (sentAtMs: number, ackedAtSend: number, ackedAtSendMs = sentAtMs) => ({
  message: new Uint8Array(0),
  start: byteOffset(0),
  end: byteOffset(0),
  sentAtMs,
  ackedAtSend: byteOffset(ackedAtSend),
  ackedAtSendMs,
})

describe("pacing", () => {
  test("[PC5] before anything is known bulk has 64 KiB", () => {
    const pacing = new Pacing()
    expect(pacing.rttMs).toBeUndefined()
    expect(pacing.bulkInFlightBytesMax).toBe(floorBytes)
  })

  test("[PC5] bulk in flight is a quarter more than bandwidth times round trip and acknowledgement delay", () => {
    const pacing = new Pacing()
    // 500,000 bytes in 100 ms, twice.
    pacing.acknowledged(sent(0, 0), 500_000, 100)
    pacing.acknowledged(sent(100, 500_000), 1_000_000, 200)
    expect(pacing.rttMs).toBe(100)
    expect(pacing.bulkInFlightBytesMax).toBe(656_250)
  })

  test("[PC5] a round trip that grows with a queue does not raise the bound", () => {
    const pacing = new Pacing()
    pacing.acknowledged(sent(0, 0), 500_000, 100)
    pacing.acknowledged(sent(100, 500_000), 2_500_000, 500)
    expect(pacing.rttMs).toBe(100)
    expect(pacing.bulkInFlightBytesMax).toBe(656_250)
  })

  test("[PC5] acknowledgements that gather do not make the path look faster", () => {
    const pacing = new Pacing()
    // Sent 99 ms after the last acknowledgement and covered by the next, 1 ms later, with all that was sent in between.
    pacing.acknowledged(sent(99, 0, 0), 500_000, 100)
    expect(pacing.bulkPayloadBytesMax).toBe(25_000)
  })

  test("[PC5] the bound is a whole number of bytes, whatever was measured", () => {
    const pacing = new Pacing()
    pacing.acknowledged(sent(0, 0), 333_333, 70.7)
    expect(Number.isInteger(pacing.bulkInFlightBytesMax)).toBe(true)
  })

  test("[PC5] what was measured ten seconds ago is no longer believed", () => {
    const pacing = new Pacing()
    pacing.acknowledged(sent(0, 0), 1_000_000, 10)
    pacing.acknowledged(sent(10_011, 1_000_000), 1_100_000, 10_111)
    expect(pacing.rttMs).toBe(100)
    expect(pacing.bulkInFlightBytesMax).toBe(131_250)
  })

  test("[PC5] a bulk frame takes 5 ms of the path, within 16 and 64 KiB", () => {
    const pacing = new Pacing()
    expect(pacing.bulkPayloadBytesMax).toBe(16_384)
    pacing.acknowledged(sent(0, 0), 1_000_000, 1_000)
    expect(pacing.bulkPayloadBytesMax).toBe(16_384)
    pacing.acknowledged(sent(1_000, 1_000_000), 1_800_000, 1_100)
    expect(pacing.bulkPayloadBytesMax).toBe(40_000)
    pacing.acknowledged(sent(1_100, 1_800_000), 11_800_000, 1_200)
    expect(pacing.bulkPayloadBytesMax).toBe(65_536)
  })

  test("[PC5] a path of no round trip at all gives a number", () => {
    const pacing = new Pacing()
    pacing.acknowledged(sent(5, 0), 1_000, 5)
    expect(pacing.bulkInFlightBytesMax).toBe(floorBytes)
  })
})
