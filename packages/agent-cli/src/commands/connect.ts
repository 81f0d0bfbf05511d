/** `trunkline connect NAME [HOST:]PORT`: stdin and stdout as a connection that the agent makes, byte for byte, each half with an end of its own. */
import { closeSync, openSync } from "node:fs"
import { devNull } from "node:os"
import type { SocketTarget, TunnelSocket } from "@trunkline/client"
import { streamTargetSchema } from "@trunkline/protocol"
import * as v from "valibot"
import { exitCodeOfSignal, exitCodes } from "../exit-codes.ts"
import { CommandFailure } from "../failure.ts"
import { type GatewayValues, openAgent } from "../gateway-client.ts"
import type { Operands } from "../operands.ts"
import { isReaderGone, writeAll } from "../stdio.ts"
import { UsageError } from "../usage-error.ts"

const leavingSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const

export async function run(values: GatewayValues, { name, more: [written = ""] }: Operands): Promise<number> {
  const target = readTarget(written)
  const { gateway, agent } = await openAgent(values, name)
  const left = Promise.withResolvers<number>()
  const leave = (signal: NodeJS.Signals) => left.resolve(exitCodeOfSignal(signal))
  for (const signal of leavingSignals) process.on(signal, leave)
  try {
    const done = (async () => {
      await passBytes(await agent.connect(target))
      // Our half may have ended last: whatever cuts the link now must not take its last bytes along.
      await agent.ping()
      return exitCodes.ok
    })()
    done.catch(() => {})
    return await Promise.race([done, left.promise])
  } finally {
    for (const signal of leavingSignals) process.off(signal, leave)
    gateway.close()
    process.stdin.destroy()
  }
}

/** A path is a unix socket of the agent's; an IPv6 address is in brackets. Throws UsageError. */
export function readTarget(written: string): SocketTarget {
  const [, bracketed, host = bracketed ?? "localhost", port = ""] = /^(?:\[([^[\]]+)\]:|([^:[\]/]+):)?(\d+)$/.exec(written) ?? []
  if (port === "" && !written.includes("/"))
    throw new UsageError(`"${written}" is no place to connect to: write PORT, HOST:PORT, [IPV6]:PORT, or the path of a unix socket`)
  const result = v.safeParse(streamTargetSchema, port === "" ? { path: written } : { host, port: Number(port) })
  if (result.success) return result.output
  throw new UsageError(
    port === ""
      ? `"${written}" is no path of a unix socket: it begins with / and has at most 107 bytes`
      : `"${written}" is no place to connect to: a port is from 1 to 65535, a host a name or an address`,
  )
}

/** Resolves when both halves have ended. Rejects with TunnelError when the connection is broken off, and with what stdin or stdout cannot do. */
async function passBytes(socket: TunnelSocket): Promise<void> {
  const sending = sendInput(socket.writable.getWriter())
  const receiving = receiveOutput(socket.readable)
  // The first failure is the cause of the other's.
  await Promise.all([sending, receiving])
  await socket.closed
}

async function sendInput(writer: WritableStreamDefaultWriter<Uint8Array>): Promise<void> {
  // Whose failure it is, is for the other half to say.
  writer.closed.catch(() => {})
  const chunks: AsyncIterator<Buffer> = process.stdin[Symbol.asyncIterator]()
  while (true) {
    const { done, value } = await chunks.next().catch((error: unknown) => {
      throw new CommandFailure(`stdin cannot be read: ${error instanceof Error ? error.message : String(error)}`, exitCodes.link, {
        cause: error,
      })
    })
    // Of a connection that has failed closing says only that.
    if (done === true) return await writer.close().catch(() => writer.closed)
    await writer.write(value)
  }
}

async function receiveOutput(readable: ReadableStream<Uint8Array>): Promise<void> {
  for await (const bytes of readable) {
    await writeAll(process.stdout, bytes).catch((error: unknown) => {
      if (isReaderGone(error)) throw error
      const reason = error instanceof Error ? error.message : String(error)
      throw new CommandFailure(`the output cannot be written here: ${reason}`, exitCodes.link, { cause: error })
    })
  }
  endOutput()
}

/** Who reads our stdout has to see its end while we still read stdin, and Node never closes it. Its number is kept from being given to something else. */
function endOutput(): void {
  closeSync(1)
  openSync(devNull, "w")
}
