/**
 * The model of what a terminal shows that saw all output of a process, for a client that attaches in the middle.
 *
 * A repaint restores what xterm.js models, and the modes it ignores that `modes.ts` and `keyboard.ts` name. It has nothing of
 * images, lines of double width or height, left and right margins, the pointer, the clipboard, progress and prompt marks, and
 * reports of the size within the output. Emoji of several code points count as many columns as those together.
 *
 * Of what xterm.js models, these are not restored:
 * - that the first line of all continues one that is gone; the names of icons that were put aside
 * - the saved cursor of the screen that is not shown if that is the alternate one; in any saved cursor, origin mode, the kind
 *   of underlines, the link, and that a wrap was pending
 * - a character set that came back with the cursor after its slot was changed: its slot has it, too
 * - a wrap pending over a cell that was erased or scrolled in alone: the cell becomes a space
 * - halves of wide characters in another look that fill a whole line; a wide character that was dropped at the right edge
 *   without automatic wrapping, for a combining character after it
 * - on a screen of one row, erased cells at the end of a line that goes on
 */
import { Charsets } from "./charsets.ts"
import { Keyboard } from "./keyboard.ts"
import { Links } from "./links.ts"
import { Modes } from "./modes.ts"
import { Palette } from "./palette.ts"
import { repaint, type ScreenState } from "./repaint.ts"
import { Titles } from "./titles.ts"
import { UnfinishedSequence, unfinishedCharacterBytes } from "./unfinished.ts"
import { newXterm } from "./xterm.ts"

/** As many as terminals keep unless told otherwise: 1 MB at 80 columns, and a repaint of well below 1 MB for plain text. */
const defaultScrollbackLines = 1000

/** Bytes parsed at one go: some milliseconds, so that other streams of the agent are not held up. */
const sliceBytesMax = 65_536

/** In the order they were asked for. */
type Job =
  | { readonly type: "write"; readonly bytes: Uint8Array; readonly done: () => void }
  | { readonly type: "resize"; readonly cols: number; readonly rows: number }

export interface ScreenOptions {
  readonly cols: number
  readonly rows: number
  /** Lines kept above the screen. 1,000 unless set. */
  readonly scrollbackLines?: number
}

export class Screen {
  readonly #state: ScreenState
  readonly #unfinished = new UnfinishedSequence()
  /** Held back from the model. */
  #unfinishedCharacter = new Uint8Array()
  readonly #jobs: Job[] = []
  #isScheduled = false
  #isDisposed = false

  constructor({ cols, rows, scrollbackLines = defaultScrollbackLines }: ScreenOptions) {
    const xterm = newXterm(cols, rows, scrollbackLines)
    this.#state = {
      xterm,
      charsets: new Charsets(xterm),
      keyboard: new Keyboard(xterm.terminal),
      links: new Links(xterm),
      modes: new Modes(xterm),
      palette: new Palette(xterm.terminal),
      titles: new Titles(xterm),
    }
  }

  /**
   * Feeds output of the process. Queries in it are never answered.
   * @param bytes left unchanged until `done`
   * @param done runs later, when the model has taken them: who waits for it bounds what is queued here
   */
  write(bytes: Uint8Array, done: () => void): void {
    this.#add({ type: "write", bytes, done })
  }

  /** After what was written before. */
  resize(cols: number, rows: number): void {
    this.#add({ type: "resize", cols, rows })
  }

  /**
   * Bytes that make any xterm-compatible terminal of the same size, in whatever state, look and behave like this one: the
   * scrollback, then the screen, cursor, attributes and modes. What the terminal shows above its cursor scrolls away and
   * is kept by it. They hold no query, and end within a sequence if the output so far does. To be called when all writes
   * are done: without that, it is the state after those that are.
   */
  repaint(): Uint8Array {
    return Buffer.concat([Buffer.from(repaint(this.#state)), this.#unfinished.bytes(), this.#unfinishedCharacter])
  }

  /** Writes that are queued, and later ones, are done without effect. */
  dispose(): void {
    this.#isDisposed = true
    this.#state.xterm.terminal.dispose()
  }

  #add(job: Job): void {
    if (job.type === "resize" && this.#jobs.length === 0) return this.#resize(job.cols, job.rows)
    this.#jobs.push(job)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled || this.#jobs.length === 0) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#work()
    })
  }

  /** One slice of the queue; the rest follows after what else there is to do. */
  #work(): void {
    let bytesToRead = sliceBytesMax
    while (bytesToRead > 0) {
      // Taken first, so that `done` finds nothing before what it adds.
      const job = this.#jobs.shift()
      if (job === undefined) return
      if (job.type === "resize") {
        this.#resize(job.cols, job.rows)
        continue
      }
      const bytes = job.bytes.subarray(0, bytesToRead)
      this.#read(bytes)
      bytesToRead -= bytes.length
      if (bytes.length === job.bytes.length) job.done()
      else this.#jobs.unshift({ ...job, bytes: job.bytes.subarray(bytes.length) })
    }
    this.#schedule()
  }

  #read(bytes: Uint8Array): void {
    if (this.#isDisposed) return
    // The emulator itself loses a byte of 0x80 at which a character is cut in three.
    const joined = this.#unfinishedCharacter.length === 0 ? bytes : Buffer.concat([this.#unfinishedCharacter, bytes])
    const end = joined.length - unfinishedCharacterBytes(joined)
    const whole = joined.subarray(0, end)
    this.#unfinishedCharacter = new Uint8Array(joined.subarray(end))
    this.#state.xterm.core._inputHandler.parse(whole)
    this.#unfinished.read(whole)
  }

  #resize(cols: number, rows: number): void {
    if (!this.#isDisposed) this.#state.xterm.terminal.resize(cols, rows)
  }
}
