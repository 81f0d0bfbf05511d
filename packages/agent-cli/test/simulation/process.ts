/**
 * Simulated processes of an operating system: started by argv like real ones, with a pipe that fills while nobody reads it,
 * input that is taken at a program's own pace, signals, and the truth about all of it.
 */
import type { Exit, SignalName } from "@trunkline/protocol"
import type { AgentProcess, ProcessEvents } from "../../src/processes/process.ts"
import type { ProcessRequest } from "../../src/processes/process-request.ts"
import { Collected, difference, patternBytes, sameBytes } from "./pattern.ts"
import type { SleepingClock } from "./sleeping-clock.ts"
import type { World } from "./world.ts"

type Source = "stdout" | "stderr"

/** What a program is told of and what it may do. */
interface Program {
  start(): void
  input(bytes: Uint8Array): void
  inputEnded(): void
  /** There is room in the pipe again. */
  writable(): void
  /** False for a signal that does not end it. */
  diesOf(signal: SignalName): boolean
}

/** Bytes a pipe takes before its writer waits. */
const pipeBytesMax = 65_536
/** Milliseconds between the signals of a hang-up. */
const graceMs = 5_000
/** What an attachment that may only read says all the same. No program may ever hear of it. */
export const forbidden = { inputByte: 0x01, cols: 666, signal: "SIGUSR2" } as const

export class SimulatedProcess implements AgentProcess {
  readonly pid: number
  /** Restarts of the agent before it. */
  readonly core: number
  /** The name of the run, which is the last of its arguments. */
  readonly tag: string
  readonly kind: "exec" | "pty"
  readonly argv: readonly string[]
  readonly #world: World
  /** Of its parent: what that one is told it hears when it is awake. */
  readonly #agentClock: SleepingClock
  readonly #events: ProcessEvents
  readonly #program: Program
  readonly #startedAtMs: number
  /** All output so far, and where each source's pieces begin. */
  readonly output = new Collected()
  readonly pieces: { readonly at: number; readonly source: Source }[] = []
  readonly sizes: { readonly at: number; readonly cols: number; readonly rows: number }[] = []
  readonly input = new Collected()
  inputClosed = false
  #pipe: { readonly source: Source; readonly bytes: Uint8Array }[] = []
  #pipedBytes = 0
  #paused = false
  #pausedSinceMs = 0
  #flushing = false
  #waking = false
  /** The pipe has given something since its writer was told. */
  #drained = false
  #dying: Exit | undefined
  #waitingInput: { readonly bytes: Uint8Array; readonly written: () => void }[] = []
  #takingInput = false
  #vanished = false
  readonly #timers = new Set<() => void>()
  exit: Exit | undefined
  endedAtMs: number | undefined
  hungUpAtMs: number | undefined
  readonly signals: SignalName[] = []

  constructor(
    made: { pid: number; core: number },
    request: ProcessRequest,
    events: ProcessEvents,
    world: World,
    agentClock: SleepingClock,
  ) {
    const argv = request.open.argv ?? []
    this.pid = made.pid
    this.core = made.core
    this.argv = argv
    this.tag = argv.at(-1) ?? ""
    this.kind = request.kind
    this.#world = world
    this.#agentClock = agentClock
    this.#events = events
    this.#startedAtMs = world.clock.now()
    this.#program = programOf(argv, this, world)
    if (request.kind === "pty") this.sizes.push({ at: 0, cols: request.open.cols, rows: request.open.rows })
    const { timeoutMs } = request.open
    if (timeoutMs !== undefined) this.after(timeoutMs, () => this.die({ type: "timeout", timeoutMs }))
    // Nothing happens before whoever starts it has seen it.
    world.clock.schedule(0, () => this.alive && this.#program.start())
  }

  get alive(): boolean {
    return this.exit === undefined && !this.#vanished
  }

  get paused(): boolean {
    return this.#paused
  }

  get pausedSinceMs(): number {
    return this.#pausedSinceMs
  }

  /** Nobody reads its input any more: it will end, or has. */
  get dying(): boolean {
    return this.#dying !== undefined || !this.alive
  }

  get roomBytes(): number {
    return this.dying ? 0 : Math.max(0, pipeBytesMax - this.#pipedBytes)
  }

  /** A program's timer: it ends with the program. */
  after(ms: number, task: () => void): void {
    const cancel = this.#world.clock.schedule(ms, () => {
      this.#timers.delete(cancel)
      task()
    })
    this.#timers.add(cancel)
  }

  /** A program's write; more than there is room for is a program's mistake. */
  emit(source: Source, bytes: Uint8Array): void {
    if (this.dying) return
    this.#pipe.push({ source, bytes })
    this.#pipedBytes += bytes.byteLength
    this.#flush()
  }

  die(exit: Exit): void {
    if (this.dying) return
    this.#dying = exit
    this.#stopTimers()
    for (const { written } of this.#waitingInput.splice(0)) this.#agentClock.whenAwake(written)
    this.#flush()
  }

  /** The machine is gone, and it with it: nobody will ever say how it ended. */
  vanish(): void {
    this.#vanished = true
    this.#stopTimers()
  }

  write(bytes: Uint8Array, written: () => void): void {
    if (this.dying) return written()
    this.#waitingInput.push({ bytes, written })
    this.#takeInput()
  }

  endInput(): void {
    if (this.kind === "pty" || this.dying) return
    this.inputClosed = true
    this.#takeInput()
  }

  pauseOutput(): void {
    if (this.#vanished) return
    this.#world.require(!this.#paused, `process ${this.pid} was paused twice`)
    this.#paused = true
    this.#world.note("pause", this.pid, this.output.length)
    this.#pausedSinceMs = this.#world.clock.now()
  }

  resumeOutput(): void {
    if (this.#vanished) return
    this.#world.require(this.#paused, `process ${this.pid} was resumed without a pause`)
    this.#paused = false
    this.#world.note("resume", this.pid, this.output.length)
    // Reading begins in a later turn.
    this.#world.clock.schedule(0, () => this.#flush())
  }

  signal(name: SignalName): void {
    if (!this.alive) return
    this.#world.require(name !== forbidden.signal, `process ${this.pid} got a signal from one who may only read`)
    this.#world.note("signal", this.pid, name.length)
    this.signals.push(name)
    if (name === "SIGKILL" || this.#program.diesOf(name)) this.die({ type: "signal", signal: name })
  }

  resize(cols: number, rows: number): void {
    this.#world.require(cols !== forbidden.cols, `process ${this.pid} was resized by one who may only read`)
    if (this.kind === "pty") this.sizes.push({ at: this.output.length, cols, rows })
  }

  hangUp(): void {
    if (!this.alive || this.hungUpAtMs !== undefined) return
    this.hungUpAtMs = this.#world.clock.now()
    this.#world.note("hup", this.pid)
    this.onHangUp?.()
    for (const [step, name] of (["SIGHUP", "SIGTERM", "SIGKILL"] as const).entries()) this.after(step * graceMs, () => this.signal(name))
  }

  /** Asked whether that may be. */
  onHangUp: (() => void) | undefined

  #stopTimers(): void {
    for (const cancel of this.#timers) cancel()
    this.#timers.clear()
  }

  #takeInput(): void {
    if (this.#takingInput || this.dying) return
    const next = this.#waitingInput[0]
    if (next === undefined) {
      if (this.inputClosed) this.#program.inputEnded()
      return
    }
    this.#takingInput = true
    // A program reads in its own time: at 5 MB/s.
    this.#world.clock.schedule(next.bytes.byteLength / 5_000, () => {
      this.#takingInput = false
      if (this.dying) return
      this.#waitingInput.shift()
      this.#world.require(!next.bytes.includes(forbidden.inputByte), `process ${this.pid} read what one wrote who may only read`)
      this.input.add(next.bytes)
      this.#agentClock.whenAwake(next.written)
      this.#program.input(next.bytes)
      this.#takeInput()
    })
  }

  #flush(): void {
    if (this.#flushing || !this.alive) return
    if (this.#agentClock.asleep) return this.#flushLater()
    this.#flushing = true
    for (let next = this.#pipe[0]; next !== undefined && !this.#paused; next = this.#pipe[0]) {
      this.#drained = true
      this.#pipe.shift()
      this.#pipedBytes -= next.bytes.byteLength
      this.pieces.push({ at: this.output.length, source: next.source })
      this.output.add(next.bytes)
      this.#events.output(next.source, next.bytes)
    }
    this.#flushing = false
    if (this.#pipe.length > 0 || this.#paused) return
    if (this.#dying !== undefined) this.#end(this.#dying)
    else if (this.#drained) {
      this.#drained = false
      this.after(0, () => this.#program.writable())
    }
  }

  #flushLater(): void {
    if (this.#waking) return
    this.#waking = true
    this.#agentClock.whenAwake(() => {
      this.#waking = false
      this.#flush()
    })
  }

  #end(exit: Exit): void {
    this.exit = exit
    this.endedAtMs = this.#world.clock.now()
    this.#world.note("exit", this.pid, this.output.length)
    this.#events.exited(exit, this.#world.clock.now() - this.#startedAtMs)
  }
}

/** Programs that do nothing but wait take what others do. */
const idle: Program = {
  start() {},
  input() {},
  inputEnded() {},
  writable() {},
  diesOf: (signal) => signal === "SIGHUP" || signal === "SIGTERM" || signal === "SIGINT",
}

function programOf(argv: readonly string[], process: SimulatedProcess, world: World): Program {
  const number = (at: number) => Number(argv[at])
  switch (argv[0]) {
    case "produce":
      return produce(process, {
        salt: number(1),
        totalBytes: number(2),
        chunkBytes: number(3),
        pauseMs: number(4),
        exitCode: number(5),
        sources: number(6),
      })
    case "consume":
      return consume(process, world, number(1))
    case "echo":
      return echo(process)
    case "sleep":
      return { ...idle, start: () => process.after(number(1), () => process.die({ type: "code", code: 0 })) }
    case "trap":
      // Ends when it likes after a HUP.
      return {
        ...idle,
        diesOf(signal) {
          if (signal === "SIGHUP") process.after(number(1), () => process.die({ type: "code", code: 3 }))
          return false
        },
      }
    default:
      throw new Error(`no program ${argv[0]}`)
  }
}

interface Production {
  readonly salt: number
  readonly totalBytes: number
  readonly chunkBytes: number
  readonly pauseMs: number
  readonly exitCode: number
  /** 2: every other chunk goes to stderr. */
  readonly sources: number
}

/** Writes so many bytes and exits. */
function produce(process: SimulatedProcess, plan: Production): Program {
  let at = 0
  let chunks = 0
  let resting = false
  const write = () => {
    while (!resting && !process.dying) {
      if (at === plan.totalBytes) return process.die({ type: "code", code: plan.exitCode })
      const length = Math.min(plan.chunkBytes, plan.totalBytes - at)
      if (process.roomBytes < length) return
      const source = plan.sources === 2 && chunks % 2 === 1 ? "stderr" : "stdout"
      const bytes = patternBytes(plan.salt, at, length)
      at += length
      chunks += 1
      resting = plan.pauseMs > 0
      process.emit(source, bytes)
      if (resting)
        process.after(plan.pauseMs, () => {
          resting = false
          write()
        })
    }
  }
  return { ...idle, start: write, writable: write }
}

/** Reads its input to the end, which must be the pattern, and says how much it was. */
function consume(process: SimulatedProcess, world: World, salt: number): Program {
  let at = 0
  return {
    ...idle,
    input(bytes) {
      const meant = patternBytes(salt, at, bytes.byteLength)
      if (!sameBytes(bytes, meant)) world.require(false, `the input of process ${process.pid}: ${difference(bytes, meant, at)}`)
      at += bytes.byteLength
    },
    inputEnded() {
      process.emit("stdout", new TextEncoder().encode(`${at}\n`))
      process.die({ type: "code", code: 0 })
    },
  }
}

/** A terminal's echo, until it reads ^D. */
function echo(process: SimulatedProcess): Program {
  return {
    ...idle,
    input(bytes) {
      const end = bytes.indexOf(4)
      process.emit("stdout", end < 0 ? bytes.slice() : bytes.slice(0, end))
      if (end >= 0) process.die({ type: "code", code: 0 })
    },
  }
}
