/** The kinds `exec` and `pty` at the agent: binds a stream to a process, with back-pressure both ways. */
import { randomBytes } from "node:crypto"
import {
  assertNever,
  checkBody,
  type Exit,
  execOpenSchema,
  InvalidBody,
  type Logger,
  type MuxStream,
  processMessageSchema,
  processTags,
  ptyOpenSchema,
  type StreamEvents,
  TunnelError,
} from "@trunkline/protocol"
import { startExec } from "../processes/exec-process.ts"
import type { AgentProcess, ProcessEvents } from "../processes/process.ts"
import { startPty } from "../processes/pty-process.ts"

export interface ProcessContext {
  readonly logger: Logger
  /** Processes that have not ended. */
  readonly running: Set<RunningProcess>
}

/** What a stop of the agent needs: a detached process is neither waited for nor ended. */
export interface RunningProcess {
  readonly detached: boolean
  /** Ends the whole process group at once. */
  kill(): void
}

/** Processes of one agent at once. Each holds two or three descriptors and a few KiB here, and far more in the kernel. */
const processesMax = 1_024

/** Rejects the stream or runs the process to its end. Never throws. */
export function serveProcess(stream: MuxStream, kind: "exec" | "pty", body: unknown, context: ProcessContext): void {
  const service = new ProcessService(stream, context)
  service.start(kind, body).catch((error: unknown) => {
    if (error instanceof TunnelError) return stream.reject(error)
    if (error instanceof InvalidBody) return stream.reject(new TunnelError("bad-request", `${kind}: ${error.message}`))
    context.logger.error("process.start-failed", { kind, error: String(error) })
    stream.reject(new TunnelError("internal", "the agent could not start the process; its log says why"))
  })
}

class ProcessService implements RunningProcess {
  readonly #stream: MuxStream
  readonly #context: ProcessContext
  readonly #id = randomBytes(6).toString("hex")
  #process: AgentProcess | undefined
  detached = false
  #paused = false
  #inputEnded = false
  /** The client reads no more and wants no exit. */
  #left = false
  #bytesOut = 0

  constructor(stream: MuxStream, context: ProcessContext) {
    this.#stream = stream
    this.#context = context
  }

  async start(kind: "exec" | "pty", body: unknown): Promise<void> {
    const { running } = this.#context
    if (running.size >= processesMax) throw new TunnelError("overloaded", `${processesMax} processes run on this agent; end some first`)
    running.add(this)
    let process: AgentProcess
    try {
      process = await this.#spawn(kind, body)
    } catch (error) {
      running.delete(this)
      throw error
    }
    this.#process = process
    this.#context.logger.info("process.started", { process: this.#id, kind, pid: process.pid })
    // The client may have left while the process was being started: then nobody will ever end it but us.
    if (!this.#stream.accept({ processId: this.#id, pid: process.pid }, this.#streamEvents) && !this.detached) process.hangUp()
  }

  kill(): void {
    this.#process?.signal("SIGKILL")
  }

  #spawn(kind: "exec" | "pty", body: unknown): Promise<AgentProcess> {
    switch (kind) {
      case "exec": {
        const open = checkBody(execOpenSchema, body)
        this.detached = open.detach
        return startExec(open, this.#processEvents)
      }
      case "pty":
        return startPty(checkBody(ptyOpenSchema, body), this.#processEvents)
      default:
        return assertNever(kind)
    }
  }

  readonly #processEvents: ProcessEvents = {
    output: (source, chunk) => {
      this.#bytesOut += chunk.byteLength
      this.#stream.write(processTags[source], chunk)
      if (this.#stream.phase === "open" && this.#stream.writableBytes === 0 && !this.#paused) {
        this.#paused = true
        this.#process?.pauseOutput()
      }
    },
    exited: (exit, durationMs) => this.#exited(exit, durationMs),
  }

  readonly #streamEvents: StreamEvents = {
    data: (tag, bytes, cost) => {
      if (tag !== processTags.stdin) throw new InvalidBody(`tag ${tag} is not stdin`)
      this.#process?.write(bytes, () => this.#stream.consumed(cost))
    },
    message: (body) => this.#message(body),
    finished: () => {
      this.#inputEnded = true
      this.#process?.endInput()
      this.#releaseIfLeft()
    },
    writable: () => this.#resume(),
    closed: () => {
      // Nobody reads on: what still comes is dropped, so that the process is not held up while it ends or goes on.
      this.#resume()
      if (!this.detached) this.#process?.hangUp()
    },
  }

  #message(body: unknown): void {
    const message = checkBody(processMessageSchema, body)
    switch (message.type) {
      case "signal":
        return this.#process?.signal(message.signal)
      case "resize":
        return this.#process?.resize(message.cols, message.rows)
      case "detach":
        this.detached = true
        this.#left = true
        return this.#releaseIfLeft()
      default:
        return assertNever(message)
    }
  }

  /** A stream that nobody needs would keep the client's link, and so the client itself, until the process ends. */
  #releaseIfLeft(): void {
    if (this.#left && this.#inputEnded)
      this.#stream.reset(new TunnelError("aborted", "the client has left the process running", { delivered: "yes" }))
  }

  #resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#process?.resumeOutput()
  }

  #exited(exit: Exit, durationMs: number): void {
    this.#context.running.delete(this)
    this.#stream.finish({ exit, durationMs: Math.round(durationMs) })
    this.#context.logger.info("process.ended", { process: this.#id, exit, durationMs: Math.round(durationMs), bytesOut: this.#bytesOut })
  }
}
