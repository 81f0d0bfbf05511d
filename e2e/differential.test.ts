/** Requests straight to a service and through the tunnel to the same one: answers and what the service saw, compared byte for byte. */
import { readFile } from "node:fs/promises"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type Abort, aborts, say } from "./differential/abort-cases.ts"
import { answerCases, downloadCases } from "./differential/answer-cases.ts"
import { brokenCases, earlyCases, endlessCases } from "./differential/broken-cases.ts"
import { type Case, chunked, chunkedUpload, noise, row, sized, upload } from "./differential/case.ts"
import { comparable, differences, expected, quietCloses, type Used } from "./differential/differences.ts"
import { RawClient } from "./differential/raw-client.ts"
import { type Exchange, RawService } from "./differential/raw-service.ts"
import { requestCases, uploadCases } from "./differential/request-cases.ts"
import { type Observed, observe, observeMany, requestOn, shown, type Way, type Ways, waysTo } from "./differential/ways.ts"
import { World } from "./world.ts"

/** Bytes of the largest bodies. */
const largeBytes = Number(process.env.TRUNKLINE_LARGE_BYTES ?? 104_857_600)

let world: World
let service: RawService
let ways: Ways

beforeAll(async () => {
  world = await World.start()
  await world.agent("twin")
  service = await RawService.start()
  ways = waysTo(service, { name: "twin", port: world.port, secret: world.secret })
})
afterAll(async () => {
  service?.stop()
  await world?.stop()
})

const used: Used = new Set()

async function same(asked: Case): Promise<void> {
  const direct = await observe(ways.direct, ways, asked)
  for (const way of [ways.path, ways.host]) compare(way, asked, direct, await observe(way, ways, asked))
}

function compare(way: Way, asked: Case, direct: Observed, observed: Observed): void {
  const { refused, ...wanted } = expected(direct, asked, way, used)
  const through = comparable(observed, asked, way, used)
  if (refused === undefined) return expect(shown(through), way.name).toEqual(shown(wanted))
  const status = typeof through.answer === "string" ? through.answer : through.answer.status
  expect([status, ...shown({ ...through, answer: "closed" })], way.name).toEqual([refused, ...shown({ ...wanted, answer: "closed" })])
}

const titled = (cases: readonly Case[]) => cases.map((asked) => [asked.title, asked] as const)

const tables = { ...requestCases, ...answerCases, uploads: uploadCases, downloads: downloadCases }

describe.each(Object.entries(tables))("%s", (_, cases) => {
  test.each(titled(cases))("%s", async (_title, asked) => {
    await same(asked)
  })
})

describe("services that break off", () => {
  test.each(titled(brokenCases))("%s", async (_title, asked) => {
    const { answer } = await observe(ways.direct, ways, asked)
    expect(typeof answer === "string" ? answer : answer.body.end).not.toBe("whole")
    await same(asked)
  })
})

describe("large bodies", () => {
  test.each<readonly [string, () => Case]>([
    ["up, sized", () => row("", upload(noise(largeBytes)))],
    ["up, in chunks", () => row("", chunkedUpload(noise(largeBytes)))],
    ["down, sized", () => row("", {}, sized({ body: noise(largeBytes) }))],
    ["down, in chunks", () => row("", {}, chunked({ body: noise(largeBytes) }))],
  ])("%s", { timeout: 120_000 }, async (_, make) => {
    await same(make())
  })
})

describe.each([
  ["and clients that stop sending", "instead", [...earlyCases, ...endlessCases]],
  ["and clients that look when they have sent everything", "afterwards", earlyCases],
] as const)("services that answer early, %s", (_, look, cases) => {
  test.each(titled(cases))("%s", async (_title, asked) => {
    const direct = await observe(ways.direct, ways, asked, look)
    expect(typeof direct.answer).not.toBe("string")
    for (const way of [ways.path, ways.host])
      compare(way, asked, { ...direct, seen: [] }, { ...(await observe(way, ways, asked, look)), seen: [] })
  })
})

describe("one connection of a client", () => {
  const { framings = [], ranges = [], "interim answers": interim = [] } = answerCases
  const staying = framings.filter(({ title }) => !/close|HTTP\/1\.0/.test(title))
  const list = [...staying, ...ranges, ...interim, row("", upload("a body")), row("", chunkedUpload("a body"))]

  test.each([
    ["one after the other", false],
    ["all at once", true],
  ])("carries many requests, %s", async (_, atOnce) => {
    const direct = await observeMany(ways.direct, ways, list, atOnce)
    for (const way of [ways.path, ways.host]) {
      const through = await observeMany(way, ways, list, atOnce)
      for (const [index, asked] of list.entries()) {
        const [one, other] = [direct[index], through[index]]
        if (one !== undefined && other !== undefined) compare(way, asked, one, other)
      }
    }
  })
})

test("a service that closes a kept connection without a word is asked again, where that does no harm", async () => {
  for (const [method, times] of [
    ["GET", 2],
    ["POST", 1],
  ] as const) {
    for (const way of [ways.path, ways.host]) {
      await observe(way, ways, row("", { method }))
      const { seen, answer } = await observe(
        way,
        ways,
        row("", { method }, ({ socket }) => void socket.end()),
      )
      expect({ way: way.name, method, times: seen.length, answer }).toMatchObject({ times, answer: { status: 502 } })
      comparable({ seen, answer }, row("", {}), way, used)
    }
  }
})

describe.each(["closes", "resets"] as const)("a client that %s", (how) => {
  test.each(aborts.map((abort) => [abort.title, abort] as const))("%s: the service is told", async (_title, abort) => {
    for (const way of [ways.direct, ways.path, ways.host]) await leave(way, abort, how)
  })
})

/** Resolves when the service has learnt of it. */
async function leave(
  way: Way,
  { method, headers, body, service: script, readsBytes, next }: Abort,
  how: "closes" | "resets",
): Promise<void> {
  const name = `leaves-${way.name}`
  const begun = Promise.withResolvers<Exchange>()
  const heard = service.on(name, async (exchange) => {
    begun.resolve(exchange)
    await script(exchange)
  })
  const client = await RawClient.connect(way.port)
  try {
    await client.write([requestOn(way, ways, { method, path: "/", version: "1.1", headers }, name), body])
    const exchange = await begun.promise
    if (readsBytes !== undefined) await client.bodyBytes(readsBytes)
    if (how === "closes") client.close()
    else client.reset()
    if (how === "closes" && way !== ways.direct && next !== undefined) {
      used.add(quietCloses)
      await say(exchange, next)
    }
    await heard.first
  } finally {
    client.close()
  }
}

test("a client that closes its half behind the request still gets the answer", async () => {
  for (const way of [ways.direct, ways.path, ways.host]) {
    const name = `half-${way.name}`
    const read = Promise.withResolvers<void>()
    service.on(name, async (exchange) => {
      await exchange.body()
      // The end of the client's half is with the gateway before the answer begins.
      await read.promise
      await exchange.write(["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
    })
    const client = await RawClient.connect(way.port)
    client.socket.end(requestOn(way, ways, { method: "GET", path: "/", version: "1.1", headers: [] }, name))
    client.socket.once("finish", () => setImmediate(read.resolve))
    expect(await client.answer("GET"), way.name).toMatchObject({ status: 200, body: { bytes: 2, end: "whole" } })
    client.close()
  }
})

describe("the list of differences", () => {
  test("has no row that nothing shows", ({ skip }) => {
    // Known when every case has run.
    skip(used.size === 0, "the cases were left out")
    expect([...used].sort()).toEqual(differences.map(({ name }) => name).sort())
  })

  test("is in the documentation, row by row, and has nothing there that is not in it", async () => {
    const page = await readFile(new URL("../docs/http.md", import.meta.url), "utf8")
    const [, section = ""] = /\n## Differences\n(.*?)(?:\n## |$)/s.exec(page) ?? []
    const named = [...section.matchAll(/^\| \*\*(.+?)\*\* \|/gm)].map(([, name]) => name)
    expect(named.sort()).toEqual(differences.map(({ name }) => name).sort())
  })
})
