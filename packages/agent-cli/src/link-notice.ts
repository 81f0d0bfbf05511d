/** What somebody at a terminal is told when the link to an agent waits so long that they begin to wonder, and when it is back. */
import type { Agent } from "@trunkline/client"

/** Milliseconds of a wait that nobody is told of: most cuts are mended sooner, and a line in the middle of a screen is worse. */
const noticeDelayMs = 2_000

export interface LinkNoticeOptions {
  /** What to press to wait no longer. */
  readonly leaveKeys: string
  /** Writes one line, without its end. */
  readonly write: (line: string) => void
  /** The agent has answered again after a wait that was told of. */
  readonly back?: () => void
}

export interface LinkNotice {
  /** Whether a wait was told of that is not over. */
  readonly shown: boolean
  stop(): void
}

/** One line for each long wait, and one for its end. An end for good is the command's to tell. */
export function noticeWaits(agent: Pick<Agent, "name" | "onLinkState">, { leaveKeys, write, back }: LinkNoticeOptions): LinkNotice {
  let timer: NodeJS.Timeout | undefined
  let shown = false
  const stopListening = agent.onLinkState(({ state }) => {
    clearTimeout(timer)
    if (state === "waiting") {
      timer = setTimeout(() => {
        shown = true
        write(`trunkline: connection to ${agent.name} lost, waiting for it to come back (${leaveKeys} leaves)`)
      }, noticeDelayMs)
      return
    }
    if (state === "resumed" && shown) {
      write(`trunkline: connection to ${agent.name} is back`)
      back?.()
    }
    shown = false
  })
  return {
    get shown() {
      return shown
    },
    stop() {
      stopListening()
      clearTimeout(timer)
    },
  }
}
