/** What a stream can carry, and how urgent that is. */

export const kinds = ["exec", "pty", "attach", "processes", "tcp", "listen", "accept", "http", "websocket"] as const
export type Kind = (typeof kinds)[number]

/** `interactive` goes before `bulk`, as long as it stays small (SPEC PC2). */
export type StreamClass = "interactive" | "bulk"

/** An attachment may be to a terminal; one that carries much counts as bulk while it does. */
const classes: Record<Kind, StreamClass> = {
  exec: "bulk",
  pty: "interactive",
  attach: "interactive",
  processes: "bulk",
  tcp: "bulk",
  listen: "bulk",
  accept: "bulk",
  http: "bulk",
  websocket: "bulk",
}

export const isKind = (value: string): value is Kind => Object.hasOwn(classes, value)

/** Both ends derive the class from the kind, so neither can claim an urgency that is not its own. */
export const classOf = (kind: string): StreamClass => (isKind(kind) ? classes[kind] : "bulk")
