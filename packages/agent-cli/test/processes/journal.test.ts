/** What a journal keeps of a process's output, and what keeping it costs. */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { Journal, type OutputSource } from "../../src/processes/journal.ts"

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

const text = (journal: Journal, offset: number, bytesMax = 1_000_000): string | undefined => {
  const piece = journal.read(offset, bytesMax)
  return piece === undefined ? undefined : `${piece.source} ${piece.offset} ${new TextDecoder().decode(piece.bytes)}`
}

/** Everything kept, read piece by piece of at most `bytesMax`. */
function readAll(journal: Journal, bytesMax: number): { readonly source: OutputSource; readonly byte: number }[] {
  const all: { source: OutputSource; byte: number }[] = []
  let at = journal.from
  for (let piece = journal.read(at, bytesMax); piece !== undefined; piece = journal.read(at, bytesMax)) {
    for (const byte of piece.bytes) all.push({ source: piece.source, byte })
    at += piece.bytes.byteLength
  }
  return all
}

/** Memory that one block takes beside what it is asked to keep. */
const blockCostBytes = 16_384 + 128

describe("a journal", () => {
  test("counts both sources together and gives each run of one apart", () => {
    const journal = new Journal(() => 1_000)
    journal.append("stdout", bytes("one "))
    journal.append("stdout", bytes("two "))
    journal.append("stderr", bytes("oh "))
    journal.append("stdout", bytes("three"))
    expect([journal.from, journal.to]).toEqual([0, 16])
    expect(text(journal, 0)).toBe("stdout 0 one two ")
    expect(text(journal, 5)).toBe("stdout 5 wo ")
    expect(text(journal, 8)).toBe("stderr 8 oh ")
    expect(text(journal, 11, 2)).toBe("stdout 11 th")
    expect(text(journal, 13)).toBe("stdout 13 ree")
  })

  test("has nothing where nothing was written yet or everything is forgotten", () => {
    const journal = new Journal(() => 1_000)
    journal.append("stdout", new Uint8Array(0))
    expect(journal.read(0, 10)).toBeUndefined()
    journal.append("stdout", bytes("gone"))
    expect(journal.read(4, 10)).toBeUndefined()
    expect(journal.read(5, 10)).toBeUndefined()
    journal.clear()
    expect([journal.from, journal.to, journal.heldBytes]).toEqual([4, 4, 0])
    expect(journal.read(0, 10)).toBeUndefined()
    journal.append("stderr", bytes("new"))
    expect(text(journal, 4)).toBe("stderr 4 new")
  })

  test("copies what it is given", () => {
    const journal = new Journal(() => 1_000)
    const chunk = bytes("before")
    journal.append("stdout", chunk)
    chunk.fill(0)
    expect(text(journal, 0)).toBe("stdout 0 before")
  })

  test("puts new output where the oldest was, once it is full", () => {
    const journal = new Journal(() => 200_000)
    const memory = new Set<ArrayBufferLike>()
    for (let count = 0; count < 100; count++) {
      journal.append("stdout", new Uint8Array(50_000))
      const newest = journal.read(journal.to - 1, 1)
      if (newest !== undefined) memory.add(newest.bytes.buffer)
    }
    expect(memory.size).toBeLessThan(25)
  })

  test("forgets the oldest when its capacity shrinks", () => {
    let capacityBytes = 100_000
    const journal = new Journal(() => capacityBytes)
    for (let count = 0; count < 20; count++) journal.append("stdout", new Uint8Array(5_000))
    expect(journal.from).toBe(0)
    capacityBytes = 10_000
    journal.trim()
    expect(journal.to - journal.from).toBeGreaterThanOrEqual(10_000)
    expect(journal.heldBytes).toBeLessThan(10_000 + 2 * blockCostBytes)
  })

  test.each([
    ["one byte of each source in turn", [1], ["stdout", "stderr"]],
    ["single bytes", [1], ["stdout"]],
    ["lines of each source in turn", [40], ["stdout", "stderr"]],
    ["a byte between large chunks", [1, 4_096], ["stdout"]],
    ["a byte between large chunks of the other source", [4_096, 1], ["stdout", "stderr"]],
    ["chunks of most of a block", [50_000], ["stdout"]],
  ] as const)("of %s keeps its capacity and costs little more than what it keeps, twice where both share a block", (_, sizes, sources) => {
    const capacityBytes = 200_000
    const journal = new Journal(() => capacityBytes)
    let missingBytes = 0
    let tooManyBytes = 0
    let wastedBytes = 0
    for (let count = 0; journal.to < 3 * capacityBytes; count++) {
      journal.append(sources[count % sources.length] ?? "stdout", new Uint8Array(sizes[count % sizes.length] ?? 1))
      const keptBytes = journal.to - journal.from
      missingBytes = Math.max(missingBytes, Math.min(capacityBytes, journal.to) - keptBytes)
      tooManyBytes = Math.max(tooManyBytes, keptBytes - capacityBytes)
      wastedBytes = Math.max(wastedBytes, journal.heldBytes - 1.05 * sources.length * keptBytes)
    }
    expect(missingBytes).toBe(0)
    expect(tooManyBytes).toBeLessThan(2 * blockCostBytes)
    // Four more blocks wait to be used again.
    expect(wastedBytes).toBeLessThan((2 * sources.length + 4) * blockCostBytes)
  })

  test("is the newest of what was written, whatever the chunks", () => {
    const chunk = fc.record({
      source: fc.constantFrom<OutputSource>("stdout", "stderr"),
      length: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 12_000 })),
    })
    fc.assert(
      fc.property(
        fc.array(chunk, { maxLength: 60 }),
        fc.integer({ min: 0, max: 40_000 }),
        fc.integer({ min: 1, max: 9_000 }),
        (chunks, capacityBytes, bytesMax) => {
          const journal = new Journal(() => capacityBytes)
          const written: { source: OutputSource; byte: number }[] = []
          for (const { source, length } of chunks) {
            const bytes = Uint8Array.from({ length }, (_, index) => (written.length + index) * 7)
            for (const byte of bytes) written.push({ source, byte })
            journal.append(source, bytes)
          }
          expect(journal.to).toBe(written.length)
          expect(journal.to - journal.from).toBeGreaterThanOrEqual(Math.min(capacityBytes, written.length))
          const kept = readAll(journal, bytesMax)
          expect(JSON.stringify(kept)).toBe(JSON.stringify(written.slice(journal.from)))
        },
      ),
      { numRuns: 60 },
    )
  })
})
