/** Clients and services that mean harm, or are broken: what comes of it for them, and that nothing comes of it for others. */

import { once } from "node:events"
import { createServer } from "node:http"
import { setTimeout as pause } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { answerHead, requestHead, sized, slowly, upload } from "./differential/case.ts"
import { type RawAnswer, RawClient } from "./differential/raw-client.ts"
import { chunk, type Head, type Header, valuesOf } from "./differential/raw-http.ts"
import { type Heard, RawService, type Script } from "./differential/raw-service.ts"
import { smuggledPath, smuggling } from "./differential/smuggling-cases.ts"
import { requestOn, type Way, type Ways, waysTo } from "./differential/ways.ts"
import { freePort } from "./free-port.ts"
import { World } from "./world.ts"

const name = "target"

let world: World
let service: RawService
let ways: Ways
let deniedPort: number

beforeAll(async () => {
  world = await World.start()
  deniedPort = await freePort()
  await world.agent(name, ["--first-byte-timeout", "1s", "--idle-timeout", "1s", "--deny", String(deniedPort)])
  service = await RawService.start()
  ways = waysTo(service, { name, port: world.port, secret: world.secret })
  service.on("good", sized({ body: "good" }))
})
afterAll(async () => {
  service?.stop()
  await world?.stop()
})

let count = 0
/** A script of its own. */
function on(script: Script): { readonly id: string; readonly heard: Heard } {
  const id = `hostile-${count++}`
  return { id, heard: service.on(id, script) }
}

/** The answer to a GET, or to these bytes behind its head. */
async function ask(way: Way, id: string, headers: readonly Header[] = [], body = "", method = "GET"): Promise<RawAnswer | string> {
  const client = await RawClient.connect(way.port)
  try {
    await client.write([requestOn(way, ways, { method, path: "/first", version: "1.1", headers }, id), body])
    return await client.answer(method)
  } finally {
    client.close()
  }
}

const codeOf = (answer: RawAnswer | string): string | undefined =>
  typeof answer === "string" ? answer : valuesOf(answer.headers, "trunkline-error")[0]

const statusOf = (answer: RawAnswer | string): number | string => (typeof answer === "string" ? answer : answer.status)

/** The gateway and the agent serve others as before, over the connections that are there. */
async function expectWell(): Promise<void> {
  for (const way of [ways.path, ways.host]) expect(await ask(way, "good")).toMatchObject({ status: 200, body: { bytes: 4, end: "whole" } })
}

/** No reader can understand its end in two ways. */
function expectOneEnd({ line, headers }: Head): void {
  expect(line).toMatch(/^[A-Z]+ [!-~]+ HTTP\/1\.1$/)
  const [sizes, codings] = [valuesOf(headers, "content-length"), valuesOf(headers, "transfer-encoding")]
  expect(sizes.length + codings.length).toBeLessThanOrEqual(1)
  for (const size of sizes) expect(size).toMatch(/^\d{1,15}$/)
  for (const coding of codings) expect(coding).toBe("chunked")
  expect(valuesOf(headers, "host")).toHaveLength(1)
  for (const [name, value] of headers) expect(`${name}: ${value}`).toMatch(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*$/)
}

describe.each(["path", "host"] as const)("what two readers could understand in two ways, by %s", (form) => {
  test.each(smuggling.map((each) => [each.title, each] as const))("%s", async (_, { bytes, passes }) => {
    const way = ways[form]
    const { id, heard } = on(sized({ body: "first" }))
    const own = `X-Case: ${id}\r\nTrunkline-Authorization: Bearer ${world.secret}\r\n`
    const client = await RawClient.connect(way.port)
    const replaced = [
      ["LF-OWN", own.replaceAll("\r", "")],
      ["OWN", own],
      ["HOST", way.host],
      ["TARGET", `${way.prefix}/first`],
    ].reduce((text, [mark = "", value = ""]) => text.replaceAll(mark, value), bytes)
    await client.write([replaced])
    client.socket.end()
    const text = await client.reader.text()
    client.close()
    for (const request of heard.requests) expectOneEnd(request)
    expect(heard.requests.length).toBeLessThanOrEqual(1)
    if (passes === true) expect([heard.requests.length, text.slice(0, 15)]).toEqual([1, "HTTP/1.1 200 OK"])
    expect(service.lines.filter((line) => line.includes(` ${smuggledPath}`))).toEqual([])
    await expectWell()
  })
})

test("a service that is asked for what was smuggled would be seen", async () => {
  const other = await RawService.start()
  onTestFinished(() => other.stop())
  other.on("first", sized())
  const client = await RawClient.connect(other.port)
  await client.write([`GET /first HTTP/1.1\r\nX-Case: first\r\n\r\nGET ${smuggledPath} HTTP/1.1\r\nHost: h\r\n\r\n`])
  client.socket.end()
  await client.reader.text()
  client.close()
  expect(other.lines).toContain(`GET ${smuggledPath} HTTP/1.1`)
})

describe("a head of a request", () => {
  test.each<readonly [string, readonly Header[]]>([
    ["one header of 200 KiB", [["X", "x".repeat(204_800)]]],
    ["one header of 1 MiB", [["X", "x".repeat(1_048_576)]]],
    ["quotes that take twice the room", [["X", '"'.repeat(130_800)]]],
    ["20,000 headers", Array.from({ length: 20_000 }, (_, index): Header => [`X-${index}`, "a"])],
  ])("that is too large is refused, and the service hears nothing: %s", async (_, headers) => {
    for (const way of [ways.path, ways.host]) {
      const { id, heard } = on(sized())
      const answer = await ask(way, id, headers)
      // Whoever still writes may find the connection reset before it has looked.
      expect(["reset", 431]).toContain(statusOf(answer))
      expect(heard.begun()).toBe(false)
    }
    await expectWell()
  })

  test("of 10,000 short headers passes whole", async () => {
    for (const way of [ways.path, ways.host]) {
      const { id, heard } = on(sized())
      expect(
        await ask(
          way,
          id,
          Array.from({ length: 10_000 }, (_, index): Header => [`X-${index}`, "a"]),
        ),
      ).toMatchObject({ status: 200 })
      expect((await heard.first).headers.filter(([name]) => /^x-\d+$/i.test(name))).toHaveLength(10_000)
    }
  })

  test("without an end is ended by the gateway", async () => {
    const client = await RawClient.connect(ways.host.port)
    await client.write([`GET / HTTP/1.1\r\nHost: ${ways.host.host}\r\n`])
    const line = `X-More: ${"x".repeat(8_000)}\r\n`
    const answer = client.answer("GET")
    // Until nobody takes more.
    await client.write(
      (function* () {
        while (client.socket.writable) yield line
      })(),
    )
    expect(["reset", "closed", 431]).toContain(statusOf(await answer))
    client.close()
    await expectWell()
  })

  test("that never comes keeps nobody else out: 200 clients that send half of one", async () => {
    const clients = await Promise.all(Array.from({ length: 200 }, () => RawClient.connect(world.port)))
    for (const client of clients) await client.write([`GET / HTTP/1.1\r\nHost: ${ways.host.host}\r\nX-Half`])
    await expectWell()
    for (const client of clients) client.close()
  })
})

/** Writes what is given until the other side closes. */
const without =
  (end: string, start: string): Script =>
  async (exchange) => {
    const left = exchange.left()
    const gone = left.then(() => true)
    await exchange.write([start])
    while (!(await Promise.race([gone, exchange.write([end]).then(() => false)])));
    await left
  }

describe("a service", () => {
  test.each<readonly [string, Script]>([
    ["headers without an end", without(`X-More: ${"x".repeat(8_000)}\r\n`, "HTTP/1.1 200 OK\r\n")],
    ["one header without an end", without("x".repeat(8_000), "HTTP/1.1 200 OK\r\nX: ")],
    ["a reason without an end", without("x".repeat(8_000), "HTTP/1.1 200 ")],
    ["interim answers with headers without an end", without(`X-More: ${"x".repeat(8_000)}\r\n`, "HTTP/1.1 103 Early Hints\r\n")],
    ["a header of 1 MiB", sized({ headers: [["X", "x".repeat(1_048_576)]] })],
    ["nonsense", ({ socket }) => void socket.write("nonsense\r\n\r\n")],
    ["another protocol", ({ socket }) => void socket.write("SSH-2.0-OpenSSH_9.6\r\n")],
    ["nonsense without an end", without("\xff".repeat(8_000), "")],
    [
      "a length and chunks",
      ({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ],
    ["two lengths", ({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")],
    ["a NUL in a header", ({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n")],
    [
      "a bare carriage return in a header",
      ({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"),
    ],
    [
      "a switch nobody asked for",
      ({ socket }) => void socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    ],
  ])("that answers with %s is a 502 that says so", async (_, script) => {
    for (const way of [ways.path, ways.host]) {
      const answer = await ask(way, on(script).id)
      expect([statusOf(answer), codeOf(answer)]).toEqual([502, "service-failed"])
    }
    await expectWell()
  })

  test("that answers twice answers once", async () => {
    const { id } = on(({ socket }) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    })
    for (const way of [ways.path, ways.host, ways.path, ways.host]) {
      expect(await ask(way, id)).toMatchObject({ status: 200, body: { bytes: 2 } })
      await expectWell()
    }
  })

  test("that speaks unasked on a kept connection answers nobody", async () => {
    const { id, heard } = on(async (exchange) => {
      await exchange.write(["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
      await pause(20)
      await exchange.write(["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
      await exchange.left()
    })
    expect(await ask(ways.path, id)).toMatchObject({ status: 200 })
    await heard.first
    await expectWell()
  })

  test("with 10,000 headers passes them on", async () => {
    const { id } = on(sized({ headers: Array.from({ length: 9_000 }, (_, index): Header => [`X-${index}`, "a"]) }))
    const answer = await ask(ways.host, id)
    if (typeof answer === "string") throw new Error(answer)
    expect(answer.headers.filter(([name]) => /^x-\d+$/i.test(name))).toHaveLength(9_000)
  })

  test.each<readonly [string, Script, number | string]>([
    ["that never answers", async (exchange) => void (await exchange.left()), 504],
    [
      "that stops in the head",
      async (exchange) => {
        await exchange.write(["HTTP/1.1 200 OK\r\nX: y\r\n"])
        await exchange.left()
      },
      504,
    ],
    [
      "that stops in a sized body",
      async (exchange) => {
        await exchange.write([answerHead({ headers: [["Content-Length", "100"]] }), "abc"])
        await exchange.left()
      },
      "broken",
    ],
    [
      "that stops in chunks",
      async (exchange) => {
        await exchange.write([answerHead({ headers: [["Transfer-Encoding", "chunked"]] }), chunk("abc")])
        await exchange.left()
      },
      "broken",
    ],
  ])("%s is given up after a while, and told", async (_, script, outcome) => {
    const asking = [ways.path, ways.host].map(async (way) => {
      const { id, heard } = on(script)
      const answer = await ask(way, id)
      if (typeof answer === "string") throw new Error(answer)
      if (outcome === "broken")
        expect(answer).toMatchObject({ status: 200, body: { bytes: 3, end: expect.stringMatching(/closed|reset/) } })
      else expect([answer.status, codeOf(answer)]).toEqual([outcome, "service-timeout"])
      await heard.first
    })
    await Promise.all(asking)
    await expectWell()
  })

  test("that reads nothing of an upload is given up after a while", async () => {
    const givenUp = Promise.withResolvers<void>()
    const { id, heard } = on(() => givenUp.promise)
    const client = await RawClient.connect(ways.host.port)
    const bytes = 20_000_000
    const sending = client.write([
      requestOn(ways.host, ways, { method: "POST", path: "/", version: "1.1", headers: [["Content-Length", String(bytes)]] }, id),
      Buffer.alloc(bytes),
    ])
    const answer = await client.answer("POST")
    expect([504, "reset"]).toContain(statusOf(answer))
    client.close()
    await sending
    givenUp.resolve()
    expect((await heard.first).body.end).not.toBe("whole")
    await expectWell()
  })

  test("with an event stream may be silent for longer than that", async () => {
    const { id } = on(async (exchange) => {
      await exchange.write([
        answerHead({
          headers: [
            ["Content-Type", "text/event-stream"],
            ["Transfer-Encoding", "chunked"],
          ],
        }),
        chunk("data: 1\n\n"),
      ])
      await pause(2_500)
      await exchange.write([chunk("data: 2\n\n"), "0\r\n\r\n"])
    })
    const answers = await Promise.all([ways.path, ways.host].map((way) => ask(way, id)))
    for (const answer of answers) expect(answer).toMatchObject({ status: 200, body: { bytes: 18, end: "whole" } })
  })

  test("that is slow with 300 clients at once serves them all", async () => {
    await world.agent("patient")
    const patient = waysTo(service, { name: "patient", port: world.port, secret: world.secret })
    let running = 0
    const all = Promise.withResolvers<void>()
    const { id } = on(async (exchange) => {
      if (++running === 300) all.resolve()
      await exchange.write([answerHead({ headers: [["Transfer-Encoding", "chunked"]] })])
      await all.promise
      for (let piece = 0; piece < 5; piece++) {
        await exchange.write([chunk(`piece ${piece}\n`)])
        await pause(50)
      }
      await exchange.write(["0\r\n\r\n"])
    })
    const asked = Array.from({ length: 300 }, (_, index) => ask(index % 2 === 0 ? patient.path : patient.host, id))
    for (const answer of await Promise.all(asked)) expect(answer).toMatchObject({ status: 200, body: { bytes: 40, end: "whole" } })
    await expectWell()
  })
})

describe("a place that is not to be had", () => {
  /** The same ways, to another port or agent. */
  const waysOf = (port: number, agent = name): readonly Way[] => {
    const host = `${port}--${agent}.localhost:${world.port}`
    return [
      { ...ways.path, prefix: `/v1/agents/${agent}/http/${port}` },
      { ...ways.host, host },
    ]
  }

  test.each<readonly [string, () => readonly Way[] | Promise<readonly Way[]>, number, string]>([
    ["a port where nothing listens", async () => waysOf(await freePort()), 502, "service-refused"],
    ["a port that the owner denies", () => waysOf(deniedPort), 403, "denied"],
    ["an agent that nobody knows", () => waysOf(80, "nobody"), 404, "agent-unknown"],
  ])("%s", async (_, places, status, code) => {
    for (const way of await places()) {
      const answer = await ask(way, "none")
      expect([statusOf(answer), codeOf(answer)]).toEqual([status, code])
    }
  })

  test("a port that is denied is not even asked", async () => {
    let connections = 0
    const server = createServer().listen(deniedPort, "127.0.0.1")
    server.on("connection", () => connections++)
    await once(server, "listening")
    onTestFinished(() => void server.close())
    for (const way of waysOf(deniedPort)) expect(statusOf(await ask(way, "none"))).toBe(403)
    expect(connections).toBe(0)
  })

  test("an agent that was stopped, and one that vanished", { timeout: 60_000 }, async () => {
    const [stopped, vanished] = await Promise.all(["stopped", "vanished"].map((agent) => world.agent(agent)))
    if (stopped === undefined || vanished === undefined) throw new Error("no agents")
    stopped.child.kill("SIGTERM")
    await stopped.finished
    vanished.child.kill("SIGKILL")
    await vanished.finished
    const codes = { stopped: "agent-stopped", vanished: expect.stringMatching(/^agent-(?:offline|away)$/) }
    const asking = Object.entries(codes).flatMap(([agent, code]) =>
      waysOf(service.port, agent).map(async (way) => {
        const answer = await ask(way, "good")
        expect([agent, statusOf(answer), codeOf(answer)]).toEqual([agent, 503, code])
      }),
    )
    await Promise.all(asking)
  })
})

/** Closing the connection of a client that still sends would take its answer away. */
describe("a refusal reaches a client that looks when it has sent everything", () => {
  const body = "x".repeat(2_000_000)

  test.each<readonly [string, number, string, { readonly headers?: readonly Header[]; readonly secret?: string }]>([
    ["of a port that the owner denies", 403, "/v1/agents/target/http/DENIED/x", {}],
    ["of an agent that nobody knows", 404, "/v1/agents/nobody/http/80/x", {}],
    ["of a head that is too long", 431, "/v1/agents/target/http/80/x", { headers: [["X-Long", "x".repeat(140_000)]] }],
    ["of a stranger", 401, "/v1/agents/target/http/80/x", { secret: "wrong" }],
    ["of a body that is too large for a command", 413, "/v1/agents/target/exec", {}],
    ["of a path where nothing is", 404, "/v1/nothing", {}],
  ])("%s", async (_, status, path, { headers = [], secret = world.secret }) => {
    const client = await RawClient.connect(world.port)
    onTestFinished(() => client.close())
    const asked = slowly(upload(body))
    const all: readonly Header[] = [["Host", "localhost"], ["Authorization", `Bearer ${secret}`], ...headers, ...(asked.headers ?? [])]
    await client.write([requestHead("POST", path.replace("DENIED", String(deniedPort)), "1.1", all)])
    await client.write(asked.body?.() ?? [])
    expect(statusOf(await client.answer("POST"))).toBe(status)
  })
})

test("a refusal reaches a client that has begun to send and then waits", async () => {
  const client = await RawClient.connect(world.port)
  onTestFinished(() => client.close())
  const path = `/v1/agents/target/http/${deniedPort}/x`
  const headers: readonly Header[] = [
    ["Host", "localhost"],
    ["Authorization", `Bearer ${world.secret}`],
    ["Content-Length", "10"],
  ]
  await client.write([requestHead("POST", path, "1.1", headers), "0123"])
  expect(statusOf(await client.answer("POST"))).toBe(403)
})

describe("a Host", () => {
  /** Below localhost, with the gateway's port behind it, unless it has one. */
  async function askAs(host: string | undefined): Promise<RawAnswer | string> {
    const client = await RawClient.connect(world.port)
    const own = `X-Case: good\r\nAuthorization: Bearer ${world.secret}\r\n`
    await client.write([`GET /first HTTP/1.1\r\n${host === undefined ? "" : `Host: ${host}\r\n`}${own}\r\n`])
    const answer = await client.answer("GET")
    client.close()
    return answer
  }

  const port = (): number => service.port

  test.each<readonly [string, () => string]>([
    ["in capitals", () => `${port()}--TARGET.LOCALHOST:${world.port}`],
    ["with the dot of an absolute name", () => `${port()}--target.localhost.:${world.port}`],
    ["without a port", () => `${port()}--target.localhost`],
    ["with another port", () => `${port()}--target.localhost:1`],
  ])("%s leads to the service", async (_, host) => {
    expect(await askAs(host())).toMatchObject({ status: 200, body: { bytes: 4 } })
  })

  test.each<readonly [string, () => string | undefined, number]>([
    ["an unknown label", () => "unknown.localhost", 404],
    ["port 0", () => "0--target.localhost", 404],
    ["a port above all", () => "99999--target.localhost", 404],
    ["a port with zeros in front", () => `0${port()}--target.localhost`, 404],
    ["a port in another base", () => "0x50--target.localhost", 404],
    ["no port", () => "--target.localhost", 404],
    ["no name", () => `${port()}--.localhost`, 404],
    ["a name that is none", () => `${port()}--tar_get.localhost`, 404],
    ["one dash", () => `${port()}-target.localhost`, 404],
    ["a label in front", () => `x.${port()}--target.localhost`, 404],
    ["nothing in front of localhost", () => ".localhost", 404],
    ["two dots behind", () => `${port()}--target.localhost..`, 404],
    ["another domain", () => `${port()}--target.localhost.example.com`, 404],
    ["an IP address", () => "127.0.0.1", 404],
    ["userinfo", () => `a:b@${port()}--target.localhost`, 400],
    ["a path", () => `${port()}--target.localhost/v1`, 400],
    ["a query", () => `${port()}--target.localhost?a`, 400],
    ["a fragment", () => `${port()}--target.localhost#a`, 400],
    ["a blank", () => `${port()}--target.localhost a`, 400],
    ["two in one", () => `${port()}--target.localhost, elsewhere.example`, 400],
    ["a port that is none", () => `${port()}--target.localhost:x`, 400],
    ["a scheme", () => `http://${port()}--target.localhost`, 400],
    ["bytes that are no ASCII", () => `${port()}--target\xe9.localhost`, 400],
    ["nothing", () => "", 400],
    ["none at all", () => undefined, 400],
  ])("%s leads to none", async (_, host, status) => {
    const before = service.lines.length
    expect(statusOf(await askAs(host()))).toBe(status)
    expect(service.lines.length).toBe(before)
  })
})
