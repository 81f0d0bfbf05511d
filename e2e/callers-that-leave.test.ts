/** What the gateway's own runtime, raw workerd, makes of callers that leave and of what they offer. */
import { once } from "node:events"
import { existsSync, readFileSync } from "node:fs"
import { type ClientRequest, request } from "node:http"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { WebSocket } from "ws"
import { World } from "./world.ts"

let world: World
beforeAll(async () => {
  world = await World.start()
  await world.agent("box")
})
afterAll(() => world.stop())

/** Asks for a command, on a connection of its own. */
function post(command: string, accept: string): ClientRequest {
  const call = request(new URL("/v1/agents/box/exec", world.url), {
    method: "POST",
    agent: false,
    headers: { authorization: `Bearer ${world.secret}`, accept },
  })
  // Cut on purpose.
  call.on("error", () => {})
  call.end(JSON.stringify({ command }))
  return call
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe("a caller whose connection breaks", () => {
  test.each(["application/json", "application/x-ndjson", "text/event-stream"])("ends its command, silent as it is (%s)", async (accept) => {
    const pidFile = join(world.home, accept.replace("/", "-"))
    const call = post(`echo $$ > ${pidFile}.new; mv ${pidFile}.new ${pidFile}; exec sleep 60`, accept)
    await world.until(() => existsSync(pidFile))
    const pid = Number(readFileSync(pidFile, "utf8"))
    expect(isAlive(pid)).toBe(true)
    call.socket?.resetAndDestroy()
    await world.until(() => !isAlive(pid))
  })

  test("leaves no client behind at the agent", async () => {
    const clients = async () => ((await (await world.fetch("/v1/endpoints/box")).json()) as { clients: number }).clients
    await world.until(async () => (await clients()) === 0)
    const call = post("sleep 60", "application/json")
    await world.until(async () => (await clients()) === 1)
    call.socket?.resetAndDestroy()
    await world.until(async () => (await clients()) === 0)
  })
})

test("compression is declined, for what waits in a socket is counted compressed", async () => {
  const socket = new WebSocket(new URL("/v1/agents/box/link", world.url), "trunkline.v1", {
    headers: { authorization: `Bearer ${world.secret}` },
    perMessageDeflate: true,
  })
  await once(socket, "open")
  expect(socket.extensions).toBe("")
  socket.close()
})
