/**
 * What is carried for programs while a leg is cut, a process killed, a path frozen, in the middle of transfers of each kind: users see a
 * pause. What cannot go on is broken off, and never looks whole.
 */
import { setTimeout as pause } from "node:timers/promises"
import { firstDelayMs } from "@trunkline/protocol"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type Carried, connected, forwarded, type Place, reverse } from "./carried.ts"
import { edgeFetched, edgeSocketed, fetched, socketed } from "./carried-web.ts"
import { type Leg, Lines, livedMs, seeded, cuts as ways } from "./lines.ts"
import { World } from "./world.ts"

/** Milliseconds: most of it is waiting for redials, which are random and real. */
const timeout = 120_000
/** Of each line, each way: enough for all that is under way to pass in a moment. */
const bytesPerSecond = 2_000_000
/** Milliseconds: longer than a leg that does not answer is given. */
const frozenMs = 12_000
const serveArgs = ["--allow", "loopback:*", "--allow", "listen:loopback:*"]

/** What the near end of each is told when it cannot go on. */
const reset = { code: "ECONNRESET" }
const restarted = { code: "agent-restarted" }
const kinds = [
  ["tcp through forward", forwarded, reset],
  ["tcp through forward -R", reverse, reset],
  ["tcp through connect", connected, { message: expect.stringMatching(/^255: .* it was restarted/) }],
  ["HTTP through agent.fetch", fetched, restarted],
  ["WebSockets through agent.webSocket", socketed, restarted],
] as const
const keeperRows = [
  ...kinds,
  ["HTTP through the HTTP edge", edgeFetched, reset],
  ["WebSockets through the HTTP edge", edgeSocketed, { message: expect.stringContaining("closed with 1014") }],
] as const

interface Row {
  readonly kinds: string
  readonly name: string
  readonly carries: readonly ((place: Place) => Promise<Carried>)[]
  readonly legs: readonly Leg[]
  readonly frozen: Leg
}
const allLegs = { legs: ["client", "agent", "client", "both"], frozen: "both" } as const
const rows: readonly Row[] = [
  { kinds: "tcp through forward and forward -R", name: "forwards", carries: [forwarded, reverse], ...allLegs },
  { kinds: "tcp through connect", name: "connects", carries: [connected], ...allLegs },
  { kinds: "HTTP through agent.fetch", name: "fetches", carries: [fetched], ...allLegs },
  { kinds: "WebSockets through agent.webSocket", name: "sockets", carries: [socketed], ...allLegs },
  {
    kinds: "HTTP and WebSockets through the HTTP edge",
    name: "edge",
    carries: [edgeFetched, edgeSocketed],
    // The caller's own connection is not ours to resume.
    legs: ["agent", "agent", "agent"],
    frozen: "agent",
  },
]

let world: World
let mortal: World
const undone: (() => unknown)[] = []
beforeAll(async () => {
  ;[world, mortal] = await Promise.all([World.start(), World.start()])
})
afterAll(async () => {
  for (const undo of undone.reverse()) await undo()
  await Promise.all([world?.stop(), mortal?.stop()])
})

async function open(name: string, where = world): Promise<Place> {
  const lines = await Lines.open(where, name, bytesPerSecond, serveArgs)
  undone.push(() => lines.stop())
  return { world: where, lines, later: (undo) => undone.push(undo) }
}

/** Resolves when more has come of every half. */
async function moves(all: readonly Carried[]): Promise<void> {
  await Promise.all(all.flatMap(({ halves }) => halves.map((half) => half.progress())))
}

/** Ends one half after the other, and resolves when all of all has come as it was written. */
async function endWhole({ lines }: Place, all: readonly Carried[]): Promise<void> {
  lines.setRate(undefined)
  const endInTurn = async ({ halves }: Carried): Promise<void> => {
    for (const half of halves) {
      half.end()
      await half.over
    }
  }
  await Promise.all(all.map(endInTurn))
  for (const { ended, commands = [] } of all) {
    await ended?.()
    for (const { stderr } of commands) expect(stderr).not.toMatch(/failed|ended|stopped/)
  }
}

async function cutOften({ lines }: Place, all: readonly Carried[], legs: readonly Leg[]): Promise<void> {
  const random = seeded(lines.name.length)
  for (const leg of legs) {
    await pause(livedMs(random))
    await lines.cut(leg, ways[Math.floor(random() * ways.length)] ?? { how: "rst" }, () => moves(all))
  }
}

/** Kills `serve` and starts it again; what it carries is its keeper's. */
async function killServe({ world, lines }: Place, all: readonly Carried[]): Promise<void> {
  lines.agent.child.kill("SIGKILL")
  await lines.agent.finished
  const env = { TRUNKLINE_GATEWAY: lines.agentLine.url, TRUNKLINE_SECRET: world.secret }
  const next = world.command(["serve", "--name", lines.name, ...serveArgs], { env })
  await next.until(({ stderr }) => stderr.includes("keeper.adopted"))
  await moves(all)
}

async function freeze({ lines }: Place, all: readonly Carried[], leg: Leg): Promise<void> {
  for (const line of lines.lines(leg)) line.freeze()
  await pause(frozenMs)
  for (const line of lines.lines(leg)) line.thaw()
  await moves(all)
}

describe.concurrent("a pause, and every byte, message and end, is all that comes of", () => {
  test.for(rows)("cut legs, a serve that is killed and a frozen path: $kinds", { timeout }, async ({ name, carries, legs, frozen }) => {
    const place = await open(name)
    const all = await Promise.all(carries.map((carry) => carry(place)))
    await moves(all)
    await cutOften(place, all, legs)
    await killServe(place, all)
    await freeze(place, all, frozen)
    await endWhole(place, all)
  })

  test("a gateway that is killed and started again, twice: all of it at once", { timeout }, async () => {
    const place = await open("mortal", mortal)
    // It carries what all the others' lines carry together.
    place.lines.agentLine.setRate(undefined)
    const all = await Promise.all(kinds.map(([, carry]) => carry(place)))
    const { port } = mortal
    for (let kill = 0; kill < 2; kill++) {
      await moves(all)
      await pause(firstDelayMs)
      mortal.gateway?.child.kill("SIGKILL")
      await mortal.gateway?.finished
      await mortal.startGateway(port)
    }
    await moves(all)
    await endWhole(place, all)
  })
})

describe.concurrent("a keeper that is killed", () => {
  test.for(keeperRows)("breaks off what it kept, says so, and none of it looks whole: %s", { timeout }, async ([name, carry, reason]) => {
    const place = await open(`keeper-${keeperRows.findIndex(([each]) => each === name)}`)
    const carried = await carry(place)
    await moves([carried])
    process.kill(await world.keeper(place.lines.name), "SIGKILL")
    for (const { over } of carried.near) await expect(over).rejects.toMatchObject(reason)
    await Promise.all((carried.commands ?? []).map((command) => command.until(({ stderr }) => stderr.includes("it was restarted"))))
  })
})
