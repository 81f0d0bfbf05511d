/** `trunkline exec NAME -- CMD…`: one program, its output here, its exit code ours. */
import type { Agent, Process, SpawnOptions } from "@trunkline/client"
import { TunnelError } from "@trunkline/protocol"
import { exitCodeOfSignal, exitCodes } from "../exit-codes.ts"
import { CommandFailure, unknownOutcome } from "../failure.ts"
import { type GatewayValues, openAgent } from "../gateway-client.ts"
import { forwardInterrupts } from "../interrupts.ts"
import { noticeWaits } from "../link-notice.ts"
import type { Operands } from "../operands.ts"
import { formatJson, showProgress } from "../output.ts"
import type { Values } from "../settings/settings.ts"
import { isReaderGone, writeAll } from "../stdio.ts"
import { terminalVariables } from "../terminal/local-terminal.ts"
import { showTerminal } from "../terminal/session.ts"
import { UsageError } from "../usage-error.ts"
import { CollectedOutput } from "./collected-output.ts"
import { finishOutput, type OutputSink, PassedThrough, passOutput, sendInput } from "./pass-output.ts"
import { refuseDirectory } from "./refuse-directory.ts"

type ExecValues = GatewayValues & Values<"interactive" | "tty" | "detach" | "env" | "workdir" | "timeout" | "idempotencyKey" | "output">

export async function run(values: ExecValues, { name, command }: Operands): Promise<number> {
  refuseContradictions(values)
  const { gateway, agent } = await openAgent(values, name)
  const options: SpawnOptions = {
    env: values.env,
    ...(values.workdir === undefined ? {} : { cwd: values.workdir }),
    ...(values.timeout === undefined ? {} : { timeoutMs: values.timeout }),
    ...(values.idempotencyKey === undefined ? {} : { idempotencyKey: values.idempotencyKey }),
  }
  try {
    if (values.tty) return await runOnTerminal(agent, command, options, values.interactive)
    if (values.detach) return await detach(agent, command, options, values.output)
    return await runHere(agent, command, options, values)
  } finally {
    gateway.close()
  }
}

function refuseContradictions({ interactive, tty, detach, output }: ExecValues): void {
  if (interactive) refuseDirectory()
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

function runOnTerminal(agent: Agent, command: readonly string[], options: SpawnOptions, interactive: boolean): Promise<number> {
  const env = { ...terminalVariables(process.env), ...options.env }
  return showTerminal(agent, {
    open: (size, signal) => agent.pty.create({ ...options, ...size, command, env, keep: false, signal }),
    keys: interactive ? "typed" : "none",
    bond: "command",
    comeBack: (id) => `trunkline attach ${agent.name} ${id}`,
  })
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
  // A program that reads our stderr gets the command's, to the byte.
  const notice = process.stderr.isTTY
    ? noticeWaits(agent, { leaveKeys: "Ctrl-C", write: (line) => process.stderr.write(`${line}\n`) })
    : undefined
  const ignoreInterrupts = forwardInterrupts({
    forward(signal) {
      // Nobody is there to hear it.
      if (running === undefined || notice?.shown === true) return false
      running.kill(signal)
      return true
    },
    leave: (exitCode) => left.resolve(exitCode),
  })
  const progress = showProgress(`connecting to ${agent.name}…`)
  const started = agent.spawn(command, { ...options, stdin: interactive ? "pipe" : "none", signal: hangUp.signal }).finally(progress)
  const finished = started.then(async (process) => {
    running = process
    const input = interactive ? sendAllInput(process) : new Promise<never>(() => {})
    return await Promise.race([pass(process, output === "json" ? new CollectedOutput() : new PassedThrough()), input])
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
    notice?.stop()
    ignoreInterrupts()
    process.stdin.destroy()
  }
}

async function pass(remote: Process, sink: OutputSink): Promise<number> {
  try {
    return await finishOutput(await passOutput(remote, sink), sink)
  } catch (error) {
    // As if this program had been the command itself: a writer whose reader is gone ends quietly.
    if (isReaderGone(error)) return exitCodeOfSignal("SIGPIPE")
    if (error instanceof CommandFailure) throw error
    if (error instanceof TunnelError) {
      await sink.finish({ type: "unknown", reason: error.message }, 0)
      throw unknownOutcome(error)
    }
    throw new CommandFailure(`the output cannot be written here: ${messageOf(error)}; the command was ended`, exitCodes.link, {
      cause: error,
    })
  }
}

async function sendAllInput(remote: Process): Promise<never> {
  try {
    return await sendInput(remote)
  } catch (error) {
    throw new CommandFailure(`stdin cannot be read: ${messageOf(error)}; the command was ended`, exitCodes.link, { cause: error })
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
