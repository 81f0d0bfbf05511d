/** What a client's stream may ask of the process it is bound to: input, signals, its window's size, to leave it running; of a reader, nothing. */
import {
  assertNever,
  checkBody,
  InvalidBody,
  type MuxStream,
  processMessageSchema,
  processTags,
  type SignalName,
  type StreamEvents,
  TunnelError,
} from "@trunkline/protocol"
import type { Size } from "./attachment.ts"

/** What the process does for one client. */
export interface ClientRequests {
  /** `taken` runs when the bytes may be forgotten. */
  input(bytes: Uint8Array, taken: () => void): void
  endInput(): void
  signal(name: SignalName): void
  windowChanged(size: Size): void
  /** The process is to go on when this client leaves, which it is about to. */
  detach(): void
  /** There is room for output again. */
  writable(): void
  /** The stream is over, and the client has meant it or not. Called once, the last. */
  gone(how: "left" | "lost"): void
}

/** The events of a stream: checks what comes, and refuses a reader what only a writer may. */
export function clientEvents(stream: MuxStream, readOnly: boolean, requests: ClientRequests): StreamEvents {
  let leaving = false
  let finished = false
  // A stream that nobody needs would keep the client's link, and so the client itself, until the process ends.
  const release = () => stream.reset(new TunnelError("aborted", "the client has left the process running", { delivered: "yes" }))
  return {
    data: (tag, bytes, cost) => {
      if (tag !== processTags.stdin) throw new InvalidBody(`tag ${tag} is not stdin`)
      if (readOnly) return stream.reset(readOnlyError())
      requests.input(bytes, () => stream.consumed(cost))
    },
    message: (body) => {
      const message = checkBody(processMessageSchema, body)
      switch (message.type) {
        case "signal":
          if (readOnly) return stream.reset(readOnlyError())
          return requests.signal(message.signal)
        case "resize":
          return requests.windowChanged({ cols: message.cols, rows: message.rows })
        case "detach":
          leaving = true
          requests.detach()
          return finished ? release() : undefined
        default:
          return assertNever(message)
      }
    },
    finished: () => {
      finished = true
      if (leaving) return release()
      if (!readOnly) requests.endInput()
    },
    writable: () => requests.writable(),
    closed: (error) => requests.gone(wasDeliberate(error) ? "left" : "lost"),
  }
}

const readOnlyError = (): TunnelError =>
  new TunnelError("denied", "this attachment is read-only: it cannot write to the process or signal it", { delivered: "no" })

/** A client that left, or an agent that stops, means it; any other end is a loss. */
const wasDeliberate = (error: TunnelError | undefined): boolean =>
  error === undefined || error.code === "aborted" || error.code === "agent-stopped"
