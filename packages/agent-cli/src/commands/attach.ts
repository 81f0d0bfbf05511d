/** `trunkline attach NAME ID`: a process that somebody started, its output here, its exit code ours. It goes on when we leave. */
import type { Agent, AttachFrom } from "@trunkline/client"
import { TunnelError } from "@trunkline/protocol"
import { exitCodeOfSignal, exitCodes } from "../exit-codes.ts"
import { CommandFailure } from "../failure.ts"
import { type GatewayValues, openAgent } from "../gateway-client.ts"
import type { Operands } from "../operands.ts"
import { showProgress } from "../output.ts"
import type { Values } from "../settings/settings.ts"
import { isReaderGone } from "../stdio.ts"
import { attachTerminal } from "../terminal/remote-terminal.ts"
import { showTerminal } from "../terminal/session.ts"
import { UsageError } from "../usage-error.ts"
import { CollectedOutput } from "./collected-output.ts"
import { finishOutput, type OutputPiece, type OutputSink, PassedThrough, passOutput, sendInput } from "./pass-output.ts"
import { endText } from "./process-text.ts"
import { refuseDirectory } from "./refuse-directory.ts"

type AttachValues = GatewayValues & Values<"passInput" | "readOnly" | "from" | "output">

export async function run(values: AttachValues, { name, processId }: Operands): Promise<number> {
  if (values.passInput && values.readOnly) throw new UsageError("-i and --read-only contradict each other")
  if (values.passInput) refuseDirectory()
  const { gateway, agent } = await openAgent(values, name)
  const progress = showProgress(`asking ${name}…`)
  try {
    const described = await agent.processes.get(processId).finally(progress)
    const exitCode = await (described.kind === "pty" ? showView(agent, processId, values) : follow(agent, processId, values))
    if (described.state === "ended") process.stderr.write(`${endText(described, Date.now())}\n`)
    return exitCode
  } finally {
    gateway.close()
  }
}

function showView(agent: Agent, id: string, { from, readOnly, output }: AttachValues): Promise<number> {
  if (output === "json") throw new UsageError("-o json is for commands: a terminal's output is for eyes")
  // Without a keyboard nobody here types.
  const typed = process.stdin.isTTY && !readOnly
  return showTerminal(agent, {
    open: (size, signal) => attachTerminal(agent, id, { from, readOnly: !typed, size, signal }),
    keys: typed ? "typed" : process.stdin.isTTY ? "watching" : "none",
    bond: "view",
    comeBack: () => `trunkline attach ${agent.name} ${id}`,
  })
}

/** Of a command: to its exit, or until somebody leaves. */
async function follow(agent: Agent, id: string, { from, passInput, output }: AttachValues): Promise<number> {
  const sink = new Followed(output === "json" ? new CollectedOutput() : new PassedThrough(), from)
  const comeBack = () => `trunkline attach ${agent.name} ${id}${sink.offset === undefined ? "" : ` --from ${sink.offset}`}`
  const left = Promise.withResolvers<number>()
  const onSignal = (signal: NodeJS.Signals) => left.resolve(exitCodeOfSignal(signal))
  for (const signal of leavingSignals) process.on(signal, onSignal)
  const leaving = new AbortController()
  // Whoever only looks is nobody for whom its starter's exact output, or its own end, should wait.
  const attached = agent.processes.attach(id, { from, readOnly: !passInput, signal: leaving.signal })
  const finished = attached.then(async (remote) => {
    const input = passInput ? sendInput(remote) : new Promise<never>(() => {})
    return await finishOutput(await Promise.race([passOutput(remote, sink), input]), sink)
  })
  const parted = left.promise.then((exitCode) => {
    process.stderr.write(`left; the process goes on; to come back: ${comeBack()}\n`)
    return exitCode
  })
  try {
    return await Promise.race([finished, parted])
  } catch (error) {
    if (isReaderGone(error)) return exitCodeOfSignal("SIGPIPE")
    // One that was not even accepted says itself what is wrong.
    if (!(error instanceof TunnelError) || error.delivered === "no") throw error
    throw new CommandFailure(`connection lost: ${error.message}; the process may go on, to come back: ${comeBack()}`, exitCodes.link, {
      cause: error,
    })
  } finally {
    finished.catch(() => {})
    leaving.abort()
    for (const signal of leavingSignals) process.off(signal, onSignal)
    process.stdin.destroy()
  }
}

const leavingSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const

/** Passes all on, and knows where to go on from. */
class Followed implements OutputSink {
  readonly #sink: OutputSink
  readonly #from: AttachFrom
  /** Behind the last byte that was shown; undefined before the first. */
  offset: number | undefined

  constructor(sink: OutputSink, from: AttachFrom) {
    this.#sink = sink
    this.#from = from
  }

  get missingBytes(): number {
    return this.#sink.missingBytes
  }

  async write(piece: OutputPiece): Promise<void> {
    if (this.offset === undefined && this.#from === "screen" && piece.offset > 0) {
      process.stderr.write(`trunkline: the first ${piece.offset} bytes of its output are not kept any more\n`)
      if (this.#sink instanceof CollectedOutput) this.#sink.lacksBeginning = true
    }
    await this.#sink.write(piece)
    this.offset = piece.offset + piece.bytes.byteLength
  }

  gap(bytes: number): void {
    this.#sink.gap(bytes)
  }

  finish(...end: Parameters<OutputSink["finish"]>): Promise<void> {
    return this.#sink.finish(...end)
  }
}
