/** Every state times every event: the whole table, so that a change of one entry shows. */
import { describe, expect, test } from "vitest"
import { mayReceive, maySend, type StreamEvent, type StreamState, transition } from "../../src/mux/stream-state.ts"

const states = {
  "opening, sent open": { phase: "opening", sent: "open" },
  "opening, sent finished": { phase: "opening", sent: "finished" },
  "offered, received open": { phase: "offered", received: "open" },
  "offered, received finished": { phase: "offered", received: "finished" },
  "open, both open": { phase: "open", sent: "open", received: "open" },
  "open, sent finished": { phase: "open", sent: "finished", received: "open" },
  "open, received finished": { phase: "open", sent: "open", received: "finished" },
  closed: { phase: "closed" },
} as const satisfies Record<string, StreamState>
type StateName = keyof typeof states

const table: Record<StateName, Partial<Record<StreamEvent, StateName>>> = {
  "opening, sent open": { acceptReceived: "open, both open", rejectReceived: "closed", finSent: "opening, sent finished", reset: "closed" },
  "opening, sent finished": { acceptReceived: "open, sent finished", rejectReceived: "closed", reset: "closed" },
  "offered, received open": {
    acceptSent: "open, both open",
    rejectSent: "closed",
    finReceived: "offered, received finished",
    reset: "closed",
  },
  "offered, received finished": { acceptSent: "open, received finished", rejectSent: "closed", reset: "closed" },
  "open, both open": { finSent: "open, sent finished", finReceived: "open, received finished", reset: "closed" },
  "open, sent finished": { finReceived: "closed", reset: "closed" },
  "open, received finished": { finSent: "closed", reset: "closed" },
  closed: {},
}

const events: readonly StreamEvent[] = ["acceptSent", "acceptReceived", "rejectSent", "rejectReceived", "finSent", "finReceived", "reset"]
const names = Object.keys(states) as StateName[]

describe("[ST1] stream state", () => {
  test.each(names.flatMap((state) => events.map((event) => [state, event, table[state][event] ?? "a breach"] as const)))(
    "%s + %s -> %s",
    (state, event, next) => {
      expect(transition(states[state], event)).toEqual(next === "a breach" ? undefined : states[next as StateName])
    },
  )

  test("a half that is open may send or receive, and no other", () => {
    expect(names.filter((name) => maySend(states[name]))).toEqual(["opening, sent open", "open, both open", "open, received finished"])
    expect(names.filter((name) => mayReceive(states[name]))).toEqual(["offered, received open", "open, both open", "open, sent finished"])
  })
})
