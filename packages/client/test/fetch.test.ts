import { mkdtempSync, rmSync } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib"
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest"
import { bytesOf, HttpBench, RawService, streamOf } from "../../agent-cli/test/services/http-bench.ts"
import type { FetchOptions } from "../src/fetch.ts"

let bench: HttpBench
beforeEach(() => {
  bench = new HttpBench()
})
afterEach(() => bench.close())

interface Asked {
  readonly method: string | undefined
  readonly url: string | undefined
  readonly headers: readonly string[]
  readonly body: string
}

/** Answers with what it was asked. */
async function mirror(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url, rawHeaders } = request
  let body = ""
  for await (const chunk of request.setEncoding("latin1")) body += chunk
  response.end(JSON.stringify({ method, url, headers: rawHeaders, body } satisfies Asked))
}

/** What the service was asked. */
async function asked(path: string, init?: FetchOptions): Promise<Asked> {
  const port = await bench.http(mirror)
  const answer = (await (await bench.agent.fetch(`http://localhost:${port}${path}`, init)).json()) as Asked
  return { ...answer, headers: answer.headers.map((text) => text.replace(`${port}`, "PORT")) }
}

/** The response to a GET. */
async function answer(respond: (response: ServerResponse) => void, init?: FetchOptions): Promise<Response> {
  const port = await bench.http((_, response) => respond(response))
  return await bench.agent.fetch(`http://localhost:${port}/`, init)
}

describe("a request", () => {
  test("is the URL's, with its Host and nothing else", async () => {
    expect(await asked("/a%20b?c=d#e")).toEqual({ method: "GET", url: "/a%20b?c=d", headers: ["host", "localhost:PORT"], body: "" })
  })

  test("has the caller's headers, also those that pages may not set", async () => {
    const { headers } = await asked("/", { headers: { Host: "shop.example", cookie: "a=b", "x-a": "caf\u00e9" } })
    expect(headers).toEqual(["cookie", "a=b", "host", "shop.example", "x-a", "caf\u00e9"])
  })

  const form = new FormData()
  form.set("a", "b")
  test.each<[string, BodyInit, string, string | RegExp]>([
    ["a string", "h\u00e9", "text/plain;charset=UTF-8", "h\u00c3\u00a9"],
    ["bytes", bytesOf("abc"), "", "abc"],
    ["a buffer", bytesOf("abc").buffer, "", "abc"],
    ["a blob", new Blob(["abc"], { type: "text/x" }), "text/x", "abc"],
    ["parameters", new URLSearchParams({ a: "b c" }), "application/x-www-form-urlencoded;charset=UTF-8", "a=b+c"],
    ["a form", form, "multipart/form-data; boundary=", /^--.*name="a"\r\n\r\nb\r\n--.*--/s],
  ])("with %s has its type and its length", async (_, body, type, text) => {
    const { headers, ...sent } = await asked("/", { method: "POST", body })
    expect(sent.body).toEqual(typeof text === "string" ? text : expect.stringMatching(text))
    expect(headers[headers.indexOf("Content-Length") + 1]).toBe(`${sent.body.length}`)
    expect(headers[headers.indexOf("content-type") + 1] ?? "").toContain(type === "" ? "host" : type)
  })

  test("with a stream is sent in chunks", async () => {
    const { headers, body } = await asked("/", { method: "PUT", body: streamOf("one ", "two") })
    expect(headers).toEqual(["host", "localhost:PORT", "Transfer-Encoding", "chunked"])
    expect(body).toBe("one two")
  })

  test("with a stream is that stream also where a Request takes none", async () => {
    // As browsers do that know no streams there.
    const Plain = class extends Request {
      constructor(input: RequestInfo | URL, init?: RequestInit) {
        super(input, init?.body instanceof ReadableStream ? { ...init, body: String(init.body) } : init)
      }
    }
    vi.stubGlobal("Request", Plain)
    onTestFinished(() => void vi.unstubAllGlobals())
    expect((await asked("/", { method: "PUT", body: streamOf("one ", "two") })).body).toBe("one two")
    await expect(bench.agent.fetch("http://localhost:1/", { body: streamOf("x") })).rejects.toMatchObject({ code: "bad-request" })
  })

  test("without a body says so where that is unusual", async () => {
    expect((await asked("/", { method: "POST" })).headers).toEqual(["host", "localhost:PORT", "Content-Length", "0"])
    expect((await asked("/", { method: "DELETE" })).headers).toEqual(["host", "localhost:PORT"])
  })

  test("may be a Request", async () => {
    const port = await bench.http(mirror)
    const request = new Request(`http://localhost:${port}/r`, { method: "PATCH", body: "abc", headers: { "x-a": "1" } })
    expect(await (await bench.agent.fetch(request)).json()).toMatchObject({ method: "PATCH", url: "/r", body: "abc" })
  })

  test("goes to a unix socket", async () => {
    const directory = mkdtempSync(join(tmpdir(), "fetch-"))
    const socketPath = join(directory, "s")
    await bench.listen(createServer(mirror), { path: socketPath })
    const response = await bench.agent.fetch("http://service.example/x", { socketPath })
    expect(await response.json()).toMatchObject({ url: "/x", headers: ["host", "service.example"] })
    rmSync(directory, { recursive: true })
  })

  test.each([
    ["is no URL", "localhost"],
    ["is of another scheme", "ftp://localhost/"],
    ["holds credentials", "http://me:secret@localhost/"],
  ])("to what %s is bad-request", async (_, url) => {
    const failed = bench.agent.fetch(url)
    await expect(failed).rejects.toMatchObject({ name: "TunnelError", code: "bad-request", delivered: "no" })
    await expect(failed).rejects.not.toThrow("secret")
  })

  test("that the platform refuses is bad-request", async () => {
    const failed = bench.agent.fetch("http://localhost/", { method: "GET", body: "x" })
    await expect(failed).rejects.toMatchObject({ name: "TunnelError", code: "bad-request" })
  })

  test("that nobody takes is a TunnelError", async () => {
    bench.policy.denied = true
    await expect(bench.agent.fetch("http://localhost:1/")).rejects.toMatchObject({ name: "TunnelError", code: "denied" })
  })
})

describe("a response", () => {
  test("has status, text, headers, every cookie, and the URL", async () => {
    const response = await answer((to) =>
      to
        .writeHead(
          418,
          "Tea",
          [
            ["Set-Cookie", "a=1"],
            ["Set-Cookie", "b=2"],
            ["X", "y"],
          ].flat(),
        )
        .end("pot"),
    )
    expect([response.status, response.statusText, response.ok]).toEqual([418, "Tea", false])
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"])
    expect(response.headers.get("x")).toBe("y")
    expect(response.url).toMatch(/^http:\/\/localhost:\d+\/$/)
    expect(await response.text()).toBe("pot")
  })

  test("to be followed is not", async () => {
    const response = await answer((to) => to.writeHead(302, { location: "/there" }).end("moved"), { redirect: "follow" })
    expect([response.status, response.headers.get("location"), await response.text()]).toEqual([302, "/there", "moved"])
  })

  test.each([204, 205, 304])("of status %i has no body", async (status) => {
    const response = await answer((to) => to.writeHead(status).end())
    expect([response.status, response.body]).toEqual([status, null])
  })

  test("to HEAD has no body, and its length in the header", async () => {
    const response = await answer((to) => to.writeHead(200, { "content-length": 10 }).end(), { method: "HEAD" })
    expect([response.body, response.headers.get("content-length")]).toEqual([null, "10"])
  })

  test.each<[string, Uint8Array]>([
    ["gzip", gzipSync("hello")],
    ["X-GZIP", gzipSync("hello")],
    ["deflate", deflateSync("hello")],
    ["br", brotliCompressSync("hello")],
    ["deflate, gzip", gzipSync(deflateSync("hello"))],
  ])("in %s is decoded, and still says so", async (coding, bytes) => {
    const response = await answer((to) => to.writeHead(200, { "content-encoding": coding }).end(bytes))
    expect(await response.text()).toBe("hello")
    expect(response.headers.get("content-encoding")).toBe(coding)
  })

  test.each(["zstd-of-tomorrow", "identity", "gzip, none", Array(1_000).fill("gzip").join()])("in %s is left as it is", async (coding) => {
    const response = await answer((to) => to.writeHead(200, { "content-encoding": coding }).end("hello"))
    expect(await response.text()).toBe("hello")
  })

  test.each(["", "x"])("that is coded and breaks off errors with TunnelError", async (bytes) => {
    const response = await answer((to) =>
      to.writeHead(200, { "content-encoding": "gzip", "content-length": 50 }).write(bytes, () => to.destroy()),
    )
    await expect(response.text()).rejects.toMatchObject({ name: "TunnelError", code: "service-failed" })
  })

  test.each<[string, Uint8Array]>([
    ["something else", bytesOf("this is no gzip")],
    ["half of it", gzipSync("hello").subarray(0, 12)],
  ])("that says gzip and is %s errors with TunnelError", async (_, bytes) => {
    const response = await answer((to) => to.writeHead(200, { "content-encoding": "gzip" }).end(bytes))
    await expect(response.text()).rejects.toMatchObject({ name: "TunnelError", code: "service-failed", delivered: "yes" })
  })

  test("that breaks off errors with TunnelError", async () => {
    const response = await answer((to) => to.writeHead(200, { "content-length": 50 }).write("x", () => to.destroy()))
    await expect(response.text()).rejects.toMatchObject({ name: "TunnelError", code: "service-failed" })
  })

  test.each(["", "Content-Encoding: gzip\r\n"])(
    "of a status that fetch does not know (%j) is service-failed, and the service is let go",
    async (header) => {
      const service = await RawService.start(bench)
      const failed = expect(bench.agent.fetch(`http://localhost:${service.port}/`)).rejects.toMatchObject({
        code: "service-failed",
        message: expect.stringContaining("999"),
      })
      const { socket } = await service.next()
      const closed = new Promise((resolve) => socket.once("end", resolve))
      socket.write(`HTTP/1.1 999 Denied\r\n${header}Content-Length: 5\r\n\r\n`)
      await failed
      await closed
    },
  )
})

describe("a caller that aborts", () => {
  test("before the answer gets aborted, with its reason", async () => {
    const service = await RawService.start(bench)
    const abort = new AbortController()
    const fetched = bench.agent.fetch(`http://localhost:${service.port}/`, { signal: abort.signal })
    const { socket } = await service.next()
    const closed = new Promise((resolve) => socket.once("end", resolve))
    abort.abort()
    await expect(fetched).rejects.toMatchObject({ name: "TunnelError", code: "aborted", cause: abort.signal.reason })
    await closed
  })

  test("by the signal of a Request, in the middle of the body, errors it", async () => {
    const service = await RawService.start(bench)
    const abort = new AbortController()
    const fetched = bench.agent.fetch(new Request(`http://localhost:${service.port}/`, { signal: abort.signal }))
    const { socket } = await service.next()
    socket.write("HTTP/1.1 200 OK\r\n\r\nhalf")
    const response = await fetched
    const closed = new Promise((resolve) => socket.once("end", resolve))
    abort.abort()
    await expect(response.text()).rejects.toMatchObject({ code: "aborted" })
    await closed
  })
})
