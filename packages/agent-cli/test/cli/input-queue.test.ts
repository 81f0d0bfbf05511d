import { expect, test } from "vitest"
import { InputQueue } from "../../src/terminal/input-queue.ts"

/** A remote terminal that takes a chunk each time it is told to. */
class SlowTerminal {
  readonly taken: Uint8Array[] = []
  #waiting: PromiseWithResolvers<void>[] = []

  readonly write = (bytes: Uint8Array): Promise<void> => {
    this.taken.push(bytes)
    const turn = Promise.withResolvers<void>()
    this.#waiting.push(turn)
    return turn.promise
  }

  async take(): Promise<void> {
    this.#waiting.shift()?.resolve()
    await Promise.resolve()
  }

  end(): void {
    for (const turn of this.#waiting.splice(0)) turn.reject(new Error("over"))
  }
}

test("chunks arrive in order, one at a time", async () => {
  const terminal = new SlowTerminal()
  const queue = new InputQueue(terminal.write, () => {})
  for (const byte of [1, 2, 3]) queue.push(Uint8Array.of(byte))
  expect(terminal.taken).toEqual([Uint8Array.of(1)])
  await terminal.take()
  await terminal.take()
  expect(terminal.taken).toEqual([Uint8Array.of(1), Uint8Array.of(2), Uint8Array.of(3)])
})

test("a paste above 16 MiB makes the keyboard wait until the terminal has taken some of it", async () => {
  const terminal = new SlowTerminal()
  const told: boolean[] = []
  const queue = new InputQueue(terminal.write, (full) => told.push(full))
  queue.push(new Uint8Array(16_777_216))
  expect(told).toEqual([])
  queue.push(new Uint8Array(1))
  expect(told).toEqual([true])
  await terminal.take()
  expect(told).toEqual([true, false])
})

test("after the terminal's end nothing more is written or kept", async () => {
  const terminal = new SlowTerminal()
  const told: boolean[] = []
  const queue = new InputQueue(terminal.write, (full) => told.push(full))
  queue.push(Uint8Array.of(1))
  queue.push(Uint8Array.of(2))
  terminal.end()
  await new Promise(setImmediate)
  queue.push(new Uint8Array(16_777_217))
  expect(terminal.taken).toEqual([Uint8Array.of(1)])
  expect(told).toEqual([])
})
