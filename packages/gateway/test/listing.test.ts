/** Listing, filters and pages over both sources, and heartbeats of tunnel-url agents. */
import { env } from "cloudflare:workers"
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest"
import { agentKey } from "../src/auth.ts"
import type { EndpointRecord } from "../src/endpoint.ts"
import { listHeartbeats } from "../src/heartbeats.ts"
import { type ListingSources, listEndpoints, readListingQuery } from "../src/listing.ts"
import { registryOf } from "../src/registry/shards.ts"
import { bearer, call, callJson, connectAgent, freshName, gatewaySecret, listed, listing, refusal } from "./peers.ts"

afterEach(() => vi.useRealTimers())

const putHeartbeat = (name: string, body: object, headers: Record<string, string> = bearer): Promise<Response> =>
  call(`/v1/heartbeats/${name}`, { method: "PUT", headers, body: JSON.stringify(body) })

const heartbeat = { url: "https://build-7.example/", labels: { site: "berlin" }, version: "1.0.0" }

describe("a heartbeat", () => {
  test("is answered 201 first and 200 after, with the period to keep", async () => {
    const name = freshName()
    const first = await putHeartbeat(name, heartbeat)
    expect(first.status).toBe(201)
    expect(await first.json()).toEqual({ name, periodMs: 300_000, expiresAt: expect.any(Number) })
    expect((await putHeartbeat(name, heartbeat)).status).toBe(200)
  })

  test("makes its agent listed online as tunnel-url, since its first one", async () => {
    const name = freshName()
    await putHeartbeat(name, heartbeat)
    const first = await listed(name)
    expect(first).toEqual({
      name,
      status: "online",
      mode: "tunnel-url",
      since: expect.any(Number),
      lastSeen: first?.since,
      version: "1.0.0",
      labels: { site: "berlin" },
      rttMs: null,
    })
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 300_000 })
    await putHeartbeat(name, heartbeat)
    expect(await listed(name)).toMatchObject({ since: first?.since, lastSeen: Date.now() })
    const { body } = await callJson(`/v1/endpoints/${name}`, { headers: bearer })
    expect(body).toMatchObject({ mode: "tunnel-url", url: "https://build-7.example" })
  })

  test("lives 750 seconds in KV, and DELETE ends it at once", async () => {
    const name = freshName()
    const before = Math.floor(Date.now() / 1000)
    await putHeartbeat(name, heartbeat)
    const { keys } = await env.KV.list({ prefix: `heartbeat:${name}` })
    expect((keys[0]?.expiration ?? 0) - before).toBeGreaterThanOrEqual(750)
    expect((keys[0]?.expiration ?? 0) - before).toBeLessThan(760)
    expect((await call(`/v1/heartbeats/${name}`, { method: "DELETE", headers: bearer })).status).toBe(204)
    expect(await listed(name)).toBeUndefined()
    expect((await callJson(`/v1/endpoints/${name}`, { headers: bearer })).status).toBe(404)
  })

  test("is taken with the agent's own key and refused with another's", async () => {
    const name = freshName()
    const key = await agentKey(gatewaySecret, name)
    expect((await putHeartbeat(name, heartbeat, { authorization: `Bearer ${key}` })).status).toBe(201)
    expect((await putHeartbeat(freshName(), heartbeat, { authorization: `Bearer ${key}` })).status).toBe(401)
  })

  test.each([
    ["a url of another scheme", { ...heartbeat, url: "ws://build-7.example" }],
    ["no url", { labels: {}, version: "1" }],
    ["a url that is none", { ...heartbeat, url: "build-7" }],
    ["a url that holds credentials", { ...heartbeat, url: "https://user:secret@build-7.example" }],
    ["a version that would move somebody's cursor", { ...heartbeat, version: "1.0\u009b2J" }],
    ["labels that are none", { ...heartbeat, labels: { "": "x" } }],
    ["no version", { url: heartbeat.url }],
    [
      "more labels than KV keeps beside a key",
      {
        ...heartbeat,
        labels: Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`key-${index}`.padEnd(63, "x"), "v".repeat(63)])),
      },
    ],
  ])("with %s is refused", async (_, body) => {
    expect(await refusal(await putHeartbeat(freshName(), body))).toMatchObject({ status: 400, code: "bad-request" })
  })

  test("that expired never hides a connected agent, and a live one never outshines its socket", async () => {
    const name = freshName()
    await connectAgent(name, { version: "socket" })
    await putHeartbeat(name, heartbeat)
    await vi.waitFor(async () => expect(await listed(name)).toMatchObject({ mode: "socket", version: "socket" }))
    expect((await listing("?limit=1000")).endpoints.filter((endpoint) => endpoint.name === name)).toHaveLength(1)
    // Filtered by what only the heartbeat says of it: the socket's row still decides.
    expect((await listing("?label=site=berlin&limit=1000")).endpoints.map((endpoint) => endpoint.name)).not.toContain(name)
    await env.KV.delete(`heartbeat:${name}`)
    expect(await listed(name)).toMatchObject({ status: "online", mode: "socket" })
    expect((await callJson(`/v1/endpoints/${name}`, { headers: bearer })).body).toMatchObject({ status: "online", mode: "socket" })
  })
})

describe("filters", () => {
  test("by labels must all match, and by status", async () => {
    const [both, one, away] = [freshName(), freshName(), freshName()]
    const site = freshName("site")
    await connectAgent(both, { labels: { site, "os.name/arch": "x64" } })
    await connectAgent(one, { labels: { site } })
    const { agent } = await connectAgent(away, { labels: { site } })
    agent.close(1001, "")
    const named = async (query: string): Promise<string[]> => (await listing(query)).endpoints.map((endpoint) => endpoint.name)
    await vi.waitFor(async () => expect(await named(`?label=site=${site}&status=offline`)).toEqual([away]))
    expect(await named(`?label=site=${site}`)).toEqual([both, one, away].sort())
    expect(await named(`?label=site=${site}&label=os.name/arch=x64`)).toEqual([both])
    expect(await named(`?label=site=${site}&status=online`)).toEqual([both, one].sort())
    expect(await named(`?label=site=${site}&status=draining`)).toEqual([])
  })

  test.each([
    ["limit=0", "1 to 1000"],
    ["limit=1001", "1 to 1000"],
    ["limit=ten", "1 to 1000"],
    ["limit=", "1 to 1000"],
    ["cursor=%25%25", "cursor"],
    ["cursor=e30", "cursor"],
    ["cursor=", "cursor"],
    ["cursor=WyJBIixudWxsXQ", "cursor"],
    ["label=novalue", "label=KEY=VALUE"],
    ["label==x", "label=KEY=VALUE"],
    ["label=a=b%20c", "not a label"],
    ["label=a=b&label=a=c", "each key once"],
    ["label=constructor=x", "reserved"],
    ["status=up", "online, stale, draining, offline"],
  ])("?%s is refused with the rule", async (query, rule) => {
    const refused = await refusal(await call(`/v1/endpoints?${query}`, { headers: bearer }))
    expect(refused).toMatchObject({ status: 400, code: "bad-request" })
    expect(refused.message).toContain(rule)
  })
})

describe("300 endpoints of both kinds", () => {
  const prefix = "fleet"
  const expected = Array.from({ length: 300 }, (_, index) => `${prefix}-${String(index).padStart(3, "0")}`)

  beforeAll(async () => {
    const now = Date.now()
    for (const [index, name] of expected.entries()) {
      const labels = { fleet: "yes", parity: index % 2 === 0 ? "even" : "odd" }
      if (index % 3 === 0) {
        await env.KV.put(`heartbeat:${name}`, "https://x.example", { metadata: { version: "1", labels, since: now, lastSeen: now } })
        continue
      }
      const record: EndpointRecord = {
        name,
        generation: 1,
        revision: 1,
        state: "offline",
        since: now,
        lastSeen: now,
        instance: "i",
        version: "1",
        labels,
        host: { hostname: "h", os: "linux", arch: "x64" },
      }
      await registryOf(env, name).announce(record)
    }
  })

  /** The real sources, with KV in pages of `kvPage` keys, and every call counted. */
  function countedSources(kvPage?: number): { sources: ListingSources; calls: () => { registry: number; kv: number } } {
    const calls = { registry: 0, kv: 0 }
    const kv = new Proxy(env.KV, {
      get: (target, key) =>
        key === "list"
          ? (options: KVNamespaceListOptions) => {
              calls.kv += 1
              return target.list(kvPage === undefined ? options : { ...options, limit: kvPage })
            }
          : Reflect.get(target, key),
    })
    const sources: ListingSources = {
      registry: async (query) => {
        calls.registry += 1
        return [await registryOf(env, "any").list(query)]
      },
      heartbeats: (cursor) => listHeartbeats(kv, cursor),
    }
    return { sources, calls: () => ({ ...calls }) }
  }

  async function readAll(sources: ListingSources, query: string): Promise<{ names: string[]; pages: number }> {
    const names: string[] = []
    let pages = 0
    for (let cursor: string | null | undefined; cursor !== null; pages += 1) {
      const parameters = new URLSearchParams(query)
      if (cursor !== undefined) parameters.set("cursor", cursor)
      const page = await listEndpoints(sources, readListingQuery(parameters))
      expect(page.endpoints.length).toBeLessThanOrEqual(Number(parameters.get("limit")))
      names.push(...page.endpoints.map((endpoint) => endpoint.name))
      cursor = page.cursor
    }
    return { names, pages }
  }

  test.each([[7], [50], [1_000]])("come once each and in order in pages of %i, at one call to each source per page", async (limit) => {
    const { sources, calls } = countedSources()
    const { names, pages } = await readAll(sources, `label=fleet=yes&limit=${limit}`)
    expect(names).toEqual(expected)
    expect(calls()).toEqual({ registry: pages, kv: pages })
    expect(pages).toBe(Math.ceil(300 / limit))
  })

  test.each([
    [1, 40],
    [13, 40],
    [30, 7],
  ])("come once each and in order when KV itself answers in pages of %i and the listing in pages of %i", async (kvPage, limit) => {
    const { sources, calls } = countedSources(kvPage)
    const { names, pages } = await readAll(sources, `label=fleet=yes&limit=${limit}`)
    expect(names).toEqual(expected)
    expect(calls()).toEqual({ registry: pages, kv: pages })
  })

  test("are filtered in both sources", async () => {
    const { sources } = countedSources()
    const even = expected.filter((_, index) => index % 2 === 0)
    expect((await readAll(sources, "label=fleet=yes&label=parity=even&limit=20")).names).toEqual(even)
    const beating = expected.filter((_, index) => index % 3 === 0)
    expect((await readAll(sources, "label=fleet=yes&status=online&limit=20")).names).toEqual(beating)
  })

  test("are paged over HTTP with an opaque cursor, 100 at a time unless told", async () => {
    const first = await listing("?label=fleet=yes")
    expect(first.endpoints.map((endpoint) => endpoint.name)).toEqual(expected.slice(0, 100))
    const second = await listing(`?label=fleet=yes&cursor=${first.cursor}`)
    expect(second.endpoints.map((endpoint) => endpoint.name)).toEqual(expected.slice(100, 200))
  })
})

test("a listing asks at most 25 objects, and the next one asks the others", async () => {
  const label = freshName("many")
  const names = Array.from({ length: 30 }, () => freshName())
  const now = Date.now()
  for (const name of names) {
    // Rows that claim to be online, of objects that never had an agent: each one asked turns out to be gone.
    await registryOf(env, name).announce({
      name,
      generation: 1,
      revision: 1,
      state: "online",
      since: now,
      lastSeen: now,
      instance: "i",
      version: "1",
      labels: { many: label },
      host: { hostname: "h", os: "linux", arch: "x64" },
    })
  }
  expect((await listing(`?label=many=${label}`)).endpoints).toHaveLength(30)
  vi.useFakeTimers({ toFake: ["Date"], now: now + 80_000 })
  expect((await listing(`?label=many=${label}`)).endpoints).toHaveLength(5)
  expect((await listing(`?label=many=${label}`)).endpoints).toHaveLength(0)
})
