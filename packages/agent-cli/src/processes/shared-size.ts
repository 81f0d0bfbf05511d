/** The one size of a terminal that any number of clients look at: that of the window of who typed last, the driver. */
import type { Attachment, Size } from "./attachment.ts"

export class SharedSize {
  readonly #attachments: ReadonlySet<Attachment>
  readonly #changed: (size: Size) => void
  #size: Size
  #driver: Attachment | undefined

  /** `attachments` are those there are, now and later; `changed` is called before they are told. */
  constructor(size: Size, attachments: ReadonlySet<Attachment>, changed: (size: Size) => void) {
    this.#size = size
    this.#attachments = attachments
    this.#changed = changed
  }

  get size(): Size {
    return this.#size
  }

  /** A client that is about to join, and will drive if nobody else does: what it is shown at first has its size. */
  arriving(size: Size): void {
    if (this.#driver === undefined) this.#become(size)
  }

  /** Drives if nobody else does and it may; otherwise it is told. */
  joined(attachment: Attachment): void {
    if (this.#driver === undefined && !attachment.readOnly) this.#drive(attachment)
    else this.#tell(attachment)
  }

  typed(attachment: Attachment): void {
    if (attachment !== this.#driver) this.#drive(attachment)
  }

  windowChanged(attachment: Attachment, size: Size): void {
    if (attachment.readOnly) return
    attachment.size = size
    if (attachment === this.#driver || this.#driver === undefined) this.#drive(attachment)
    else this.#tell(attachment)
  }

  /** Hands over to the `heir`, if there is one. */
  left(attachment: Attachment, heir: Attachment | undefined): void {
    if (attachment === this.#driver) this.#drive(heir)
  }

  #drive(attachment: Attachment | undefined): void {
    const before = this.#driver
    this.#driver = attachment
    const size = attachment?.size
    if (size !== undefined && this.#become(size)) for (const each of this.#attachments) this.#tell(each)
    else if (before !== attachment) for (const each of [before, attachment]) if (each !== undefined) this.#tell(each)
  }

  /** Whether it was another. */
  #become(size: Size): boolean {
    if (size.cols === this.#size.cols && size.rows === this.#size.rows) return false
    this.#size = size
    this.#changed(size)
    return true
  }

  #tell(attachment: Attachment): void {
    const driver = attachment === this.#driver
    // Until somebody else comes the terminal is as large as its starter's window, which knows.
    if (driver && attachment.isStarter && !attachment.knowsSize) return
    attachment.tellSize(this.#size, driver)
  }
}
