/** A broken promise of the protocol, found by the simulation. */
class BrokenPromise extends Error {
  override readonly name = "BrokenPromise"
}

export function check(condition: boolean, breach: string): asserts condition {
  if (!condition) throw new BrokenPromise(breach)
}
