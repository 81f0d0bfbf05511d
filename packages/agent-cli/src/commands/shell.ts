/** `trunkline shell NAME`: a terminal with the login shell or a program, or one that is there already. */
import type { Agent } from "@trunkline/client"
import { exitCodes } from "../exit-codes.ts"
import { CommandFailure } from "../failure.ts"
import { type GatewayValues, openAgent } from "../gateway-client.ts"
import type { Operands } from "../operands.ts"
import type { Values } from "../settings/settings.ts"
import { terminalVariables } from "../terminal/local-terminal.ts"
import { attachTerminal } from "../terminal/remote-terminal.ts"
import { type SessionOptions, showTerminal } from "../terminal/session.ts"
import { UsageError } from "../usage-error.ts"
import { endText } from "./process-text.ts"

export async function run(values: GatewayValues & Values<"session">, { name, command }: Operands): Promise<number> {
  const { session } = values
  if (!process.stdin.isTTY)
    throw new UsageError(`stdin is not a terminal: to run a command from a script use trunkline exec ${name} -i -- COMMAND`)
  if (session !== undefined && command.length > 0)
    throw new UsageError("--session and a command contradict each other: the session has its program already")
  const { gateway, agent } = await openAgent(values, name)
  const tied = { keys: "typed", bond: "session", comeBack: (id: string) => `trunkline shell ${name} --session ${id}` } as const
  try {
    if (session !== undefined) return await comeBack(agent, session, tied)
    const env = terminalVariables(process.env)
    return await showTerminal(agent, {
      ...tied,
      open: (size, signal) => agent.pty.create({ ...size, ...(command.length === 0 ? {} : { command }), env, signal }),
    })
  } finally {
    gateway.close()
  }
}

/** Of one that has ended it shows what was to be seen last. */
async function comeBack(agent: Agent, id: string, tied: Omit<SessionOptions, "open">): Promise<number> {
  let ended: string | undefined
  const exitCode = await showTerminal(agent, {
    ...tied,
    async open(size, signal) {
      const described = await agent.processes.get(id, { signal })
      if (described.kind !== "pty") {
        const remedy = `\`trunkline attach ${agent.name} ${id}\` shows its output`
        throw new CommandFailure(`process ${id} is a command without a terminal: ${remedy}`, exitCodes.usage)
      }
      if (described.state === "ended") ended = endText(described, Date.now())
      return attachTerminal(agent, id, { from: "screen", readOnly: false, size, signal })
    },
  })
  if (ended !== undefined) process.stderr.write(`${ended}\n`)
  return exitCode
}
