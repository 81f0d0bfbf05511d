/** What a stream brings, as a Web stream: its credit goes back as it is read, and what somebody waits for passes at once. */
import type { TunnelError } from "@trunkline/protocol"
import { type Credited, CreditedQueue } from "./credited-queue.ts"

export interface CreditedReadableEvents {
  /** Bytes of this cost have been read, or are wanted now. */
  consumed(cost: number): void
  /** The reader has left; nothing is kept any more. */
  left(reason: unknown): void
}

type End = { readonly error: TunnelError | undefined }

export class CreditedReadable<Item> {
  readonly readable: ReadableStream<Item>
  readonly #events: CreditedReadableEvents
  readonly #queue = new CreditedQueue<Item>()
  #controller: ReadableStreamDefaultController<Item> | undefined
  /** Cost of what has come and makes no item yet. */
  #heldCost = 0
  /** Somebody reads, and there was nothing. */
  #wanted = false
  /** The readable has ended, failed or was cancelled. */
  #over = false
  #end: End | undefined

  constructor(events: CreditedReadableEvents) {
    this.#events = events
    this.readable = new ReadableStream<Item>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => this.#pull(),
        cancel: (reason) => {
          this.#over = true
          this.#drop()
          events.left(reason)
        },
      },
      // Nothing is taken before somebody reads it: taking lets more in.
      { highWaterMark: 0 },
    )
  }

  push(item: Item, cost: number): void {
    if (this.#over) return this.#events.consumed(cost)
    if (!this.#wanted) return this.#queue.push({ item, cost })
    this.#wanted = false
    this.#give({ item, cost })
  }

  /** All items at once, where the end has come too; undefined where more comes, and after a failure. */
  takeWhole(): readonly Item[] | undefined {
    if (this.#end === undefined || this.#end.error !== undefined || this.#over) return undefined
    const items: Item[] = []
    let cost = 0
    for (let next = this.#queue.take(); next !== undefined; next = this.#queue.take()) {
      items.push(next.item)
      cost += next.cost
    }
    if (cost > 0) this.#events.consumed(cost)
    this.#endWhenRead()
    return items
  }

  /** Part of an item has come, which is kept elsewhere: only for a reader who waits for that item is more let in. */
  hold(cost: number): void {
    if (this.#wanted || this.#over) this.#events.consumed(cost)
    else this.#heldCost += cost
  }

  /**
   * No more comes: the readable ends, or fails, behind what has come. The first end counts. One that was broken off on this side, `aborted`, fails at once.
   */
  end(error?: TunnelError): void {
    if (this.#end !== undefined) return
    this.#end = { error }
    if (error?.code === "aborted") this.#drop()
    this.#endWhenRead()
  }

  #pull(): void {
    const credited = this.#queue.take()
    if (credited !== undefined) return this.#give(credited)
    this.#wanted = true
    const heldCost = this.#heldCost
    this.#heldCost = 0
    if (heldCost > 0) this.#events.consumed(heldCost)
  }

  #give({ item, cost }: Credited<Item>): void {
    this.#controller?.enqueue(item)
    if (cost > 0) this.#events.consumed(cost)
    this.#endWhenRead()
  }

  #endWhenRead(): void {
    if (this.#end === undefined || this.#over || !this.#queue.isEmpty) return
    this.#over = true
    if (this.#end.error === undefined) this.#controller?.close()
    else this.#controller?.error(this.#end.error)
  }

  #drop(): void {
    const cost = this.#queue.drop() + this.#heldCost
    this.#heldCost = 0
    if (cost > 0) this.#events.consumed(cost)
  }
}
