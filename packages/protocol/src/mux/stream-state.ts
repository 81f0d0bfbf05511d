/**
 * The life of a stream (SPEC ST) as one union and one pure transition. `opening`: we asked and wait. `offered`: the
 * peer asked and we have not answered. Each half ends with a FIN of its own.
 */
type Half = "open" | "finished"

export type StreamState =
  | { readonly phase: "opening"; readonly sent: Half }
  | { readonly phase: "offered"; readonly received: Half }
  | { readonly phase: "open"; readonly sent: Half; readonly received: Half }
  | { readonly phase: "closed" }

export type StreamEvent = "acceptSent" | "acceptReceived" | "rejectSent" | "rejectReceived" | "finSent" | "finReceived" | "reset"

const closed: StreamState = { phase: "closed" }

/** The next state, or undefined where the event breaks the protocol (from the peer) or the API (from us). */
export function transition(state: StreamState, event: StreamEvent): StreamState | undefined {
  if (event === "reset") return state.phase === "closed" ? undefined : closed
  switch (state.phase) {
    case "opening":
      if (event === "acceptReceived") return { phase: "open", sent: state.sent, received: "open" }
      if (event === "rejectReceived") return closed
      // A stream's first half may end before it is granted: "run this, here is all of its input".
      return event === "finSent" && state.sent === "open" ? { phase: "opening", sent: "finished" } : undefined
    case "offered":
      if (event === "acceptSent") return { phase: "open", sent: "open", received: state.received }
      if (event === "rejectSent") return closed
      return event === "finReceived" && state.received === "open" ? { phase: "offered", received: "finished" } : undefined
    case "open":
      if (event === "finSent" && state.sent === "open") return state.received === "finished" ? closed : { ...state, sent: "finished" }
      if (event === "finReceived" && state.received === "open")
        return state.sent === "finished" ? closed : { ...state, received: "finished" }
      return undefined
    case "closed":
      return undefined
  }
}

export const maySend = (state: StreamState): boolean => "sent" in state && state.sent === "open"
export const mayReceive = (state: StreamState): boolean =>
  (state.phase === "offered" || state.phase === "open") && state.received === "open"

/** A stream that is open carries messages both ways to its end, whichever half has finished: a signal for a process whose input is closed. */
export const mayMessage = (state: StreamState): boolean => state.phase === "opening" || state.phase === "open"
