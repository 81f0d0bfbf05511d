import { TunnelError } from "@trunkline/protocol"
import { describe, expect, onTestFinished, test, vi } from "vitest"
import { afterLoss, type Bond, type Parted, part, type Wish } from "../../src/terminal/parting.ts"
import type { RemoteTerminal } from "../../src/terminal/remote-terminal.ts"

const comeBack = "trunkline shell box --session p1"

/** What was done to the remote terminal, and what came of it. */
async function parting(bond: Bond, wish: Wish, ping: () => Promise<number>): Promise<Parted & { readonly done: readonly string[] }> {
  const done: string[] = []
  const terminal: RemoteTerminal = {
    id: "p1",
    output: (async function* () {})(),
    write: async () => {},
    resize() {},
    kill: (signal) => void done.push(signal),
    disconnect: () => void done.push("disconnect"),
    wait: () => new Promise(() => {}),
  }
  const agent = {
    ping() {
      done.push("ping")
      return ping()
    },
  }
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const parted = part(agent, terminal, { bond, wish, comeBack })
  await vi.runAllTimersAsync()
  return { ...(await parted), done }
}

const answers = async () => 1
const isLost = () => Promise.reject(new TunnelError("link-lost", "gone"))
const isSilent = () => new Promise<number>(() => {})

describe("with an agent that answers", () => {
  test.each([
    // A program of exec -t ends with its client, unless that detaches; its stream's end is what ends it.
    ["command", "leave", [], "left; the remote terminal is hung up"],
    ["command", "lost", [], undefined],
    ["command", "detach", ["disconnect", "ping"], `detached; to come back: ${comeBack}`],
    ["session", "leave", ["SIGHUP", "ping"], "left; the remote terminal is hung up"],
    ["session", "lost", ["disconnect", "ping"], `detached; to come back: ${comeBack}`],
    ["session", "detach", ["disconnect", "ping"], `detached; to come back: ${comeBack}`],
    ["view", "leave", ["disconnect", "ping"], `left; the remote terminal goes on; to come back: ${comeBack}`],
    ["view", "lost", ["disconnect", "ping"], `detached; to come back: ${comeBack}`],
    ["view", "detach", ["disconnect", "ping"], `detached; to come back: ${comeBack}`],
  ] as const)("a %s on %s: %j", async (bond, wish, done, message) => {
    expect(await parting(bond, wish, answers)).toEqual({ keepLink: false, done, ...(message === undefined ? {} : { message }) })
  })
})

describe.each([
  ["has lost us", isLost],
  ["is silent", isSilent],
])("with an agent that %s", (_how, ping) => {
  test("a session that is to be hung up may go on, which is said", async () => {
    const { message, keepLink } = await parting("session", "leave", ping)
    expect(message).toMatch(/does not answer.*may go on.*trunkline shell box --session p1$/)
    expect(keepLink).toBe(false)
  })

  test("a session that is to stay is not given up by closing the link", async () => {
    expect(await parting("session", "detach", ping)).toMatchObject({ message: `detached; to come back: ${comeBack}`, keepLink: true })
    expect(await parting("session", "lost", ping)).toMatchObject({ keepLink: true })
  })

  test("a command that is to stay ends, which is said", async () => {
    const { message, keepLink } = await parting("command", "detach", ping)
    expect(message).toMatch(/ends the remote terminal/)
    expect(keepLink).toBe(true)
  })
})

test("after a loss only what may still be there is offered", () => {
  const lost = new TunnelError("link-lost", "gone")
  expect(afterLoss(lost, "session", comeBack)).toContain(comeBack)
  expect(afterLoss(lost, "view", comeBack)).toContain(comeBack)
  expect(afterLoss(lost, "command", comeBack)).toBe("")
  expect(afterLoss(new TunnelError("agent-stopped", "stopped"), "session", comeBack)).toBe("")
})
