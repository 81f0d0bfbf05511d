/** The `trunkline` program: reads the command line, runs one command, and turns how it ended into an exit code. */
import { CommanderError } from "commander"
import { exitCodeOfSignal, exitCodes } from "./exit-codes.ts"
import { leave } from "./leave.ts"
import { readCommandLine } from "./program.ts"
import { expectWriteErrors, isReaderGone } from "./stdio.ts"
import { UsageError } from "./usage-error.ts"
import { trunklineVersion } from "./version.ts"

async function main(argv: readonly string[]): Promise<number> {
  let commandName: string | undefined
  try {
    const invocation = await readCommandLine(argv, trunklineVersion())
    if (invocation === undefined) return exitCodes.ok
    commandName = invocation.spec.name
    const { run } = await invocation.spec.load()
    return await run(invocation.values, invocation.operands)
  } catch (error) {
    // Commander has said what is wrong, or has printed the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
    // A reader that has seen enough (`| head`): end as quietly as other programs do.
    if (isReaderGone(error)) return exitCodeOfSignal("SIGPIPE")
    return await report(error, commandName)
  }
}

async function report(error: unknown, commandName: string | undefined): Promise<number> {
  const [{ failureOf }, { printable }] = await Promise.all([import("./failure.ts"), import("./output.ts")])
  const { message, remedy, exitCode } = failureOf(error)
  // A message may come from a peer.
  process.stderr.write(`trunkline: ${message.split("\n").map(printable).join("\n")}\n`)
  if (remedy !== undefined) process.stderr.write(`${remedy}\n`)
  if (error instanceof UsageError)
    process.stderr.write(`try: trunkline ${commandName === undefined ? "--help" : `${commandName} --help`}\n`)
  const { TRUNKLINE_DEBUG: debug } = process.env
  if (debug !== undefined && debug !== "" && error instanceof Error) {
    const { inspect } = await import("node:util")
    process.stderr.write(`${inspect(error)}\n`)
  }
  return exitCode
}

expectWriteErrors()
leave(await main(process.argv.slice(2)))
