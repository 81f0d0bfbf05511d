/** What is queued on a stream: a copy of what was given, in order, in memory that is used again only when it may be. */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { type Blocks, SendQueue, type Taken } from "../../src/mux/send-queue.ts"

const blockBytes = 65_536

/** As the mux has them: a block that is given back is used again only after the next `settle`. */
class FakeBlocks implements Blocks {
  made = 0
  readonly #free: Uint8Array[] = []
  #spent: Uint8Array[] = []

  take(): Uint8Array {
    const block = this.#free.pop()
    if (block !== undefined) return block
    this.made += 1
    return new Uint8Array(blockBytes)
  }

  give(block: Uint8Array): void {
    this.#spent.push(block)
  }

  settle(): void {
    this.#free.push(...this.#spent)
    this.#spent = []
  }
}

const wholeOf = ({ bytes, more = [] }: Taken): Uint8Array => Uint8Array.from([bytes, ...more].flatMap((piece) => [...piece]))

const lengths = (queue: SendQueue, max: number): number[] => {
  const all: number[] = []
  for (let taken = queue.take(max); taken !== undefined; taken = queue.take(max)) all.push(wholeOf(taken).byteLength)
  return all
}

describe("a queue of bytes to send", () => {
  test("holds a copy: what was given may change", () => {
    for (const length of [3, 20_000]) {
      const queue = new SendQueue(new FakeBlocks())
      const bytes = new Uint8Array(length).fill(1)
      queue.push(7, bytes)
      bytes.fill(2)
      expect(queue.take(length)).toEqual({ tag: 7, bytes: new Uint8Array(length).fill(1) })
    }
  })

  test("gives frames of full size, whatever the chunks of a stream that is read in large pieces", () => {
    const queue = new SendQueue(new FakeBlocks())
    for (const length of [40_000, 65_536, 40_000, 51_072]) queue.push(1, new Uint8Array(length))
    expect(lengths(queue, blockBytes)).toEqual([blockBytes, blockBytes, blockBytes])
  })

  test("gives frames of full size behind one that was cut short", () => {
    const queue = new SendQueue(new FakeBlocks())
    for (let count = 0; count < 4; count++) queue.push(1, new Uint8Array(blockBytes))
    const short = queue.take(30_000)
    expect(short === undefined ? undefined : wholeOf(short).byteLength).toBe(30_000)
    expect(lengths(queue, blockBytes)).toEqual([blockBytes, blockBytes, blockBytes, 35_536])
  })

  test("uses few blocks for many bytes", () => {
    const blocks = new FakeBlocks()
    const queue = new SendQueue(blocks)
    for (let count = 0; count < 1_000; count++) {
      queue.push(1, new Uint8Array(50_000))
      while (queue.bytes > 100_000) queue.take(blockBytes)
      blocks.settle()
    }
    expect(blocks.made).toBeLessThan(6)
  })

  test("gives what it was given, in order, however it is asked and whenever more comes", () => {
    const push = fc.record({
      tag: fc.integer({ min: 1, max: 2 }),
      length: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 10_000, max: 150_000 })),
    })
    const take = fc.record({ max: fc.oneof(fc.integer({ min: 1, max: 5_000 }), fc.constant(blockBytes)) })
    fc.assert(
      fc.property(fc.array(fc.oneof(push, take), { maxLength: 40 }), fc.array(push, { maxLength: 10 }), (steps, refills) => {
        const blocks = new FakeBlocks()
        const queue = new SendQueue(blocks)
        const given: Record<number, number> = { 1: 0, 2: 0 }
        const seen: Record<number, number> = { 1: 0, 2: 0 }
        const write = ({ tag, length }: { tag: number; length: number }): void => {
          const from = given[tag] ?? 0
          queue.push(
            tag,
            Uint8Array.from({ length }, (_, index) => (from + index) % 251),
          )
          given[tag] = from + length
        }
        const look = (max: number): boolean => {
          const taken = queue.take(max)
          if (taken === undefined) return false
          // As owners do who hear that there is room: before what was taken is on its way.
          const refill = refills.pop()
          if (refill !== undefined) write(refill)
          const bytes = wholeOf(taken)
          const at = seen[taken.tag] ?? 0
          expect(bytes.byteLength).toBeLessThanOrEqual(max)
          expect(bytes.every((byte, index) => byte === (at + index) % 251)).toBe(true)
          seen[taken.tag] = at + bytes.byteLength
          blocks.settle()
          return true
        }
        for (const step of steps) {
          if ("max" in step) look(step.max)
          else write(step)
        }
        while (look(blockBytes));
        expect(seen).toEqual(given)
        expect(queue.bytes).toBe(0)
      }),
      { numRuns: 100 },
    )
  })
})
