import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pass } from "node:timers/promises"
import { httpTags, limits, type TunnelError } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest"
import { bytesOf, HttpBench, RawService, readToBreak, streamOf, textOf } from "./http-bench.ts"

let bench: HttpBench
beforeEach(() => {
  bench = new HttpBench()
})
afterEach(() => bench.close())

/** What systems keep of one connection in both directions, with room to spare. */
const systemBytes = 32_000_000

/** Resolves when the number has not changed for a while: whatever moved it is held up. */
async function settled(count: () => number): Promise<number> {
  for (let last = -1, same = 0; same < 20; same = count() === last ? same + 1 : 0) {
    last = count()
    await pass(10)
  }
  return count()
}

const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

describe("[KH6] a service that is silent", () => {
  test("before its answer is service-timeout after the owner's limit", async () => {
    bench.policy.firstByteMs = 40
    const service = await RawService.start(bench)
    const asked = bench.ask(service.port)
    const { socket } = await service.next()
    const closed = once(socket, "end")
    await expect(asked).rejects.toMatchObject({
      code: "service-timeout",
      message: expect.stringContaining("not begun to answer within 0.04 s"),
    })
    await closed
  })

  test("before its answer is so after the client's limit, where that is shorter", async () => {
    bench.policy.firstByteMs = 60_000
    const service = await RawService.start(bench)
    await expect(bench.ask(service.port, { firstByteMs: 40 })).rejects.toMatchObject({ code: "service-timeout" })
  })

  test("but for what it says in advance is so as well", async () => {
    bench.policy.firstByteMs = 100
    const port = await bench.saying("", (socket) => {
      const again = setInterval(() => socket.write("HTTP/1.1 100 Continue\r\n\r\n"), 10)
      socket.on("close", () => clearInterval(again))
      socket.on("end", () => socket.end())
      socket.resume()
    })
    await expect(bench.ask(port)).rejects.toMatchObject({ code: "service-timeout" })
  })

  test("in the middle of its answer breaks the body off", async () => {
    bench.policy.idleMs = 40
    const port = await bench.saying(`${chunked}2\r\nab\r\n`)
    const { text, error } = await readToBreak(await bench.ask(port))
    expect(text).toBe("ab")
    expect(error).toMatchObject({ code: "service-timeout", message: expect.stringContaining("sent nothing for 0.04 s") })
  })

  test("in an event stream may be", async () => {
    bench.policy.idleMs = 20
    const service = await RawService.start(bench)
    const asked = bench.ask(service.port)
    const { socket } = await service.next()
    socket.write("HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n")
    const answer = await asked
    await pass(200)
    socket.end("data: 1\n\n")
    expect(await textOf(answer)).toBe("data: 1\n\n")
  })

  test("and does not read the request's body is service-timeout", async () => {
    bench.policy.idleMs = 300
    bench.policy.firstByteMs = 60_000
    const port = await bench.tcp((socket) => socket.pause())
    const body = new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(new Uint8Array(65_536)) })
    const asked = bench.ask(port, { method: "POST", body })
    await expect(asked).rejects.toMatchObject({
      code: "service-timeout",
      message: expect.stringContaining("read nothing of the request's body"),
    })
  })
})

describe("[KH6] a client that is slow", () => {
  test("with its body is not blamed on the service", async () => {
    bench.policy.firstByteMs = 400
    bench.policy.idleMs = 400
    const port = await bench.http((request, response) => void request.on("end", () => response.end("ok")).resume())
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        for (const piece of ["a", "b", "c"]) {
          await pass(500)
          controller.enqueue(bytesOf(piece))
        }
        controller.close()
      },
    })
    expect(await textOf(await bench.ask(port, { method: "POST", body }))).toBe("ok")
  })

  test("in reading is not blamed on the service", async () => {
    bench.policy.idleMs = 400
    const bytes = new Uint8Array(3_000_000)
    const port = await bench.http((_, response) => void response.end(bytes))
    const answer = await bench.ask(port)
    await pass(900)
    expect((await new Response(answer.body).arrayBuffer()).byteLength).toBe(bytes.byteLength)
  })
})

describe("nothing is kept that nobody takes", () => {
  test("of an answer: the service is held up, and its bytes come when they are read", async () => {
    const total = 96_000_000
    const piece = new Uint8Array(64_000)
    let sent = 0
    const port = await bench.http((_, response) => {
      const more = (): void => {
        while (sent < total) {
          sent += piece.byteLength
          if (!response.write(piece)) return void response.once("drain", more)
        }
        response.end()
      }
      more()
    })
    const answer = await bench.ask(port)
    expect(await settled(() => sent)).toBeLessThan(systemBytes)
    expect(bench.streams[0]?.queuedBytes).toBeLessThanOrEqual(limits.streamWindowBytes + 65_536)
    let read = 0
    for await (const bytes of answer.body) read += bytes.byteLength
    expect(read).toBe(total)
  })

  test("of a request: its source is held up, and goes on when the service reads", async () => {
    const total = 96_000_000
    const piece = new Uint8Array(64_000)
    let pulled = 0
    const service = await RawService.start(bench)
    const body = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          pulled += piece.byteLength
          controller.enqueue(piece)
          if (pulled === total) controller.close()
        },
      },
      { highWaterMark: 0 },
    )
    const asked = bench.ask(service.port, { method: "PUT", body, bodyBytes: total })
    const { socket } = await service.next()
    socket.pause()
    expect(await settled(() => pulled)).toBeLessThan(systemBytes)
    let received = 0
    socket.removeAllListeners("data")
    socket.on("data", (chunk: Buffer) => {
      received += chunk.byteLength
      if (received > total) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    })
    socket.resume()
    expect(await textOf(await asked)).toBe("ok")
  })

  const aLittleMore = limits.dataBytesMax + 10
  test.each([
    ["announced", aLittleMore],
    ["in chunks", null],
  ])("of a request %s that ends while the system takes it, and all of it arrives", async (_, bodyBytes) => {
    const port = await bench.http(async (request, response) => {
      let bytes = 0
      for await (const chunk of request) bytes += chunk.length
      response.end(String(bytes))
    })
    const answer = await bench.ask(port, {
      method: "POST",
      body: streamOf(new Uint8Array(aLittleMore)),
      ...(bodyBytes === null ? {} : { bodyBytes }),
    })
    expect(await textOf(answer)).toBe(String(aLittleMore))
  })

  test.each([
    ["announced", 1_000_000],
    ["in chunks", null],
  ])("of a request %s whose small pieces wait for the service: they arrive in order, and whole", async (_, announced) => {
    const folder = mkdtempSync(join(tmpdir(), "http-flow-"))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const reading = Promise.withResolvers<void>()
    const server = createServer(async (request, response) => {
      await reading.promise
      const hash = createHash("sha256")
      for await (const chunk of request) hash.update(chunk)
      response.end(hash.digest("hex"))
    })
    const path = join(folder, "service")
    await bench.listen(server, { path })
    bench.policy.services.set(80, { target: { path }, tls: undefined })
    let answer = ""
    const closed = Promise.withResolvers<TunnelError | undefined>()
    const open = { target: { service: 80 }, method: "POST", path: "/", headers: [], bodyBytes: announced }
    const stream = await bench.link.open("http", open, {
      data: (tag, bytes) => {
        if (tag === httpTags.body) answer += Buffer.from(bytes)
      },
      closed: closed.resolve,
    })
    const body = randomBytes(1_000_000)
    for (let at = 0, count = 0; at < body.byteLength; count++) {
      const end = at + 1 + ((count * 37) % 6_000)
      stream.write(httpTags.body, body.subarray(at, end))
      at = end
      // In frames of their own.
      await new Promise<void>((resolve) => setImmediate(resolve))
    }
    stream.finish()
    reading.resolve()
    expect(await closed.promise).toBeUndefined()
    expect(answer).toBe(createHash("sha256").update(body).digest("hex"))
  })
})

describe("[KH6] a client that leaves ends the request at the service", () => {
  test("before the answer", async () => {
    const service = await RawService.start(bench)
    const abort = new AbortController()
    const asked = bench.ask(service.port, { signal: abort.signal })
    const connection = await service.next()
    await connection.until("\r\n\r\n")
    const closed = once(connection.socket, "end")
    abort.abort(new Error("enough"))
    const error: unknown = await asked.catch((reason: unknown) => reason)
    // Whether it was accepted is told with the first of the answer, or some milliseconds later.
    expect(error).toMatchObject({ code: "aborted", delivered: expect.stringMatching(/^(yes|unknown)$/), cause: new Error("enough") })
    await closed
  })

  test("in the middle of the answer, whose body then errors", async () => {
    const service = await RawService.start(bench)
    const abort = new AbortController()
    const asked = bench.ask(service.port, { signal: abort.signal })
    const { socket } = await service.next()
    socket.write(`${chunked}2\r\nab\r\n`)
    const reader = (await asked).body.getReader()
    expect((await reader.read()).value).toEqual(bytesOf("ab"))
    const closed = once(socket, "end")
    abort.abort()
    await expect(reader.read()).rejects.toMatchObject({ code: "aborted" })
    await closed
  })

  test("by cancelling the body", async () => {
    const service = await RawService.start(bench)
    const asked = bench.ask(service.port)
    const { socket } = await service.next()
    socket.write(chunked)
    const closed = once(socket, "end")
    await (await asked).body.cancel("enough")
    await closed
  })

  test("by a body that fails, and the request does not look whole", async () => {
    const service = await RawService.start(bench)
    const source = Promise.withResolvers<ReadableStreamDefaultController<Uint8Array>>()
    const asked = bench.ask(service.port, { method: "POST", body: new ReadableStream({ start: source.resolve }) })
    const failed = expect(asked).rejects.toMatchObject({ code: "aborted", message: expect.stringContaining("no disk") })
    ;(await source.promise).enqueue(bytesOf("half"))
    const connection = await service.next()
    await connection.until("half")
    const closed = once(connection.socket, "end")
    ;(await source.promise).error(new Error("no disk"))
    await failed
    await closed
    expect(connection.text).not.toContain("0\r\n\r\n")
  })

  test.each([
    ["longer", 3],
    ["shorter", 5],
  ])("by a body that is %s than it said", async (_, bodyBytes) => {
    const service = await RawService.start(bench)
    const asked = bench.ask(service.port, { method: "POST", body: streamOf("four"), bodyBytes })
    await expect(asked).rejects.toMatchObject({ code: "bad-request", message: expect.stringContaining(`${bodyBytes}`) })
  })
})

describe("[KH3] a client that breaks the rules is reset, and the service sees that the request is not whole", () => {
  const open = (port: number, bodyBytes: number | null | undefined) => ({
    target: { service: port },
    method: "POST",
    path: "/",
    headers: [],
    ...(bodyBytes === undefined ? {} : { bodyBytes }),
  })

  test.each<[string, number | undefined, number, string, boolean]>([
    ["more than it announced", 3, httpTags.body, "four", false],
    ["less than it announced", 5, httpTags.body, "four", true],
    ["a body it did not announce", undefined, httpTags.body, "four", false],
    ["a head", 4, httpTags.head, "four", false],
  ])("for %s", async (_, bodyBytes, tag, sent, finish) => {
    const service = await RawService.start(bench)
    const closed = Promise.withResolvers<TunnelError | undefined>()
    const stream = await bench.link.open("http", open(service.port, bodyBytes), { data() {}, closed: closed.resolve })
    const { socket } = await service.next()
    const ended = once(socket, "end")
    stream.write(tag, bytesOf(sent))
    if (finish) stream.finish()
    expect(await closed.promise).toMatchObject({ code: "bad-request" })
    await ended
  })
})
