/**
 * Output as the events of a live answer. Each says its offset, and behind which offset a reader has seen everything so far: whoever
 * comes back asks from there.
 */
import type { OutputEvent } from "@trunkline/client"
import { assertNever } from "@trunkline/protocol"
import { shownExit } from "./shown-exit.ts"
import { type Encoded, TextOrBytes } from "./text-or-bytes.ts"

export interface LiveEvent {
  readonly body: Readonly<Record<string, unknown>> & { readonly type: string }
  /** Absent where asking from the last one before gives a reader what it needs. */
  readonly resumeAt?: number
}

/** What has bytes. */
export type OutputData = Exclude<OutputEvent, { readonly type: "truncated" | "exit" }>

/** One per answer. */
export class LiveEvents {
  readonly #text = new TextOrBytes()
  #type: OutputData["type"] = "stdout"
  /** Behind what was taken in, a cut character included. */
  #offset = 0

  encode(event: OutputEvent): LiveEvent[] {
    switch (event.type) {
      case "stdout":
      case "stderr":
      case "repaint":
        // The rest of a character cannot wait while other output goes on: no offset could say what a reader has then.
        return event.type === this.#type ? this.#data(event) : [...this.flush(), ...this.#data(event)]
      case "truncated": {
        const { type, from, to } = event
        // Without an offset: a repaint may follow, and a reader that does not get all of it needs it anew.
        return [...this.flush(), { body: { type, from, to } }]
      }
      case "exit":
        return [...this.flush(), { body: { type: "exit", ...shownExit(event) } }]
      default:
        return assertNever(event)
    }
  }

  /** What was kept for an event that does not come. */
  flush(): LiveEvent[] {
    const start = this.#offset - this.#text.restBytes
    return this.#shown(start, this.#text.flush())
  }

  #data({ type, offset, bytes }: OutputData): LiveEvent[] {
    const start = offset - this.#text.restBytes
    this.#type = type
    // All of a repaint is at one offset.
    this.#offset = type === "repaint" ? offset : offset + bytes.byteLength
    return this.#shown(start, this.#text.push(bytes))
  }

  #shown(start: number, data: Encoded | undefined): LiveEvent[] {
    if (data === undefined) return []
    if (this.#type === "repaint") return [{ body: { type: this.#type, offset: this.#offset, ...data } }]
    return [{ body: { type: this.#type, offset: start, ...data }, resumeAt: this.#offset - this.#text.restBytes }]
  }
}
