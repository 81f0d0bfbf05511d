/** A scripted user: does one thing after the other with the SDK, believes nothing, and checks all he is told. */
import type { ExecResult, Exit, Process, Terminal, TunnelError } from "@trunkline/client"
import type { Principal } from "@trunkline/protocol"
import type { SeededRandom } from "@trunkline/protocol/testing"
import { check } from "./check.ts"
import type { Life } from "./life.ts"
import type { Machine } from "./machine.ts"
import { patternBytes } from "./pattern.ts"
import type { SimulatedProcess } from "./process.ts"
import { type Lifetime, Run } from "./run.ts"
import { View } from "./view.ts"

export interface ReadPlan {
  /** Milliseconds for each piece, 0 for at once. */
  readonly pauseMs: number
  /** Milliseconds of doing nothing once `restAt` bytes are there. */
  readonly restMs: number
  readonly restAt: number
  /** Stops at this offset. */
  readonly until: number
}

export class User {
  readonly name: string
  readonly life: Life
  readonly random: SeededRandom
  readonly principal: Principal
  #machines = 0
  #runs = 0
  #machine: Machine
  /** What it is at, for when it never comes back. */
  doing = "nothing yet"

  constructor(name: string, life: Life) {
    this.name = name
    this.life = life
    this.random = life.world.random()
    this.principal = this.random.chance(50)
      ? { id: "owner", scopes: ["admin"] }
      : { id: name, scopes: ["exec", "pty", "attach", "processes"] }
    this.#machine = this.newMachine()
  }

  get machine(): Machine {
    return this.#machine
  }

  /** Sits down at another machine: nothing of the first is known there. */
  move(): Machine {
    this.#machine = this.newMachine()
    return this.#machine
  }

  newMachine(): Machine {
    this.#machines += 1
    return this.life.machine(`${this.name}.${this.#machines}`, this.principal)
  }

  newRun(argv: readonly string[], lifetime: Lifetime, key?: string): Run {
    this.#runs += 1
    return this.life.add(new Run(`${this.name}-run${this.#runs}`, argv, lifetime, key, this.principal.id))
  }

  /** A command that writes, and how it will end. */
  production(bytesMax = 1_200_000): readonly string[] {
    const { random } = this
    const totalBytes = Math.min(bytesMax, random.pick([0, 10, 3_000, 70_000, 70_000, 300_000, random.integer(0, 1_200_000)]))
    const chunkBytes = random.pick([7, 200, 5_000, 16_384, 65_536])
    const chunks = Math.ceil(totalBytes / chunkBytes)
    // A chunk costs an event; small ones are for small outputs.
    const chunk = chunks > 400 ? Math.ceil(totalBytes / 400) : chunkBytes
    const pauseMs = random.pick([0, 0, 1, 20])
    const sources = random.pick([1, 1, 2])
    return ["produce", ...[random.integer(0, 255), totalBytes, chunk, pauseMs, random.pick([0, 0, 0, 1, 77]), sources].map(String)]
  }

  readPlan(): ReadPlan {
    const { random } = this
    return {
      pauseMs: random.pick([0, 0, 0, 1, 30]),
      restMs: random.pick([0, 0, 500, 20_000]),
      restAt: random.integer(0, 200_000),
      until: Number.POSITIVE_INFINITY,
    }
  }

  sleep(ms: number): Promise<void> {
    return this.life.world.sleep(ms)
  }

  /** Does it, and says undefined if it failed in a way that is allowed. */
  async attempt<Value>(run: Run | undefined, machine: Machine, task: () => Promise<Value>): Promise<Value | undefined> {
    if (run !== undefined) run.asked += 1
    const judge = machine.expectations()
    try {
      return await task()
    } catch (error) {
      const judged = judge(error)
      this.told(judged)
      run?.errors.push(judged)
      if (run !== undefined) run.released = true
      return undefined
    }
  }

  told(error: TunnelError): void {
    this.life.world.note(`${this.name} ${error.code} ${error.delivered}`)
    this.life.count("errors")
  }

  /** The one process that is really there for what we were given. */
  truth(pid: number, run?: Run): SimulatedProcess {
    const process = this.life.agent.processes[pid - 1]
    check(process !== undefined, `there is no process ${pid}`)
    if (run !== undefined) check(process.tag === run.tag, `process ${pid} is ${process.tag}, asked for was ${run.tag}`)
    return process
  }

  view(process: Process, from: number | undefined, run?: Run): View {
    return new View(this.truth(process.pid, run), this.life.keeping, from)
  }

  /**
   * Reads a process's output as planned, and its exit if it gets so far. Returns whether it got to the end, which no link that
   * failed does.
   */
  async read(process: Process, view: View, plan: ReadPlan, machine: Machine, run?: Run): Promise<boolean> {
    const judge = machine.expectationsOf(view.restarts)
    const before = view.seenBytes
    let rested = false
    try {
      for await (const event of process.output()) {
        view.event(event)
        if (event.type === "exit") this.exited(event.exit, run)
        if (view.at >= plan.until) return false
        if (!rested && plan.restMs > 0 && view.at >= plan.restAt) {
          rested = true
          await this.sleep(plan.restMs)
        } else if (plan.pauseMs > 0) await this.sleep(plan.pauseMs)
      }
      return true
    } catch (error) {
      const judged = judge(error)
      this.told(judged)
      run?.errors.push(judged)
      if (run !== undefined) run.released = true
      return false
    } finally {
      this.life.count("bytes", view.seenBytes - before)
    }
  }

  exited(exit: Exit, run: Run | undefined): void {
    this.life.world.note(`${this.name} exit ${exit.type}`)
    run?.exits.push(exit)
  }

  /** An `exec` to its end, held against the process that it was. */
  async exec(run: Run, machine: Machine, options: { stdin?: AsyncIterable<Uint8Array>; idempotencyKey?: string } = {}): Promise<boolean> {
    const result = await this.attempt(run, machine, () => machine.agent.exec(run.argv, options))
    if (result === undefined) return false
    this.checkResult(run, result)
    return true
  }

  checkResult(run: Run, result: ExecResult): void {
    const started = this.life.agent.started(run.tag)
    check(started.length === 1, `a success of what was started ${started.length} times`)
    const process = started[0]
    check(process?.exit !== undefined, "a success of what has not ended")
    const told = result.exitCode === null ? result.signal : result.exitCode
    const real = process.exit.type === "code" ? process.exit.code : process.exit.type === "signal" ? process.exit.signal : null
    check(told === real, `the exit was told as ${told}, it was ${real}`)
    this.exited(process.exit, run)
    const meant = { stdout: "", stderr: "" }
    for (const [index, { at, source }] of process.pieces.entries()) {
      const end = process.pieces[index + 1]?.at ?? process.output.length
      meant[source] += Buffer.from(process.output.slice(at, end)).toString("latin1")
    }
    const whole = result.stdout === meant.stdout && result.stderr === meant.stderr
    check(
      whole !== result.truncated,
      `the output of ${run.tag} is ${whole ? "whole but said to be truncated" : "not whole and not said to be so"}`,
    )
    if (result.truncated) new View(process, this.life.keeping, 0).checkTruncated()
    this.life.count("bytes", result.stdout.length + result.stderr.length)
  }

  /** Input for `consume`: told to the run before it is written. */
  async *input(run: Run, salt: number, totalBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
    run.inputBytes = totalBytes
    const pauseMs = this.random.pick([0, 0, 5, 300])
    const chunkBytes = this.random.pick([100, 5_000, 70_000])
    const chunk = Math.max(chunkBytes, Math.ceil(totalBytes / 100))
    for (let at = 0; at < totalBytes; ) {
      const length = Math.min(chunk, totalBytes - at)
      yield patternBytes(salt, at, length)
      at += length
      if (pauseMs > 0) await this.sleep(pauseMs)
    }
    run.inputClosed = true
  }

  /** Reads a terminal until its output ends, or `until` says so. */
  async watch(terminal: Terminal, view: View, machine: Machine, options: { pauseMs: number; until?: () => boolean }): Promise<boolean> {
    const judge = machine.expectationsOf(view.restarts)
    const before = view.seenBytes
    const reader = terminal.output.getReader()
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return true
        view.terminalBytes(value)
        if (options.until?.() === true) return false
        if (options.pauseMs > 0) await this.sleep(options.pauseMs)
      }
    } catch (error) {
      this.told(judge(error))
      return false
    } finally {
      this.life.count("bytes", view.seenBytes - before)
    }
  }
}
