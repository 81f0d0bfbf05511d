/** Repeatable random numbers (sfc32, 128 bits of state from a 64-bit seed): no two seeds share a sequence's start. */
export class SeededRandom {
  #a: number
  #b: number
  #c = 0x9e37_79b9
  #counter = 1

  /** `seed`: an integer from 0 to 2^64 - 1. */
  constructor(seed: bigint | number) {
    const bits = BigInt.asUintN(64, BigInt(seed))
    this.#a = Number(bits & 0xffff_ffffn) | 0
    this.#b = Number(bits >> 32n) | 0
    for (let round = 0; round < 15; round++) this.u32()
  }

  /** 0 to 2^32 - 1. */
  u32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  /** In [0, 1). */
  fraction(): number {
    return this.u32() / 0x1_0000_0000
  }

  /** An integer from `least` to `most`, both included. */
  integer(least: number, most: number): number {
    return least + Math.floor(this.fraction() * (most - least + 1))
  }

  /** True `percent` times in a hundred. */
  chance(percent: number): boolean {
    return this.fraction() * 100 < percent
  }

  pick<Item>(items: readonly [Item, ...Item[]]): Item {
    return items[this.integer(0, items.length - 1)] ?? items[0]
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.u32() & 0xff)
  }
}
