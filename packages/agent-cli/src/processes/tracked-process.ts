/**
 * A process as its clients know it: an id, output that is kept for a while, any number of attachments, and an exit that
 * stays known. It outlives every stream; whether it outlives its clients is said when it is started, or later.
 */
import {
  type AttachAccept,
  type AttachFrom,
  type Clock,
  type Exit,
  type MuxStream,
  type ProcessAccept,
  type ProcessDescription,
  type ProcessTrailer,
  processTags,
  type SignalName,
  TunnelError,
} from "@trunkline/protocol"
import { Attachment, type AttachmentOptions, type Size } from "./attachment.ts"
import { type ClientRequests, clientEvents } from "./client-stream.ts"
import { Clients, type Survival } from "./clients.ts"
import type { Journal } from "./journal.ts"
import { LiveScreen, type ScreenModel } from "./live-screen.ts"
import type { AgentProcess, ProcessEvents } from "./process.ts"
import { SharedSize } from "./shared-size.ts"
import { shownArgv } from "./shown-argv.ts"

export interface TrackedProcessOptions {
  readonly id: string
  readonly kind: "exec" | "pty"
  readonly argv: readonly string[]
  /** Who started it: others need the scope `admin`. */
  readonly principalId: string
  readonly survival: Survival
  readonly clock: Clock
  /** Epoch milliseconds now. */
  readonly epochMs: () => number
  readonly journal: Journal
  /** Of a terminal. */
  readonly screen?: { readonly size: Size; readonly model: ScreenModel }
  /** The exit is known and the last byte is in the journal. */
  readonly ended: (trailer: ProcessTrailer) => void
}

type State =
  | { readonly phase: "starting" }
  | { readonly phase: "running"; readonly process: AgentProcess }
  | { readonly phase: "ended"; readonly trailer: ProcessTrailer; readonly endedAt: number }

/** What a client that attaches asks for. */
export interface ViewOptions extends Pick<AttachmentOptions, "offset" | "readOnly"> {
  readonly follow: boolean
  readonly size?: Size
}

const noBytes: Uint8Array = new Uint8Array(0)

export class TrackedProcess {
  readonly id: string
  readonly kind: "exec" | "pty"
  readonly principalId: string
  readonly journal: Journal
  readonly startedAt: number
  /** What of argv is shown. */
  readonly #argv: readonly string[]
  readonly #epochMs: () => number
  readonly #ended: (trailer: ProcessTrailer) => void
  #screen: LiveScreen | undefined
  readonly #clients: Clients
  #state: State = { phase: "starting" }
  #pid = 0
  #starterSeen = false
  /** Of a terminal. */
  readonly #size: SharedSize | undefined
  #screenHolds = false
  #paused = false
  #hungUp = false
  /** What the terminal showed at the end. */
  #finalScreen: Uint8Array | undefined

  constructor(options: TrackedProcessOptions) {
    this.id = options.id
    this.kind = options.kind
    this.principalId = options.principalId
    this.journal = options.journal
    this.#argv = shownArgv(options.argv)
    this.#epochMs = options.epochMs
    this.#ended = options.ended
    this.#clients = new Clients(options.survival)
    this.startedAt = options.epochMs()
    const { screen, clock, journal } = options
    if (screen === undefined) return
    this.#size = new SharedSize(screen.size, this.#clients.attachments, (size) => {
      this.#screen?.resize(size.cols, size.rows)
      if (this.#state.phase === "running") this.#state.process.resize(size.cols, size.rows)
    })
    const hold = (held: boolean) => {
      this.#screenHolds = held
      this.#pace()
    }
    this.#screen = new LiveScreen({ clock, journal, model: screen.model, hold })
  }

  get running(): boolean {
    return this.#state.phase !== "ended"
  }

  /** It was told to end. */
  get hungUp(): boolean {
    return this.#hungUp
  }

  get pid(): number {
    return this.#pid
  }

  /** Epoch milliseconds; undefined while it runs. */
  get endedAt(): number | undefined {
    return this.#state.phase === "ended" ? this.#state.endedAt : undefined
  }

  get exit(): Exit | undefined {
    return this.#state.phase === "ended" ? this.#state.trailer.exit : undefined
  }

  /** Bytes of memory that its output takes. */
  get heldBytes(): number {
    return this.journal.heldBytes + (this.#finalScreen?.byteLength ?? 0)
  }

  describe(): ProcessDescription {
    const state = this.#state
    const size = this.#size?.size
    return {
      id: this.id,
      kind: this.kind,
      argv: [...this.#argv],
      pid: this.#pid,
      state: state.phase === "ended" ? "ended" : "running",
      detached: this.#clients.detached,
      startedAt: this.startedAt,
      ...(state.phase === "ended" ? { endedAt: state.endedAt, ...state.trailer } : {}),
      output: { from: this.journal.from, to: this.journal.to },
      attached: this.#clients.attachments.size,
      ...(size === undefined ? {} : { size: { cols: size.cols, rows: size.rows } }),
    }
  }

  /** What the operating system's process tells. */
  readonly events: ProcessEvents = {
    output: (source, chunk) => {
      this.journal.append(source, chunk)
      for (const attachment of this.#clients.attachments) attachment.pump()
      this.#screen?.appended()
      this.#pace()
    },
    exited: (exit, durationMs) => this.#exited({ exit, durationMs: Math.round(durationMs) }),
  }

  started(process: AgentProcess): void {
    this.#pid = process.pid
    if (this.#state.phase === "starting") this.#state = { phase: "running", process }
  }

  /**
   * Binds the stream that started the process, or one that asked again for the same run; `size` is that client's window. Throws
   * TunnelError `overloaded`.
   */
  attachStarter(stream: MuxStream, size?: Size): void {
    this.#clients.requireRoom()
    // One that asked again and is gone already was lost like the one before it; the first has nobody yet who could come back.
    const gone = this.#starterSeen ? "lost" : "left"
    this.#starterSeen = true
    const attachment = new Attachment({ ...this.#viewOf(stream), offset: 0, readOnly: false, isStarter: true })
    if (size !== undefined) attachment.size = size
    this.#bind(attachment, { processId: this.id, pid: this.#pid }, gone)
  }

  /** Binds another client's stream, once what it wants to see is ready. Throws TunnelError for what cannot be shown. */
  attach(stream: MuxStream, from: AttachFrom, view: Omit<ViewOptions, "offset">): void {
    this.#clients.requireRoom()
    if (typeof from === "number" && from > this.journal.to)
      throw new TunnelError("bad-request", `offset ${from} is in the future: the process has written ${this.journal.to} bytes`)
    if (from === "screen" && this.kind === "pty") {
      const arrived = this.#clients.expect()
      if (view.size !== undefined && !view.readOnly && view.follow) this.#size?.arriving(view.size)
      return this.#repaint((screen) => {
        arrived()
        this.#attachAt(stream, { ...view, offset: this.journal.to }, screen)
      })
    }
    const offset = from === "live" ? this.journal.to : from === "screen" ? this.journal.from : from
    this.#attachAt(stream, { ...view, offset })
  }

  signal(name: SignalName): void {
    if (this.#state.phase === "running") this.#state.process.signal(name)
  }

  hangUp(): void {
    if (this.#state.phase !== "running") return
    this.#hungUp = true
    this.#state.process.hangUp()
  }

  /** Forgets its output, unless a client that started it has not taken all of it: that one keeps it by its stream. */
  forget(): void {
    if (!this.#clients.startersBehind) this.journal.clear()
    this.#finalScreen = undefined
    this.#dropScreen()
  }

  #viewOf(stream: MuxStream): Pick<AttachmentOptions, "stream" | "journal" | "repaint"> {
    const repaint = this.kind === "pty" ? { repaint: (ready: (bytes: Uint8Array) => void) => this.#repaint(ready) } : {}
    return { stream, journal: this.journal, ...repaint }
  }

  #attachAt(stream: MuxStream, view: ViewOptions, screen = noBytes): void {
    const { offset, follow, size } = view
    const { to } = this.journal
    // Who does not stay has nothing to say: its end must not be the end of the process's input.
    const readOnly = view.readOnly || !follow
    const attachment = new Attachment({ ...this.#viewOf(stream), offset, readOnly, ...(follow ? {} : { until: to }) })
    if (size !== undefined && !readOnly) attachment.size = size
    const repaintBytes = screen.byteLength
    this.#bind(attachment, { processId: this.id, pid: this.#pid, kind: this.kind, offset, liveOffset: to, repaintBytes }, "left", screen)
  }

  #bind(attachment: Attachment, answer: ProcessAccept | AttachAccept, gone: "left" | "lost", screen = noBytes): void {
    const { stream } = attachment
    this.#clients.join(attachment)
    const events = clientEvents(stream, attachment.readOnly, this.#requestsOf(attachment))
    if (!stream.accept(answer, events)) return this.#left(attachment, gone)
    // What came before the answer may have ended the stream.
    if (!this.#clients.attachments.has(attachment)) return
    if (screen.byteLength > 0) stream.write(processTags.stdout, screen)
    this.#size?.joined(attachment)
    if (this.#state.phase === "ended") attachment.ended(this.#state.trailer)
    else attachment.pump()
    this.#pace()
  }

  #repaint(ready: (bytes: Uint8Array) => void): void {
    if (this.#finalScreen !== undefined) ready(this.#finalScreen)
    else if (this.#screen !== undefined) this.#screen.repaint(ready)
    else ready(noBytes)
  }

  #dropScreen(): void {
    const screen = this.#screen
    this.#screen = undefined
    screen?.dispose()
  }

  #requestsOf(attachment: Attachment): ClientRequests {
    return {
      input: (bytes, taken) => {
        if (this.#state.phase !== "running") return taken()
        this.#size?.typed(attachment)
        this.#state.process.write(this.#clients.freshInput(attachment, bytes), taken)
      },
      endInput: () => {
        if (this.#state.phase === "running" && this.#clients.endsInput(attachment)) this.#state.process.endInput()
      },
      signal: (name) => this.signal(name),
      windowChanged: (size) => this.#size?.windowChanged(attachment, size),
      detach: () => {
        if (attachment.isStarter) this.#clients.detach()
      },
      writable: () => {
        attachment.pump()
        this.#pace()
      },
      gone: (how) => this.#left(attachment, how),
    }
  }

  #left(attachment: Attachment, how: "left" | "lost"): void {
    const goesOn = this.#clients.leave(attachment, how)
    this.#size?.left(attachment, this.#clients.newestWriter)
    if (!goesOn) this.hangUp()
    // Nobody need be waited for: what still comes goes to the journal, and the process is not held up while it ends or goes on.
    this.#pace()
  }

  /** The process is held up while its screen cannot follow, or while a client is awaited. */
  #pace(): void {
    const held = this.#screenHolds || this.#clients.awaited
    if (held === this.#paused || this.#state.phase !== "running") return
    this.#paused = held
    if (held) this.#state.process.pauseOutput()
    else this.#state.process.resumeOutput()
  }

  #exited(trailer: ProcessTrailer): void {
    this.#state = { phase: "ended", trailer, endedAt: this.#epochMs() }
    for (const attachment of this.#clients.attachments) attachment.ended(trailer)
    this.#screen?.repaint((bytes) => {
      this.#finalScreen = bytes
      this.#dropScreen()
    })
    this.#ended(trailer)
  }
}
