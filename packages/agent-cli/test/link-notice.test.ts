/** Which waits people are told of, and how often. */
import type { LinkState, LinkStateListener } from "@trunkline/client"
import { TunnelError } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { noticeWaits } from "../src/link-notice.ts"

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function watched() {
  let listener: LinkStateListener | undefined
  const lines: string[] = []
  let backs = 0
  const agent = {
    name: "box",
    onLinkState(listen: LinkStateListener) {
      listener = listen
      return () => {
        listener = undefined
      }
    },
  }
  const notice = noticeWaits(agent, { leaveKeys: "Ctrl-C", write: (line) => lines.push(line), back: () => (backs += 1) })
  const say = (state: Exclude<LinkState["state"], "ended">) => listener?.({ agent: "box", state })
  const end = () => listener?.({ agent: "box", state: "ended", error: new TunnelError("link-lost", "gone") })
  return { notice, lines, say, end, backs: () => backs, isWatching: () => listener !== undefined }
}

const lost = "trunkline: connection to box lost, waiting for it to come back (Ctrl-C leaves)"
const back = "trunkline: connection to box is back"

describe("a wait", () => {
  test("of less than 2 seconds is told of neither at its start nor at its end", () => {
    const { lines, say, backs } = watched()
    say("connected")
    say("waiting")
    vi.advanceTimersByTime(1_999)
    say("resumed")
    vi.advanceTimersByTime(10_000)
    expect(lines).toEqual([])
    expect(backs()).toBe(0)
  })

  test("of 2 seconds and more is told of once, and its end once", () => {
    const { notice, lines, say, backs } = watched()
    say("connected")
    for (let wait = 1; wait <= 2; wait++) {
      say("waiting")
      vi.advanceTimersByTime(2_000)
      expect(lines).toHaveLength(2 * wait - 1)
      expect(notice.shown).toBe(true)
      vi.advanceTimersByTime(60_000)
      say("resumed")
      expect(notice.shown).toBe(false)
      expect(backs()).toBe(wait)
    }
    expect(lines).toEqual([lost, back, lost, back])
  })

  test("that ends for good is not called back", () => {
    const { notice, lines, say, end, backs } = watched()
    say("connected")
    say("waiting")
    vi.advanceTimersByTime(2_000)
    end()
    say("connected")
    expect(lines).toEqual([lost])
    expect(notice.shown).toBe(false)
    expect(backs()).toBe(0)
  })

  test("is told of no more once nobody asks", () => {
    const { notice, lines, say, isWatching } = watched()
    say("connected")
    say("waiting")
    notice.stop()
    vi.advanceTimersByTime(60_000)
    expect(lines).toEqual([])
    expect(isWatching()).toBe(false)
  })
})
