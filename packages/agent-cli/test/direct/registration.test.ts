/** The agent's entry at the gateway, against one that answers what the test wants. */
import { once } from "node:events"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { text } from "node:stream/consumers"
import { endpointName, silentLogger, type TunnelError } from "@trunkline/protocol"
import { afterEach, beforeEach, expect, test } from "vitest"
import { Registration } from "../../src/agent/registration.ts"

interface Asked {
  readonly method: string | undefined
  readonly path: string | undefined
  readonly authorization: string | undefined
  readonly body: string
}

let answer: (response: ServerResponse, asked: readonly Asked[]) => void
const asked: Asked[] = []
let waiting: (() => void)[] = []
const server = createServer((request: IncomingMessage, response: ServerResponse) => {
  void text(request).then((body) => {
    const { method, url: path, headers } = request
    asked.push({ method, path, authorization: headers.authorization, body })
    answer(response, asked)
    for (const wake of waiting.splice(0)) wake()
  })
})
const untilAsked = async (times: number): Promise<void> => {
  while (asked.length < times) await new Promise<void>((resolve) => waiting.push(resolve))
}

let over: AbortController
let gateway: URL
beforeEach(async () => {
  asked.length = 0
  waiting = []
  over = new AbortController()
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  gateway = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/below`)
})
afterEach(async () => {
  over.abort()
  server.closeAllConnections()
  server.close()
  await once(server, "close")
})

let registrations = 0
function registration(): Registration {
  const name = endpointName("box")
  if (name === undefined) throw new Error("not a name")
  registrations = 0
  const url = new URL("https://box.example/")
  const onRegistered = () => {
    registrations += 1
  }
  return new Registration({
    name,
    gateway,
    secret: "secret",
    url,
    labels: { a: "b" },
    version: "1.2.3",
    logger: silentLogger,
    onRegistered,
  })
}

const taken = (periodMs: unknown) => (response: ServerResponse) => response.writeHead(201).end(JSON.stringify({ periodMs }))
const refused = (status: number, code: string) => (response: ServerResponse) =>
  response.writeHead(status).end(JSON.stringify({ error: { code, message: `because ${code}`, retryable: false } }))

test("[DR6] it says where the agent is, below the gateway's path, and again when the gateway's period is over", async () => {
  answer = taken(1_000)
  const kept = registration().keep(over.signal)
  await untilAsked(2)
  over.abort()
  expect(await kept).toBeUndefined()
  expect(asked[0]).toEqual({
    method: "PUT",
    path: "/below/v1/heartbeats/box",
    authorization: "Bearer secret",
    body: JSON.stringify({ url: "https://box.example/", labels: { a: "b" }, version: "1.2.3" }),
  })
  expect(asked[1]).toEqual(asked[0])
  expect(registrations).toBeGreaterThanOrEqual(1)
})

test.each([
  ["an overrun gateway", (response: ServerResponse) => response.writeHead(503).end("later")],
  ["a gateway that fails", refused(500, "internal")],
  ["a gateway that hangs up", (response: ServerResponse) => response.destroy()],
])("%s is asked again soon", async (_, first) => {
  answer = (response, so) => (so.length === 1 ? first(response) : taken(300_000)(response))
  const kept = registration().keep(over.signal)
  await untilAsked(2)
  over.abort()
  expect(await kept).toBeUndefined()
})

test.each<[string, (response: ServerResponse) => void, TunnelError["code"]]>([
  ["that does not take the credential", refused(401, "unauthorised"), "unauthorised"],
  ["that does not take the labels", refused(400, "bad-request"), "bad-request"],
  ["that is none", (response) => response.writeHead(404).end("<h1>not here</h1>"), "protocol-error"],
  ["that leads elsewhere", (response) => response.writeHead(307, { location: "http://127.0.0.1:9/" }).end(), "protocol-error"],
  ["that answers something else", (response) => response.writeHead(200).end("welcome!"), "protocol-error"],
])("a gateway %s is asked once", async (_, once, code) => {
  answer = once
  expect(await registration().keep(over.signal)).toMatchObject({ code })
  expect(asked).toHaveLength(1)
})

test("what answers in the place of a gateway that took it is asked again", async () => {
  answer = (response, so) => (so.length === 1 ? taken(1_000)(response) : response.writeHead(404).end("starting"))
  const kept = registration().keep(over.signal)
  await untilAsked(3)
  over.abort()
  expect(await kept).toBeUndefined()
})

test.each([-1, 999, 2 ** 40, 1e300])("a period that makes no sense, %d, does not make it hammer", async (periodMs) => {
  answer = taken(periodMs)
  const kept = registration().keep(over.signal)
  await untilAsked(1)
  // Time for many more, if there were more.
  for (let call = 0; call < 20; call++) await fetch(gateway)
  over.abort()
  await kept
  expect(asked.filter(({ method }) => method === "PUT")).toHaveLength(1)
})

test("it is taken back if it was there, and a gateway that is gone does not matter", async () => {
  const never = registration()
  await never.withdraw()
  expect(asked).toEqual([])
  answer = (response, so) => (so.length === 1 ? taken(300_000)(response) : response.writeHead(204).end())
  const there = registration()
  const kept = there.keep(over.signal)
  await untilAsked(1)
  while (registrations === 0) await new Promise((resolve) => setImmediate(resolve))
  over.abort()
  await kept
  await there.withdraw()
  expect(asked[1]).toMatchObject({ method: "DELETE", path: "/below/v1/heartbeats/box", authorization: "Bearer secret" })
  answer = (response) => response.destroy()
  await there.withdraw()
})

test("an answer without end is read no further than an answer can be", async () => {
  const brokenOff = Promise.withResolvers<void>()
  let sentBytes = 0
  answer = (response) => {
    response.on("close", brokenOff.resolve).writeHead(200)
    const more = () => {
      sentBytes += 65_536
      if (response.write(Buffer.alloc(65_536, "x"))) setImmediate(more)
      else response.once("drain", more)
    }
    more()
  }
  expect(await registration().keep(over.signal)).toMatchObject({ code: "protocol-error" })
  await brokenOff.promise
  // What waited on the way is all there was.
  expect(sentBytes).toBeLessThan(16_777_216)
})
