/** Parting from a remote terminal: what becomes of it, that the agent has heard so, and what is said of it. */
import type { Agent } from "@trunkline/client"
import { TunnelError } from "@trunkline/protocol"
import type { RemoteTerminal } from "./remote-terminal.ts"

/**
 * What ties a remote terminal to its client. A `command` ends with it; a `session` ends when its client leaves by `~.`, and
 * stays when that was lost; to one that only has a `view` of it nothing is tied.
 */
export type Bond = "command" | "session" | "view"

/** `leave`: by `~.`. `detach`: by `~d`. `lost`: the client is told to end, or nobody looks at it any more. */
export type Wish = "leave" | "detach" | "lost"

export interface PartingOptions {
  readonly bond: Bond
  readonly wish: Wish
  /** The command line that shows the terminal again. */
  readonly comeBack: string
}

export interface Parted {
  readonly message?: string
  /** The agent may yet keep the terminal, unless it hears that we have left for good. */
  readonly keepLink: boolean
}

/** Milliseconds that the agent gets to hear of it: somebody waits for their shell. */
const hearingMs = 1_000

export async function part(agent: Pick<Agent, "ping">, terminal: RemoteTerminal, options: PartingOptions): Promise<Parted> {
  const { bond, wish, comeBack } = options
  const stays = wish === "detach" || bond === "view" || (bond === "session" && wish === "lost")
  if (stays) {
    terminal.disconnect()
    const heard = await hasHeard(agent)
    if (bond === "command" && !heard)
      return { message: "left; the agent does not answer: it ends the remote terminal when it gives us up", keepLink: true }
    const how = wish === "leave" ? "left; the remote terminal goes on" : "detached"
    return { message: `${how}; to come back: ${comeBack}`, keepLink: !heard }
  }
  if (wish === "lost") return { keepLink: false }
  const hungUp = { message: "left; the remote terminal is hung up", keepLink: false }
  // Its stream's end does it.
  if (bond === "command") return hungUp
  terminal.kill("SIGHUP")
  if (await hasHeard(agent)) return hungUp
  return { message: `left; the agent does not answer, so the remote terminal may go on; to come back: ${comeBack}`, keepLink: false }
}

/** Messages arrive in order: an answer to what was sent last says that all was heard. */
async function hasHeard(agent: Pick<Agent, "ping">): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, hearingMs, false)
  })
  const answered = agent.ping().then(
    () => true,
    () => false,
  )
  const heard = await Promise.race([answered, late])
  clearTimeout(timer)
  return heard
}

/** What to add to the word that the connection is gone for good: nothing where the terminal is certainly gone, too. */
export function afterLoss(error: unknown, bond: Bond, comeBack: string): string {
  const stopped = error instanceof TunnelError && error.code === "agent-stopped"
  return bond === "command" || stopped ? "" : `; the remote terminal may go on, to come back: ${comeBack}`
}
