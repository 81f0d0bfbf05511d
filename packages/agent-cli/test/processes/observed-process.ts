/** Starts real processes for tests, keeps what they say, waits for what can be observed, and leaves none behind. */
import { readdirSync, readFileSync } from "node:fs"
import { setTimeout as delay } from "node:timers/promises"
import type { ExecOpen, Exit, PtyOpen } from "@trunkline/protocol"
import { startExec } from "../../src/processes/exec-process.ts"
import type { AgentProcess, ProcessEvents, ProcessTimes, StartOptions } from "../../src/processes/process.ts"
import { startPty } from "../../src/processes/pty-process.ts"

/** Graces that let a test see every step without waiting for it. */
const shortTimes: ProcessTimes = { graceMs: 150, quietMs: 30 }

export interface Observed {
  readonly process: AgentProcess
  readonly stdoutBytes: () => Buffer
  readonly stdout: () => string
  readonly stderr: () => string
  /** Bytes of both, without copying them together. */
  readonly receivedBytes: () => number
  readonly exits: readonly Exit[]
  readonly ended: Promise<Exit>
}

const running = new Set<Observed>()

/** What a test does with a process at each chunk it gives. */
export type ChunkReaction = (process: AgentProcess) => void

/** The slowest reader there is: nothing more until the event loop has gone round. */
export const pauseEachChunk: ChunkReaction = (process) => {
  process.pauseOutput()
  setImmediate(() => process.resumeOutput())
}

async function observe(start: (events: ProcessEvents) => Promise<AgentProcess>, react: ChunkReaction = () => {}): Promise<Observed> {
  const chunks: Record<"stdout" | "stderr", Uint8Array[]> = { stdout: [], stderr: [] }
  const exits: Exit[] = []
  let receivedBytes = 0
  const { promise, resolve } = Promise.withResolvers<Exit>()
  const process = await start({
    output(source, chunk) {
      if (exits.length > 0) throw new Error("output after the exit")
      chunks[source].push(new Uint8Array(chunk))
      receivedBytes += chunk.length
      react(process)
    },
    exited(exit) {
      exits.push(exit)
      running.delete(observed)
      resolve(exit)
    },
  })
  const observed: Observed = {
    process,
    stdoutBytes: () => Buffer.concat(chunks.stdout),
    stdout: () => Buffer.concat(chunks.stdout).toString(),
    stderr: () => Buffer.concat(chunks.stderr).toString(),
    receivedBytes: () => receivedBytes,
    exits,
    ended: promise,
  }
  running.add(observed)
  return observed
}

export function exec(
  argv: ExecOpen["argv"],
  open: Partial<ExecOpen> = {},
  options: StartOptions = {},
  react?: ChunkReaction,
): Promise<Observed> {
  const whole: ExecOpen = { argv, env: {}, stdin: false, detach: false, ...open }
  return observe((events) => startExec(whole, events, { times: shortTimes, ...options }), react)
}

export function pty(
  argv: PtyOpen["argv"],
  open: Partial<PtyOpen> = {},
  options: StartOptions = {},
  react?: ChunkReaction,
): Promise<Observed> {
  const whole: PtyOpen = { ...(argv === undefined ? {} : { argv }), env: {}, cols: 80, rows: 24, keep: false, ...open }
  return observe((events) => startPty(whole, events, { times: shortTimes, ...options }), react)
}

/** For `afterEach`: whatever a failed test has left. */
export function killLeftovers(): void {
  for (const { process: left } of running) kill(-left.pid)
  running.clear()
}

export function kill(target: number): void {
  try {
    process.kill(target, "SIGKILL")
  } catch {
    // It is gone already.
  }
}

/** Polls until `observation` holds; the test's own time limit ends it otherwise. */
export async function until(observation: () => boolean): Promise<void> {
  while (!observation()) await delay(5)
}

/** Polls until `value` has stayed the same for 40 looks, 200 ms or more. */
export async function untilStable(value: () => unknown): Promise<void> {
  for (let same = 0, last = value(); same < 40; ) {
    await delay(5)
    const now = value()
    same = now === last ? same + 1 : 0
    last = now
  }
}

/** The state letter of /proc/PID/stat; undefined when there is no such process. */
export function stateOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.[0]
  } catch {
    return undefined
  }
}

export const isDead = (pid: number): boolean => [undefined, "Z", "X"].includes(stateOf(pid))

/** Bytes a process has asked to write so far. */
export function writtenBytesOf(pid: number): number {
  return Number(/wchar: (\d+)/.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1])
}

/** No process of the group lives. One that is dead and not yet reaped, by whoever adopted it, is none. */
export function isGroupEmpty(leaderPid: number): boolean {
  const pids = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
  return pids.every((pid) => groupOf(pid) !== leaderPid || isDead(pid))
}

function groupOf(pid: number): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[2])
  } catch {
    return undefined
  }
}

/** The number that `pattern` finds in what has been said. */
export function numberIn(said: string, pattern: RegExp): number {
  const found = pattern.exec(said)?.[1]
  if (found === undefined) throw new Error(`${pattern} is not in ${JSON.stringify(said)}`)
  return Number(found)
}
