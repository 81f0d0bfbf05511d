/** Streams that are as connections: bulk both ways at once, either half ending first, or after the other alone, or broken off in the middle. */
import type { SeededRandom } from "../../src/testing/index.ts"
import type { Side } from "../../src/testing/simulated-line.ts"
import type { FlowPlan } from "./flow.ts"

export interface StreamPlan {
  readonly index: number
  readonly opener: Side
  readonly kind: string
  readonly startMs: number
  readonly openBytes: number
  readonly answerMs: number
  readonly rejected: boolean
  /** Who resets the stream, and when after its start. */
  readonly reset: { readonly side: Side; readonly afterMs: number } | undefined
  readonly flows: Record<Side, FlowPlan>
}

export function planConnections(random: SeededRandom): readonly Omit<StreamPlan, "index">[] {
  return Array.from({ length: random.pick([1, 1, 2, 5]) }, (_, index) => {
    const last = random.pick<Side | undefined>(["left", "right", undefined])
    const flow = (side: Side): FlowPlan => {
      const totalBytes = random.pick([0, 1, 90_000, random.integer(100_000, 900_000), random.integer(100_000, 900_000)])
      return {
        salt: 100 + index * 2 + (side === "left" ? 0 : 1),
        totalBytes,
        chunkBytesMax: random.pick([16_384, 65_536]),
        writePauseMs: random.pick([0, 0, 2]),
        messages: 0,
        trailer: false,
        readPauseMs: random.pick([0, 0, 1]),
        readStartsMs: random.pick([0, 0, 2_000]),
        faultAt: -1,
        resetAt: random.chance(10) ? random.integer(0, totalBytes) : -1,
        endsLast: side === last,
        oneTag: true,
      }
    }
    return {
      opener: random.chance(80) ? "left" : "right",
      kind: "tcp",
      startMs: random.integer(0, 2_000),
      openBytes: 0,
      answerMs: random.pick([0, 5, 500]),
      rejected: random.chance(3),
      reset: undefined,
      flows: { left: flow("left"), right: flow("right") },
    }
  })
}
