/**
 * One client's view of a process's output: an offset that moves as fast as the client takes bytes. Whatever the client does not take
 * stays in the journal; when it is not there any more the client is told so, and shown the screen in its place where there is one.
 */
import { type MuxStream, type ProcessNotice, type ProcessTrailer, processTags, TunnelError } from "@trunkline/protocol"
import type { Journal } from "./journal.ts"

/** Of a terminal, in characters. */
export interface Size {
  readonly cols: number
  readonly rows: number
}

type SizeNotice = Extract<ProcessNotice, { type: "size" }>

export interface AttachmentOptions {
  readonly stream: MuxStream
  readonly journal: Journal
  /** Offset of the first byte to send. */
  readonly offset: number
  readonly readOnly: boolean
  /** It asked for this run; the others came to it. */
  readonly isStarter?: boolean
  /** Where the stream ends; by default with the process. */
  readonly until?: number
  /** Makes the terminal's screen, for one who cannot be given all that led to it. */
  readonly repaint?: (ready: (bytes: Uint8Array) => void) => void
}

/** Bytes taken out of the journal at once: what fits in a frame. */
const readBytes = 65_536

export class Attachment {
  readonly stream: MuxStream
  readonly readOnly: boolean
  readonly isStarter: boolean
  readonly #journal: Journal
  readonly #until: number | undefined
  readonly #repaint: AttachmentOptions["repaint"]
  #offset: number
  #trailer: ProcessTrailer | undefined
  #repainting = false
  /** What the client was told last of the terminal's size, and what it should be told and there was no room for. */
  #told: SizeNotice | undefined
  #untold: SizeNotice | undefined
  /** The size of the client's window, last it said one. */
  size: Size | undefined
  /** Bytes of input that it has sent. */
  inputBytes = 0

  constructor(options: AttachmentOptions) {
    this.stream = options.stream
    this.readOnly = options.readOnly
    this.isStarter = options.isStarter ?? false
    this.#journal = options.journal
    this.#offset = options.offset
    this.#until = options.until
    this.#repaint = options.repaint
  }

  /** Output is there that the client has not taken. */
  get unread(): boolean {
    return this.stream.phase === "open" && this.#offset < this.#journal.to
  }

  /** The client has no room for output, be there some or not yet. */
  get behind(): boolean {
    return this.unread || (this.stream.phase === "open" && this.stream.writableBytes === 0)
  }

  /** Sends what there is room for; at the end of it the exit, if the process has ended. */
  pump(): void {
    if (this.#untold !== undefined) this.tellSize(this.#untold, this.#untold.driver)
    const end = Math.min(this.#until ?? this.#journal.to, this.#journal.to)
    while (!this.#repainting && this.#offset < end && this.stream.writableBytes > 0) {
      const piece = this.#journal.read(this.#offset, Math.min(readBytes, end - this.#offset))
      if (piece === undefined) {
        if (!this.#skip(end)) return
        continue
      }
      this.stream.write(processTags[piece.source], piece.bytes)
      this.#offset += piece.bytes.byteLength
    }
    if (this.#repainting || this.#offset < end) return
    // One who looks at the past alone is not told of an exit whose output it has not seen.
    if (this.#trailer !== undefined && end === this.#journal.to) this.stream.finish(this.#trailer)
    else if (this.#until !== undefined) this.stream.finish()
  }

  /** The process has ended, and the journal holds its last byte. */
  ended(trailer: ProcessTrailer): void {
    this.#trailer = trailer
    this.pump()
  }

  /** Whether it was ever told the terminal's size. */
  get knowsSize(): boolean {
    return this.#told !== undefined || this.#untold !== undefined
  }

  /** Tells the client the terminal's size and whether its window decides it, unless it knows: now or as soon as there is room, and only the newest then. */
  tellSize({ cols, rows }: Size, driver: boolean): void {
    this.#untold = undefined
    const told = this.#told
    if (told?.cols === cols && told.rows === rows && told.driver === driver) return
    const notice: SizeNotice = { type: "size", cols, rows, driver }
    if (this.#tell(notice)) this.#told = notice
    else this.#untold = notice
  }

  /** False when too many messages wait: the client's link is away, or it does not read. */
  #tell(notice: ProcessNotice): boolean {
    try {
      this.stream.sendMessage(notice)
      return true
    } catch (error) {
      if (error instanceof TunnelError && error.code === "overloaded") return false
      throw error
    }
  }

  /** What comes next is forgotten: goes on behind the gap. False when that has to wait. */
  #skip(end: number): boolean {
    if (this.#repaint === undefined) return this.#jump(Math.min(this.#journal.from, end), 0)
    this.#repainting = true
    this.#repaint((bytes) => {
      this.#repainting = false
      if (!this.#jump(this.#journal.to, bytes.byteLength)) return
      this.stream.write(processTags.stdout, bytes)
      this.pump()
    })
    return !this.#repainting
  }

  /** The notice overtakes what is queued, which is why it says at which offset it counts. False when the stream has ended of it. */
  #jump(to: number, repaintBytes: number): boolean {
    if (!this.#tell({ type: "truncated", from: this.#offset, to, repaintBytes })) {
      // Nothing would say when there is room for it, and without it the client would take for whole what is not.
      this.stream.reset(new TunnelError("overloaded", "too many messages wait for this client; attach again", { delivered: "yes" }))
      return false
    }
    this.#offset = to
    return true
  }
}
