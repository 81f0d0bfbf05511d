/** Finding a keeper or making one: real processes on real sockets, in a state directory of their own. */
import { once } from "node:events"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { endpointName, type Logger } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { Keeper } from "../../src/keeper/keeper.ts"
import type { KeeperClient } from "../../src/keeper/keeper-client.ts"
import { keeperPath } from "../../src/keeper/keeper-path.ts"
import { openKeeper } from "../../src/keeper/open-keeper.ts"
import { trunklineVersion } from "../../src/version.ts"

const box = endpointName("box")
if (box === undefined) throw new Error("not a name")
const name = box
const gateway = new URL("http://127.0.0.1:8787")

let state: string
let events: { readonly event: string; readonly fields: Record<string, unknown> }[]
let clients: KeeperClient[]
let server: Server | undefined

beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), "trunkline-state-"))
  events = []
  clients = []
})
afterEach(async () => {
  for (const client of clients) client.close()
  server?.close()
  server = undefined
  await until(() => pids().every((pid) => !runs(pid)))
  rmSync(state, { recursive: true, force: true })
})

const note = (event: string, fields: Record<string, unknown> = {}): void => void events.push({ event, fields })
const logger: Logger = { debug: note, info: note, warn: note, error: note }
const names = () => events.map(({ event }) => event)
const fieldsOf = (event: string) => events.find((logged) => logged.event === event)?.fields

async function open(version = trunklineVersion(), environment: NodeJS.ProcessEnv = {}): Promise<KeeperClient> {
  const client = await openKeeper({
    gateway,
    name,
    logger,
    version,
    environment: { PATH: process.env.PATH, HOME: state, XDG_STATE_HOME: state, ...environment },
  })
  clients.push(client)
  return client
}

const socketPath = async () => (await keeperPath(gateway, name, { XDG_STATE_HOME: state })).socket

/** A keeper of another version at the socket, in this process. */
async function other(version: string): Promise<{ ended: boolean }> {
  const seen = { ended: false }
  const listening = createServer((stream) => keeper.accept(stream))
  const keeper = new Keeper({
    version,
    adoptEnvironment() {},
    idle() {
      seen.ended = true
      listening.close()
    },
  })
  server = listening.listen(await socketPath())
  await once(listening, "listening")
  return seen
}

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10))
}

const pids = (): number[] => {
  const files = readdirSync(state, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".pid"))
  return files.flatMap((file) => {
    try {
      return [Number(readFileSync(join(state, file), "utf8"))]
    } catch {
      // A keeper that has ended since took it along.
      return []
    }
  })
}

const runs = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test("without a keeper one is started, in a session of its own, and the next opening finds it", async () => {
  const first = await open()
  const [pid = 0] = pids()
  expect(names()).toEqual(["keeper.started"])
  expect(runs(pid)).toBe(true)
  const session = (of: number | string) => readFileSync(`/proc/${of}/stat`, "latin1").split(") ")[1]?.split(" ")[3]
  expect(session(pid)).toBe(String(pid))
  expect(first.outlivesUs).toBe(true)
  first.lost.addEventListener("abort", () => first.close(), { once: true })
  const second = await open()
  expect(first.loss).toEqual({ type: "replaced" })
  expect(second.instance).toBe(first.instance)
  expect(fieldsOf("keeper.adopted")).toEqual({ pid, links: 0, processes: 0 })
})

test("a socket that was left over is replaced", async () => {
  const first = await open()
  const [pid = 0] = pids()
  process.kill(pid, "SIGKILL")
  await until(() => first.lost.aborted)
  expect(first.loss).toMatchObject({ type: "gone" })
  expect(statSync(await socketPath()).isSocket()).toBe(true)
  const second = await open()
  expect(second.instance).not.toBe(first.instance)
  expect(names()).toEqual(["keeper.started", "keeper.started"])
})

test("a keeper whose socket was removed makes it anew, and is found there with all it keeps", async () => {
  const first = await open()
  const socket = await socketPath()
  rmSync(socket)
  await until(() => existsSync(socket))
  const second = await open()
  expect(second.instance).toBe(first.instance)
  expect(statSync(socket).mode & 0o777).toBe(0o600)
})

test("several openings at once come to one keeper", async () => {
  const opened = await Promise.all(
    [1, 2, 3, 4].map(async () => {
      const client = await open()
      client.lost.addEventListener("abort", () => client.close(), { once: true })
      if (client.lost.aborted) client.close()
      return client
    }),
  )
  expect(new Set(opened.map(({ instance }) => instance)).size).toBe(1)
  expect(pids()).toHaveLength(1)
})

describe("a keeper of another version", () => {
  test("that keeps nothing is asked to end, and one of ours takes its place", async () => {
    const seen = await other("0.0.1")
    await open()
    expect(seen.ended).toBe(true)
    expect(names()).toEqual(["keeper.started"])
  })

  test("of the protocol, at a socket of its own, is left alone and spoken of", async () => {
    const elsewhere = (await socketPath()).replace(/-v\d+\.sock$/, "-v999.sock")
    server = createServer().listen(elsewhere)
    await once(server, "listening")
    await open()
    expect(names()).toEqual(["keeper.left-behind", "keeper.started"])
    expect(fieldsOf("keeper.left-behind")).toMatchObject({ socket: elsewhere })
  })
})

test("where none can be, there is one inside this process, and the log says why", async () => {
  const file = join(state, "file")
  writeFileSync(file, "")
  const client = await open(undefined, { XDG_STATE_HOME: file })
  expect(client.outlivesUs).toBe(false)
  expect(client.instance).not.toBe("")
  expect(names()).toEqual(["keeper.unavailable"])
  expect(String(fieldsOf("keeper.unavailable")?.reason)).toContain(file)
})

test("where its program does not start, there is one inside this process too", async () => {
  const missing = new URL(`file://${state}/missing.ts`)
  const client = await openKeeper({ gateway, name, logger, version: "1", environment: { XDG_STATE_HOME: state }, entry: missing })
  clients.push(client)
  expect(client.outlivesUs).toBe(false)
  expect(names()).toEqual(["keeper.unavailable"])
})

test("a keeper's files are for its owner alone", async () => {
  await open()
  const socket = await socketPath()
  expect(statSync(socket).mode & 0o777).toBe(0o600)
  expect(statSync(dirname(socket)).mode & 0o777).toBe(0o700)
})
