/** `trunkline http NAME PORT`: the URLs of an agent's HTTP service, for programs and for browsers. */
import type { Agent, HttpAccess } from "@trunkline/client"
import { type ErrorCode, portSchema, TunnelError } from "@trunkline/protocol"
import * as v from "valibot"
import { findCredential } from "../credentials.ts"
import { exitCodes } from "../exit-codes.ts"
import { type GatewayValues, openAgent } from "../gateway-client.ts"
import type { Operands } from "../operands.ts"
import { formatJson, printable, showProgress } from "../output.ts"
import type { Values } from "../settings/settings.ts"
import { shellWord } from "../ssh/shell-word.ts"
import { writeAll } from "../stdio.ts"
import { UsageError } from "../usage-error.ts"

/** Milliseconds: a service that answers later than this may still be all right. */
const answerWaitMs = 3_000

/** The service's own troubles, which may be over when the URL is used. */
const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "service-refused",
  "service-unreachable",
  "service-timeout",
  "service-failed",
  "denied",
  "agent-away",
  "agent-offline",
])

export async function run(values: GatewayValues & Values<"output">, { name, more: [written = ""] }: Operands): Promise<number> {
  const port = readPort(written)
  const { gateway, agent } = await openAgent(values, name)
  const progress = showProgress(`asking ${name}…`)
  try {
    const trouble = await findTrouble(agent, port)
    const access = await gateway.httpAccess(name, port)
    progress()
    await writeAll(
      process.stdout,
      values.output === "json" ? formatJson({ name, port, ...access }) : describe(access, await secretOf(values)),
    )
    if (trouble !== undefined) process.stderr.write(`trunkline: warning: ${printable(trouble)}\n`)
    return exitCodes.ok
  } finally {
    progress()
    gateway.close()
  }
}

function readPort(written: string): number {
  const result = v.safeParse(portSchema, /^\d{1,5}$/.test(written) ? Number(written) : Number.NaN)
  if (!result.success) throw new UsageError(`"${written}" is not a port: give that of the HTTP service at the agent, from 1 to 65535`)
  return result.output
}

/** Why the service would not answer now. Any answer of its own will do. */
async function findTrouble(agent: Agent, port: number): Promise<string | undefined> {
  const late = AbortSignal.timeout(answerWaitMs)
  try {
    const answer = await agent.request({ target: { service: port }, method: "HEAD", path: "/", headers: [], signal: late })
    await answer.body.cancel()
    return undefined
  } catch (error) {
    if (late.aborted) return `port ${port} of ${agent.name} has not answered within ${answerWaitMs / 1_000} s`
    if (error instanceof TunnelError && passing.has(error.code)) return error.message
    throw error
  }
}

interface Secret {
  /** Where it is, for people. */
  readonly place: string
  /** How a shell gets at it, without its standing in a list of processes. */
  readonly expansion: string
}

async function secretOf({ gateway, secretFile, tokenFile }: GatewayValues): Promise<Secret> {
  const { kind, source } = await findCredential({ gateway: gateway.href, secretFile, tokenFile })
  if (source === "TRUNKLINE_SECRET" || source === "TRUNKLINE_TOKEN") return { place: `the ${kind} of ${source}`, expansion: `"$${source}"` }
  const file = secretFile ?? tokenFile
  if (file !== undefined) return { place: `the ${kind} in ${file}`, expansion: `"$(cat ${shellWord(file)})"` }
  return { place: `the ${kind} in a file of yours, here gateway.secret`, expansion: '"$(cat gateway.secret)"' }
}

function describe({ url, browserUrl, enterUrl }: HttpAccess, { place, expansion }: Secret): string {
  const lines = [
    url,
    "",
    `For programs, with ${place}:`,
    String.raw`  printf 'header = "Authorization: Bearer %s"\n' ${expansion} | curl -K - ${shellWord(url)}`,
    "",
    ...(browserUrl === null || enterUrl === null
      ? ["The gateway has no domain for services, so a browser has no way in of its own."]
      : [`For browsers: ${browserUrl}`, "Sign in once, within a minute:", `  ${enterUrl}`]),
  ]
  return `${lines.join("\n")}\n`
}
