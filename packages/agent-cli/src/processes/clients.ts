/** The clients of one process: how many there may be, who of them started it, whom it waits for, and whether it goes on without them. */
import { assertNever, TunnelError } from "@trunkline/protocol"
import type { Attachment } from "./attachment.ts"

/** Whether a process goes on when its client leaves; `kept`: when its client was lost but did not leave. */
export type Survival = "attached" | "kept" | "detached"

/** Attachments of one process. Each may hold a stream's queue, 256 KiB. */
const attachmentsMax = 64

export class Clients {
  readonly #attachments = new Set<Attachment>()
  #survival: Survival
  /** Those that wait for the repaint they begin with. */
  #arriving = 0
  /** Bytes of input that those who asked for this run have given, each the same from its beginning on. */
  #inputBytes = 0

  constructor(survival: Survival) {
    this.#survival = survival
  }

  /** Those there are, now and later. */
  get attachments(): ReadonlySet<Attachment> {
    return this.#attachments
  }

  /** The process may outlive them. */
  get detached(): boolean {
    return this.#survival !== "attached"
  }

  /** The newest of those who may write. */
  get newestWriter(): Attachment | undefined {
    return this.#writers().at(-1)
  }

  /** One that asked for this run has not taken all of its output: it may be for a pipe. */
  get startersBehind(): boolean {
    return this.#starters().some(({ unread }) => unread)
  }

  /**
   * The process waits for the client that started it, whose output is exact, as long as nobody else works with it and it is not to
   * go on by itself: whoever has left his laptop must not stop those who came instead.
   */
  get awaited(): boolean {
    const writers = this.#writers()
    return this.#survival !== "detached" && writers.length > 0 && writers.every((each) => each.isStarter && each.behind)
  }

  /** Throws TunnelError `overloaded`. */
  requireRoom(): void {
    if (this.#attachments.size + this.#arriving < attachmentsMax) return
    throw new TunnelError("overloaded", `${attachmentsMax} clients are attached to this process; one of them has to leave first`)
  }

  /** Keeps a place for one who joins later; what it gives is called just before. */
  expect(): () => void {
    this.#arriving += 1
    return () => {
      this.#arriving -= 1
    }
  }

  join(attachment: Attachment): void {
    this.#attachments.add(attachment)
  }

  /** From now on the process goes on without them. */
  detach(): void {
    this.#survival = "detached"
  }

  /** Whether the process goes on without this one. */
  leave(attachment: Attachment, how: "left" | "lost"): boolean {
    this.#attachments.delete(attachment)
    if (!attachment.isStarter || this.#starters().length > 0) return true
    if (!this.#mayGoOn(how)) return false
    if (this.#survival === "attached") this.#survival = "detached"
    return true
  }

  /** Whoever asks again for a run sends its input again: what the process has been given is not given twice. */
  freshInput(attachment: Attachment, bytes: Uint8Array): Uint8Array {
    if (!attachment.isStarter) return bytes
    const given = Math.min(this.#inputBytes - attachment.inputBytes, bytes.byteLength)
    attachment.inputBytes += bytes.byteLength
    this.#inputBytes = Math.max(this.#inputBytes, attachment.inputBytes)
    return bytes.subarray(given)
  }

  /** Whether the end of this one's input is that of the process's: one that asked again may be behind one that still writes. */
  endsInput(attachment: Attachment): boolean {
    return !attachment.isStarter || attachment.inputBytes === this.#inputBytes
  }

  #mayGoOn(how: "left" | "lost"): boolean {
    switch (this.#survival) {
      case "detached":
        return true
      case "kept":
        return how === "lost" || this.#writers().length > 0
      case "attached":
        // Somebody else works with it.
        return this.#writers().length > 0
      default:
        return assertNever(this.#survival)
    }
  }

  /** Those that asked for this run, more than one where a client asked again with its key. */
  #starters(): Attachment[] {
    return [...this.#attachments].filter(({ isStarter }) => isStarter)
  }

  /** Those who may write, the newest last. */
  #writers(): Attachment[] {
    return [...this.#attachments].filter(({ readOnly }) => !readOnly)
  }
}
