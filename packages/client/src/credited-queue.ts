/** What a stream has brought and nobody has taken yet, in order: each item with the credit that it holds, which bounds them all. */

export interface Credited<Item> {
  readonly item: Item
  /** Bytes of credit, to be given back with `MuxStream.consumed`. */
  readonly cost: number
}

/** Every step is cheap, however small the items. */
export class CreditedQueue<Item> {
  /** Newest last; what is taken next is in `#next`, newest first. */
  #come: Credited<Item>[] = []
  #next: Credited<Item>[] = []

  get isEmpty(): boolean {
    return this.#next.length === 0 && this.#come.length === 0
  }

  push(credited: Credited<Item>): void {
    this.#come.push(credited)
  }

  take(): Credited<Item> | undefined {
    if (this.#next.length === 0) {
      this.#next = this.#come.reverse()
      this.#come = []
    }
    return this.#next.pop()
  }

  /** Forgets all of it. The result is the credit that it held. */
  drop(): number {
    let cost = 0
    for (const credited of this.#next) cost += credited.cost
    for (const credited of this.#come) cost += credited.cost
    this.#next = []
    this.#come = []
    return cost
  }
}
