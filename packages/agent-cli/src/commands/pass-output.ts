/** A remote process's output on its way to a sink here, gaps and all, to the exit; and stdin's way there. */
import type { Exit, OutputEvent, Process, ProcessExit } from "@trunkline/client"
import { TunnelError } from "@trunkline/protocol"
import { formatDuration } from "../duration.ts"
import { exitCodeOf, exitCodes } from "../exit-codes.ts"
import { CommandFailure, unknownOutcome } from "../failure.ts"
import { writeAll } from "../stdio.ts"

export type OutputPiece = Extract<OutputEvent, { readonly type: "stdout" | "stderr" }>

/** Where output goes, and what is shown at the end. */
export interface OutputSink {
  write(piece: OutputPiece): Promise<void>
  /** Bytes that nobody has any more. */
  gap(bytes: number): void
  finish(exit: Exit, durationMs: number): Promise<void>
  /** Bytes that did not get here, or were not kept here. */
  readonly missingBytes: number
}

/** Straight on to our own stdout and stderr. */
export class PassedThrough implements OutputSink {
  missingBytes = 0

  write({ type, bytes }: OutputPiece): Promise<void> {
    return writeAll(type === "stdout" ? process.stdout : process.stderr, bytes)
  }

  gap(bytes: number): void {
    this.missingBytes += bytes
    process.stderr.write(`trunkline: ${bytes} bytes of output are missing here: the agent does not keep them any more\n`)
  }

  async finish(): Promise<void> {}
}

/** Reads as fast as the sink takes it. Rejects with TunnelError when reading fails, with what the sink throws when writing does. */
export async function passOutput(remote: Pick<Process, "output">, sink: OutputSink): Promise<ProcessExit> {
  for await (const event of remote.output()) {
    switch (event.type) {
      case "stdout":
      case "stderr":
        await sink.write(event)
        break
      case "truncated":
        sink.gap(event.to - event.from)
        break
      case "repaint":
        // Of a terminal's screen; a command has none.
        break
      case "exit":
        return event
    }
  }
  throw new TunnelError("internal", "the output ended without an exit", { delivered: "yes" })
}

/** The exit code, once all is shown. Throws for an end that nobody knows, and for success with output that is not complete. */
export async function finishOutput({ exit, durationMs }: ProcessExit, sink: OutputSink): Promise<number> {
  await sink.finish(exit, durationMs)
  if (exit.type === "unknown") throw unknownOutcome(new Error(exit.reason))
  if (exit.type === "timeout")
    process.stderr.write(`trunkline: time is up: the command was ended after ${formatDuration(exit.timeoutMs)}\n`)
  const exitCode = exitCodeOf(exit)
  if (exitCode === exitCodes.ok && sink.missingBytes > 0)
    throw new CommandFailure(`the command exited with 0, but ${sink.missingBytes} bytes of its output are missing`, exitCodes.link)
  return exitCode
}

/** Never resolves; the end of the command ends it. Rejects when stdin cannot be read, which must not look like its end. */
export async function sendInput(remote: Process): Promise<never> {
  const chunks: AsyncIterator<Buffer> = process.stdin[Symbol.asyncIterator]()
  while (true) {
    const next = await chunks.next()
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
