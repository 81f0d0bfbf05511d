/** `trunkline gateway`: a gateway on this machine, from its start to a clean stop. */
import { hostname } from "node:os"
import { keepGatewaySecret, readSecretFile } from "../credentials.ts"
import { exitCodeOfSignal, exitCodes } from "../exit-codes.ts"
import { CommandFailure } from "../failure.ts"
import { type GatewayOptions, type RunningGateway, startGateway } from "../gateway-local/gateway-process.ts"
import { formatJson } from "../output.ts"
import type { Values } from "../settings/settings.ts"
import { writeAll } from "../stdio.ts"

type GatewayCommandValues = Values<"port" | "host" | "data" | "takeover" | "httpDomain" | "previousSecretFile" | "output">

export async function run(values: GatewayCommandValues): Promise<number> {
  const options: GatewayOptions = {
    host: values.host,
    port: values.port,
    onOutput: (line) => process.stderr.write(`workerd: ${line}\n`),
    ...(values.data === undefined ? {} : { dataDirectory: values.data }),
    ...(values.takeover === undefined ? {} : { takeover: values.takeover }),
    ...(values.httpDomain === undefined ? {} : { httpDomain: values.httpDomain }),
    ...(values.previousSecretFile === undefined ? {} : { previousSecret: await readSecretFile(values.previousSecretFile) }),
  }
  // Before the start: a signal during it must not leave half a gateway behind.
  const signalled = Promise.withResolvers<"signalled">()
  let signals = 0
  const onSignal = (signal: NodeJS.Signals) => {
    signals += 1
    // workerd ends with us.
    if (signals > 1) process.exit(exitCodeOfSignal(signal))
    signalled.resolve("signalled")
  }
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal).on("SIGHUP", onSignal)

  const gateway = await start(options)
  try {
    await keepCredentials(gateway)
    await announce(gateway, values)
    const ended = await Promise.race([gateway.exited, signalled.promise])
    if (ended === "signalled") return exitCodes.ok
    const how = ended.signal ?? `exit code ${ended.code}`
    throw new CommandFailure(
      `the gateway's workerd ended by itself (${how})${ended.outputTail === "" ? "" : `:\n${ended.outputTail}`}`,
      exitCodes.failure,
    )
  } finally {
    await gateway.stop()
  }
}

async function start(options: GatewayOptions): Promise<RunningGateway> {
  try {
    return await startGateway(options)
  } catch (error) {
    throw new CommandFailure(error instanceof Error ? error.message : String(error), exitCodes.failure, { cause: error })
  }
}

/** So that the other commands of this user find the secret. A gateway without a home directory to write to works all the same. */
async function keepCredentials(gateway: RunningGateway): Promise<void> {
  try {
    await keepGatewaySecret(gateway.url, await readSecretFile(gateway.secretFile, "owner"))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    process.stderr.write(
      `trunkline: the secret could not be kept for the other commands (${reason}); give them --secret-file ${gateway.secretFile}\n`,
    )
  }
}

async function announce(gateway: RunningGateway, { host, output }: GatewayCommandValues): Promise<void> {
  const { url, port, pid, dataDirectory, secretFile, secretCreated } = gateway
  const agentsMax = Number.isFinite(gateway.agentsMax) ? gateway.agentsMax : null
  if (output === "json")
    return await writeAll(process.stdout, formatJson({ url, port, pid, agentsMax, dataDirectory, secretFile, secretCreated }))
  await writeAll(process.stdout, `${url}\n`)
  const elsewhere = url === "http://127.0.0.1:8787" ? "" : ` --gateway ${url}`
  process.stderr.write(
    [
      `secret      ${secretFile}${secretCreated ? " (new)" : ""}`,
      `room for    ${agentsMax === null ? "any number of agents" : `${agentsMax.toLocaleString("en")} agents (limit on open files)`}`,
      "next        on this machine, in another terminal:",
      `              trunkline serve --name here${elsewhere}`,
      `              trunkline exec here${elsewhere} -- uname -a`,
      ...(host === "0.0.0.0" || host === "::"
        ? [`            elsewhere, with a copy of the secret's file: --gateway http://${hostname()}:${port} --secret-file FILE`]
        : []),
      "            Ctrl-C stops the gateway",
      "",
    ].join("\n"),
  )
}
