/**
 * Owns the signals to one process group, whose leader is a child of ours.
 *
 * A group's number is taken as long as one member lives, and may be given away afterwards. So the group is asked
 * once at the leader's end and never signalled again when it was found empty.
 */
import type { SignalName } from "@trunkline/protocol"

export class ProcessGroup {
  readonly #leaderPid: number
  readonly #graceMs: number
  #leaderExited = false
  #empty = false
  #ending = false
  #nextStep: NodeJS.Timeout | undefined
  #ended: () => void = () => {}

  constructor(leaderPid: number, graceMs: number) {
    this.#leaderPid = leaderPid
    this.#graceMs = graceMs
  }

  /** Whether `end` has been called. */
  get ending(): boolean {
    return this.#ending
  }

  /** False when no process is left. */
  signal(name: SignalName): boolean {
    return this.#send(name)
  }

  /**
   * Sends the signals one after the other, a grace apart, as long as somebody lives. `ended` runs once: nobody is
   * left, or the last signal has been sent. Only the first call counts.
   */
  end(signals: readonly SignalName[], ended: () => void): void {
    if (this.#ending) return
    this.#ending = true
    this.#ended = ended
    this.#step(signals)
  }

  /** The leader has been reaped. */
  leaderExited(): void {
    this.#leaderExited = true
    if (this.#send(0) || !this.#ending) return
    clearTimeout(this.#nextStep)
    this.#finish()
  }

  #step([name, ...rest]: readonly SignalName[]): void {
    if (name === undefined || !this.#send(name)) {
      this.#finish()
      return
    }
    // A stopped process gets no other signal until it goes on.
    if (name !== "SIGKILL") this.#send("SIGCONT")
    if (rest.length === 0) this.#finish()
    else this.#nextStep = setTimeout(() => this.#step(rest), this.#graceMs)
  }

  #finish(): void {
    const ended = this.#ended
    this.#ended = () => {}
    ended()
  }

  #send(signal: SignalName | 0): boolean {
    if (this.#empty) return false
    if (trySignal(-this.#leaderPid, signal)) return true
    // Just forked for a terminal, the child may not lead its group yet.
    if (!this.#leaderExited) return trySignal(this.#leaderPid, signal)
    this.#empty = true
    return false
  }
}

/** False when there is no such process. One that belongs to another user (EPERM) is there. */
function trySignal(target: number, signal: SignalName | 0): boolean {
  try {
    return process.kill(target, signal)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH"
  }
}
