/** What a running process looks like to the service that binds it to a stream: `exec` and `pty` implement it alike. */
import type { Exit, SignalName } from "@trunkline/protocol"

/** Called by the process. None is called before the promise of the starting function has been settled and seen. */
export interface ProcessEvents {
  /** Bytes as the kernel gave them, never while paused. A PTY has only `stdout`. The bytes are the process's again when this returns. */
  output(source: "stdout" | "stderr", chunk: Uint8Array): void
  /** Exactly once, after the last `output`. `durationMs` runs from the start until the process itself ended. */
  exited(exit: Exit, durationMs: number): void
}

export interface AgentProcess {
  readonly pid: number
  /**
   * Queues input. `written` runs, in order, when the operating system has taken the bytes: the moment to grant credit.
   * When nobody can read them any more the bytes are dropped and `written` runs all the same. Never throws.
   */
  write(bytes: Uint8Array, written: () => void): void
  /** End of input after what is queued. Nothing on a PTY: a terminal ends its input by a typed ^D, whose meaning its mode decides. */
  endInput(): void
  /**
   * Stops reading, so that the kernel stops the writer. The exit waits for `resumeOutput`: an owner who has lost
   * interest resumes and throws the bytes away.
   */
  pauseOutput(): void
  resumeOutput(): void
  /** To every process of the group. Nothing when none is left. */
  signal(name: SignalName): void
  /** PTY only. */
  resize(cols: number, rows: number): void
  /** HUP, after a grace TERM, after another KILL, to every process of the group, until none is left. Idempotent. */
  hangUp(): void
}

/** What tests may shorten; the defaults suit people. */
export interface ProcessTimes {
  /** Milliseconds between a signal that asks a group to end and the next, stronger one. */
  readonly graceMs: number
  /** Milliseconds without a byte after which pipes that outlive their process are closed. */
  readonly quietMs: number
}

export const processTimes: ProcessTimes = {
  /** Shells and databases write their state in well under this; people wait no longer for a command they have ended. */
  graceMs: 5_000,
  /** A surviving member of a pipeline is scheduled many times in this; a person does not notice it. */
  quietMs: 100,
}

export interface StartOptions {
  /** The agent's own environment, where the child's begins. */
  readonly agentEnv?: NodeJS.ProcessEnv
  readonly times?: ProcessTimes
}
