/**
 * The screen of a terminal process, a little behind its output: it is fed from the journal when nothing more urgent is to do, and catches
 * up when somebody wants to see it.
 */
import type { Clock } from "@trunkline/protocol"
import type { Journal } from "./journal.ts"

/** The model of a terminal; `screen/screen.ts` has the real one. */
export interface ScreenModel {
  /** `done` runs when the bytes have been taken, later. */
  write(bytes: Uint8Array, done: () => void): void
  resize(cols: number, rows: number): void
  repaint(): Uint8Array
  dispose(): void
}

export interface LiveScreenOptions {
  readonly clock: Clock
  readonly journal: Journal
  readonly model: ScreenModel
  /** The process should wait for the model, or need not any more. */
  readonly hold: (held: boolean) => void
}

/** Milliseconds of quiet before the model is fed: an echo goes out first. */
const quietMs = 20
/** Bytes given to the model at once: a turn of the event loop each, about a millisecond. */
const feedBytes = 16_384
/** Bytes behind which the model is fed without waiting for quiet, and those at which the process waits for it. The least of journals holds twice that. */
const hurryBytes = 65_536
const lagBytesMax = 131_072

export class LiveScreen {
  readonly #options: LiveScreenOptions
  #fed = 0
  #feeding = false
  #held = false
  #cancel: (() => void) | undefined
  #sizes: { readonly at: number; readonly cols: number; readonly rows: number }[] = []
  #waiting: ((bytes: Uint8Array) => void)[] = []
  #disposed = false

  constructor(options: LiveScreenOptions) {
    this.#options = options
  }

  /** The journal has more. */
  appended(): void {
    this.#decide()
    if (this.#feeding) return
    if (this.#behind >= hurryBytes) this.#feed()
    else this.#cancel ??= this.#options.clock.schedule(quietMs, () => this.#feed())
  }

  /** From what is written next on, the terminal has this size. */
  resize(cols: number, rows: number): void {
    this.#sizes.push({ at: this.#options.journal.to, cols, rows })
    this.appended()
  }

  /** Gives the repaint of the screen as it is behind the journal's last byte; the process waits meanwhile. `ready` may run before this returns. */
  repaint(ready: (bytes: Uint8Array) => void): void {
    this.#waiting.push(ready)
    this.#decide()
    if (!this.#feeding) this.#feed()
  }

  /** Whoever still waits for a repaint gets an empty one. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#cancel?.()
    this.#options.model.dispose()
    this.#answer(new Uint8Array(0))
  }

  get #behind(): number {
    return this.#options.journal.to - this.#fed
  }

  #feed(): void {
    this.#cancel?.()
    this.#cancel = undefined
    const { journal, model } = this.#options
    // Only where a process could not be held in time: its screen is then what the rest makes of it.
    this.#fed = Math.max(this.#fed, journal.from)
    let size = this.#sizes[0]
    while (size !== undefined && size.at <= this.#fed) {
      model.resize(size.cols, size.rows)
      this.#sizes.shift()
      size = this.#sizes[0]
    }
    const piece = journal.read(this.#fed, Math.min(feedBytes, (size?.at ?? journal.to) - this.#fed))
    if (piece === undefined) return this.#caughtUp()
    this.#feeding = true
    // The model reads them later, when they may no longer be in the journal.
    model.write(new Uint8Array(piece.bytes), () => {
      this.#feeding = false
      if (this.#disposed) return
      this.#fed = piece.offset + piece.bytes.byteLength
      this.#decide()
      if (this.#waiting.length > 0) this.#feed()
      else if (this.#behind > 0 || this.#sizes.length > 0) this.appended()
    })
  }

  #caughtUp(): void {
    if (this.#waiting.length === 0) return
    this.#answer(this.#options.model.repaint())
    this.#decide()
  }

  #answer(bytes: Uint8Array): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const ready of waiting) ready(bytes)
  }

  #decide(): void {
    const held = this.#waiting.length > 0 || this.#behind >= (this.#held ? lagBytesMax / 2 : lagBytesMax)
    if (held === this.#held) return
    this.#held = held
    this.#options.hold(held)
  }
}
