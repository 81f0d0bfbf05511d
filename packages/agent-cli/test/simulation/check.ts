/** A promise of the product that was broken, found by the simulation. */
export class BrokenPromise extends Error {
  override readonly name = "BrokenPromise"
}

export function check(condition: boolean, breach: string): asserts condition {
  if (!condition) throw new BrokenPromise(breach)
}
