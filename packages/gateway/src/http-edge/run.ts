/** A command started for an HTTP caller, and what becomes of it when that caller leaves. */
import type { Agent, Process } from "@trunkline/client"
import type { Call } from "../route.ts"
import type { ExecRequest } from "./exec-request.ts"

export interface Run {
  readonly process: Process
  /** Lets go of the agent, and so ends the command unless it goes on without its caller. Once or more. */
  readonly leave: () => void
}

/** Resolves when the command runs. Rejects with TunnelError, and lets go of the agent. */
export async function startRun(agent: Agent, run: ExecRequest, { request, ctx }: Call): Promise<Run> {
  const { command, stdin, options } = run
  // Whoever names a run asks for its outcome again when the answer was lost: it must not have been ended meanwhile.
  const goesOn = run.detach || options.idempotencyKey !== undefined
  const close = () => agent.close()
  let process: Process
  try {
    process = await agent.spawn(command, {
      ...options,
      stdin: stdin === undefined ? "none" : "pipe",
      detach: goesOn,
      ...(goesOn ? {} : { signal: request.signal }),
    })
  } catch (error) {
    close()
    throw error
  }
  if (stdin !== undefined) feed(process, stdin)
  // Input that was not all read by now is lost with the link, and its end too: a command that goes on has to get both.
  const leave = goesOn && stdin !== undefined ? () => ctx.waitUntil(process.wait().then(close, close)) : close
  if (goesOn) {
    if (request.signal.aborted) leave()
    else request.signal.addEventListener("abort", leave, { once: true })
  }
  return { process, leave }
}

/** Nothing waits for it: all of it is in memory already, and a command that answers before it has read everything needs its output read meanwhile. */
function feed(process: Process, stdin: string): void {
  process.write(new TextEncoder().encode(stdin)).catch(() => {})
  process.closeInput()
}
