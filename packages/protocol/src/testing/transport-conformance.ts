/** What every transport adapter must do, as tests that any test runner can register. */
import type { Transport, TransportEvents } from "../ports.ts"

export interface TransportPair {
  readonly left: Transport
  readonly right: Transport
  /** Frees what the pair holds. */
  dispose(): Promise<void>
}

/** Opens two connected transports; what arrives at each goes to its events. */
export type OpenTransports = (left: TransportEvents, right: TransportEvents) => Promise<TransportPair>

/** A test runner's `test`. */
export type ConformanceTest = (title: string, body: () => Promise<void>) => void

/** Collects what one end hears, and wakes who waits for more. */
class Ear implements TransportEvents {
  readonly messages: Uint8Array[] = []
  drains = 0
  closes: { readonly code: number; readonly reason: string }[] = []
  #wake: (() => void)[] = []

  message(bytes: Uint8Array): void {
    this.messages.push(new Uint8Array(bytes))
    this.#changed()
  }

  drained(): void {
    this.drains += 1
    this.#changed()
  }

  closed(code: number, reason: string): void {
    this.closes.push({ code, reason })
    this.#changed()
  }

  /** The runner's own time limit ends a wait for something that never comes. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#wake.push(resolve))
  }

  #changed(): void {
    const waiting = this.#wake
    this.#wake = []
    for (const wake of waiting) wake()
  }
}

function assert(condition: boolean, expectation: string): void {
  if (!condition) throw new Error(`expected ${expectation}`)
}

const sameBytes = (one: Uint8Array | undefined, other: Uint8Array): boolean =>
  one !== undefined && one.byteLength === other.byteLength && one.every((byte, index) => byte === other[index])

const pattern = (length: number, salt: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (index * 31 + (index >>> 8) + salt) & 0xff)

export function registerTransportConformance(test: ConformanceTest, open: OpenTransports): void {
  const withPair = (title: string, body: (pair: TransportPair, left: Ear, right: Ear) => Promise<void>) =>
    test(title, async () => {
      const left = new Ear()
      const right = new Ear()
      const pair = await open(left, right)
      try {
        await body(pair, left, right)
      } finally {
        await pair.dispose()
      }
    })

  withPair("[TP1] messages arrive whole, unchanged and in order, both ways", async ({ left, right }, leftEar, rightEar) => {
    const sizes = [1, 16, 1_000, 65_561, 2, 262_169]
    for (const [index, size] of sizes.entries()) {
      left.send(pattern(size, index))
      right.send(pattern(size, index + 100))
    }
    await rightEar.until(() => rightEar.messages.length === sizes.length)
    await leftEar.until(() => leftEar.messages.length === sizes.length)
    for (const [index, size] of sizes.entries()) {
      assert(sameBytes(rightEar.messages[index], pattern(size, index)), `message ${index} of ${size} bytes at the right`)
      assert(sameBytes(leftEar.messages[index], pattern(size, index + 100)), `message ${index} of ${size} bytes at the left`)
    }
  })

  withPair("[TP1] a message of the largest size, 1 MiB, arrives", async ({ left }, _, rightEar) => {
    left.send(pattern(1_048_576, 7))
    await rightEar.until(() => rightEar.messages.length === 1)
    assert(sameBytes(rightEar.messages[0], pattern(1_048_576, 7)), "1 MiB unchanged")
  })

  withPair("[TP2] send calls nobody before it returns", async ({ left }, leftEar, rightEar) => {
    left.send(pattern(10, 0))
    assert(rightEar.messages.length === 0 && leftEar.drains === 0, "no event inside send")
    await rightEar.until(() => rightEar.messages.length === 1)
  })

  withPair("[TP3] a view of a larger buffer sends that view only", async ({ left }, _, rightEar) => {
    left.send(pattern(100, 0).subarray(40, 60))
    await rightEar.until(() => rightEar.messages.length === 1)
    assert(sameBytes(rightEar.messages[0], pattern(100, 0).slice(40, 60)), "20 bytes")
  })

  withPair("[TP4] close arrives behind what was sent, with its code and reason, once", async ({ left }, _, rightEar) => {
    left.send(pattern(200_000, 3))
    left.close(4009, "replaced")
    await rightEar.until(() => rightEar.closes.length > 0)
    assert(rightEar.messages.length === 1, "the message before the close")
    const [close] = rightEar.closes
    assert(
      close?.code === 4009 && close.reason === "replaced" && rightEar.closes.length === 1,
      `close 4009 "replaced", got ${JSON.stringify(rightEar.closes)}`,
    )
  })

  withPair("[TP5] close twice and send after close do nothing", async ({ left }, _, rightEar) => {
    left.close(1000, "bye")
    left.close(1000, "bye again")
    left.send(pattern(5, 0))
    await rightEar.until(() => rightEar.closes.length > 0)
    assert(rightEar.messages.length === 0 && rightEar.closes.length === 1, "one close and no message")
  })

  withPair("[TP6] bufferedBytes is back at zero once all has been taken", async ({ left }, leftEar, rightEar) => {
    for (let index = 0; index < 20; index++) left.send(pattern(65_536, index))
    await rightEar.until(() => rightEar.messages.length === 20)
    if (left.bufferedBytes > 0) await leftEar.until(() => left.bufferedBytes === 0)
  })
}
