import { describe, expect, test } from "vitest"
import { byteOffset } from "../../src/index.ts"
import { SendLog } from "../../src/link/send-log.ts"

const message = (value: number) => Uint8Array.of(value)
const logged = (...sizes: number[]) => {
  const log = new SendLog()
  for (const [index, size] of sizes.entries()) log.append(message(index), size, index)
  return log
}

describe("send log", () => {
  test("[LK1] each message starts where the one before it ended", () => {
    const log = logged(10, 20, 5)
    expect(log.unacknowledged().map(({ start, end }) => [start, end])).toEqual([
      [0, 10],
      [10, 30],
      [30, 35],
    ])
    expect(log.end).toBe(35)
    expect(log.inFlightBytes).toBe(35)
  })

  test("[LK5] an acknowledgement drops what it covers and names the newest it covers", () => {
    const log = logged(10, 20, 5)
    expect(log.acknowledge(byteOffset(30), 60)).toMatchObject({ start: 10, end: 30, sentAtMs: 1 })
    expect(log.unacknowledged()).toHaveLength(1)
    expect(log.inFlightBytes).toBe(5)
    expect(log.acknowledge(byteOffset(30), 60)).toBeUndefined()
  })

  test.each([9, 11, 29, 36, 2 ** 47])("[LK5] %i is no boundary of what was sent", (ack) => {
    const log = logged(10, 20, 5)
    expect(() => log.acknowledge(byteOffset(ack), 60)).toThrow("LK5")
  })

  test("[LK5] an acknowledgement does not go back", () => {
    const log = logged(10, 20)
    log.acknowledge(byteOffset(10), 60)
    expect(() => log.acknowledge(byteOffset(0), 60)).toThrow("LK5")
  })

  test("a long log keeps its order while it is acknowledged piece by piece", () => {
    const log = logged(...Array.from({ length: 1_000 }, () => 3))
    for (let acked = 3; acked <= 2_700; acked += 3) log.acknowledge(byteOffset(acked), 60)
    expect(log.unacknowledged()).toHaveLength(100)
    expect(log.unacknowledged()[0]).toMatchObject({ start: 2_700 })
  })

  test("a message remembers what was acknowledged when it was sent", () => {
    const log = logged(10, 3)
    log.acknowledge(byteOffset(10), 40)
    log.append(message(9), 4, 50)
    expect(log.acknowledge(byteOffset(17), 60)).toMatchObject({ ackedAtSend: 10, ackedAtSendMs: 40, sentAtMs: 50 })
    // With nothing in flight the interval starts with the message.
    log.append(message(9), 4, 70)
    expect(log.acknowledge(byteOffset(21), 80)).toMatchObject({ ackedAtSend: 17, ackedAtSendMs: 70, sentAtMs: 70 })
  })
})
