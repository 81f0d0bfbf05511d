/** The bytes of simulated programs: printable, without a short period, so that a byte at a wrong offset is a wrong byte. */
import { SeededRandom } from "@trunkline/protocol/testing"

/** A prime larger than a window: no shift by a round number goes unseen. */
const period = 262_139
const printable = { first: 0x20, count: 95 }

const random = new SeededRandom(0x5eed)
const pattern = Uint8Array.from({ length: period }, () => printable.first + random.integer(0, printable.count - 1))

/** A new copy of the bytes from `at` on. */
export function patternBytes(salt: number, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let done = 0, from = (salt * 7_919 + at) % period; done < length; from = 0) {
    const part = pattern.subarray(from, from + length - done)
    bytes.set(part, done)
    done += part.byteLength
  }
  return bytes
}

export const sameBytes = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0

/** The first byte at which they differ, for people. */
export function difference(seen: Uint8Array, meant: Uint8Array, offset: number): string {
  const at = seen.findIndex((byte, index) => byte !== meant[index])
  return `${seen.byteLength} bytes at ${offset} differ from what was written from byte ${offset + at} on`
}

/** Bytes that grow. */
export class Collected {
  #block = new Uint8Array(4_096)
  length = 0

  add(bytes: Uint8Array): void {
    if (this.length + bytes.byteLength > this.#block.byteLength) {
      const grown = new Uint8Array(Math.max(this.#block.byteLength * 2, this.length + bytes.byteLength))
      grown.set(this.#block.subarray(0, this.length))
      this.#block = grown
    }
    this.#block.set(bytes, this.length)
    this.length += bytes.byteLength
  }

  slice(from: number, to: number): Uint8Array {
    return this.#block.subarray(from, Math.min(to, this.length))
  }
}
