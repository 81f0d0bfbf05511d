/** `trunkline exec NAME -- CMD…`: one program, its output here, its exit code ours. */
import { fstatSync } from "node:fs"
import type { Agent, Exit, OutputEvent, Process, SpawnOptions } from "@trunkline/client"
import { TunnelError } from "@trunkline/protocol"
import type { Values } from "../config.ts"
import { formatDuration } from "../duration.ts"
import { exitCodeOf, exitCodeOfSignal, exitCodes } from "../exit-codes.ts"
import { CommandFailure, unknownOutcome } from "../failure.ts"
import { type GatewayValues, openAgent } from "../gateway-client.ts"
import { forwardInterrupts } from "../interrupts.ts"
import type { Operands } from "../operands.ts"
import { formatJson, showProgress } from "../output.ts"
import { isReaderGone, writeAll } from "../stdio.ts"
import { showTerminal } from "../terminal/session.ts"
import { UsageError } from "../usage-error.ts"
import { CollectedOutput } from "./collected-output.ts"

type ExecValues = GatewayValues & Values<"interactive" | "tty" | "detach" | "env" | "workdir" | "timeout" | "output">

export async function run(values: ExecValues, { name, command }: Operands): Promise<number> {
  refuseContradictions(values)
  const { gateway, agent } = await openAgent(values, name)
  const options: SpawnOptions = {
    env: values.env,
    ...(values.workdir === undefined ? {} : { cwd: values.workdir }),
    ...(values.timeout === undefined ? {} : { timeoutMs: values.timeout }),
  }
  try {
    if (values.tty) return await showTerminal(agent, { ...options, command, input: values.interactive })
    if (values.detach) return await detach(agent, command, options, values.output)
    return await runHere(agent, command, options, values)
  } finally {
    gateway.close()
  }
}

function refuseContradictions({ interactive, tty, detach, output }: ExecValues): void {
  // Node would read a directory as if it were empty.
  if (interactive && fstatSync(0).isDirectory()) throw new UsageError("stdin is a directory: give -i a file, a pipe or a terminal")
  if (detach && interactive) throw new UsageError("-d and -i contradict each other: a detached command has no stdin of ours")
  if (detach && tty) throw new UsageError("-d and -t contradict each other: a detached command has no terminal")
  if (tty && output === "json") throw new UsageError("-t and -o json contradict each other: a terminal's output is for eyes")
  if (tty && interactive && !process.stdin.isTTY) throw new UsageError("stdin is not a terminal: leave out -t to pipe it to the command")
}

async function detach(agent: Agent, command: readonly string[], options: SpawnOptions, output: ExecValues["output"]): Promise<number> {
  const { id, pid } = await agent.spawn(command, { ...options, detach: true })
  await writeAll(process.stdout, output === "json" ? formatJson({ processId: id, pid }) : `${id}\n`)
  return exitCodes.ok
}

/** Where output goes, and what is shown at the end. */
interface Sink {
  write(event: OutputEvent & { readonly type: "stdout" | "stderr" }): Promise<void>
  finish(exit: Exit, durationMs: number): Promise<void>
}

async function runHere(
  agent: Agent,
  command: readonly string[],
  options: SpawnOptions,
  { interactive, output }: ExecValues,
): Promise<number> {
  const left = Promise.withResolvers<number>()
  const hangUp = new AbortController()
  let running: Process | undefined
  const ignoreInterrupts = forwardInterrupts({
    forward(signal) {
      running?.kill(signal)
      return running !== undefined
    },
    leave: (exitCode) => left.resolve(exitCode),
  })
  const progress = showProgress(`connecting to ${agent.name}…`)
  const started = agent.spawn(command, { ...options, stdin: interactive ? "pipe" : "none", signal: hangUp.signal }).finally(progress)
  const finished = started.then(async (process) => {
    running = process
    const input = interactive ? sendInput(process) : new Promise<never>(() => {})
    return await Promise.race([pass(process, output === "json" ? new CollectedOutput() : passThrough), input])
  })
  try {
    return await Promise.race([finished, left.promise])
  } catch (error) {
    if (error instanceof TunnelError && error.delivered === "unknown") throw unknownOutcome(error)
    throw error
  } finally {
    // Whatever is still under way is for nobody any more.
    finished.catch(() => {})
    hangUp.abort()
    ignoreInterrupts()
    process.stdin.destroy()
  }
}

const passThrough: Sink = {
  write: ({ type, bytes }) => writeAll(type === "stdout" ? process.stdout : process.stderr, bytes),
  async finish() {},
}

/** Reads as fast as the sink takes it, to the exit. */
async function pass(process: Process, sink: Sink): Promise<number> {
  try {
    for await (const event of process.output()) {
      if (event.type === "exit") return await report(event.exit, event.durationMs, sink)
      await sink.write(event)
    }
  } catch (error) {
    // As if this program had been the command itself: a writer whose reader is gone ends quietly.
    if (isReaderGone(error)) return exitCodeOfSignal("SIGPIPE")
    if (error instanceof TunnelError) {
      await sink.finish({ type: "unknown", reason: error.message }, 0)
      throw unknownOutcome(error)
    }
    throw new CommandFailure(`the output cannot be written here: ${messageOf(error)}; the command was ended`, exitCodes.link, {
      cause: error,
    })
  }
  throw unknownOutcome(new Error("the output ended without an exit"))
}

async function report(exit: Exit, durationMs: number, sink: Sink): Promise<number> {
  await sink.finish(exit, durationMs)
  if (exit.type === "unknown") throw unknownOutcome(new Error(exit.reason))
  if (exit.type === "timeout")
    process.stderr.write(`trunkline: time is up: the command was ended after ${formatDuration(exit.timeoutMs)}\n`)
  return exitCodeOf(exit)
}

/** Never resolves; the end of the command ends it. Rejects when stdin cannot be read, which must not look like its end. */
async function sendInput(remote: Process): Promise<never> {
  const chunks: AsyncIterator<Buffer> = process.stdin[Symbol.asyncIterator]()
  while (true) {
    let next: IteratorResult<Buffer>
    try {
      next = await chunks.next()
    } catch (error) {
      throw new CommandFailure(`stdin cannot be read: ${messageOf(error)}; the command was ended`, exitCodes.link, { cause: error })
    }
    if (next.done === true) break
    try {
      await remote.write(next.value)
    } catch {
      // The command is over; how, its output tells.
      break
    }
  }
  remote.closeInput()
  return new Promise<never>(() => {})
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
