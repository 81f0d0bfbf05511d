import { gzipSync } from "node:zlib"
import type { HeaderList } from "@trunkline/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { HttpRequest } from "../../../client/src/index.ts"
import { bytesOf, HttpBench, RawService, streamOf, textOf } from "./http-bench.ts"

let bench: HttpBench
beforeEach(() => {
  bench = new HttpBench()
})
afterEach(() => bench.close())

const noContent = "HTTP/1.1 204 No Content\r\n\r\n"

/** What the service is sent for the request, to its last byte, and which it then answers. */
async function sentFor(request: Partial<HttpRequest>, end = "\r\n\r\n"): Promise<string> {
  const service = await RawService.start(bench)
  const asked = bench.ask(service.port, request)
  const connection = await service.next()
  const text = await connection.until(end)
  connection.socket.write(noContent)
  expect((await asked).status).toBe(204)
  return text.replace(`localhost:${service.port}`, "localhost:PORT")
}

describe("[KH1] a request", () => {
  test("reaches the service as it was written, header for header", async () => {
    const headers: HeaderList = [
      ["X-One", "1"],
      ["hOST", "shop.example:81"],
      ["x-one", "2"],
      ["X-Latin", "caf\u00e9"],
      ["Cookie", "a=1; b=2"],
      ["Accept-Encoding", "gzip"],
    ]
    expect(await sentFor({ method: "PURGE", path: "/a%20b?c=\u00e9&d", headers })).toBe(
      "PURGE /a%20b?c=\u00e9&d HTTP/1.1\r\nX-One: 1\r\nhOST: shop.example:81\r\nx-one: 2\r\nX-Latin: caf\u00e9\r\nCookie: a=1; b=2\r\nAccept-Encoding: gzip\r\n\r\n",
    )
  })

  test("has its head in Latin-1 also when a body follows", async () => {
    const request = { method: "PUT", headers: [["X-Latin", "\u00ff"]] as HeaderList, body: streamOf("abc"), bodyBytes: 3 }
    expect(await sentFor(request, "abc")).toBe("PUT / HTTP/1.1\r\nHost: localhost:PORT\r\nX-Latin: \u00ff\r\nContent-Length: 3\r\n\r\nabc")
  })

  test("without a Host gets that of its target", async () => {
    expect(await sentFor({ method: "OPTIONS", path: "*" })).toBe("OPTIONS * HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n")
  })

  test("without a body has no length, whatever its method", async () => {
    expect(await sentFor({ method: "POST" })).toBe("POST / HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n")
  })

  const many: HeaderList = Array.from({ length: 1_025 }, (_, at) => [`X-${String(at).padStart(5, "0")}`, "v".repeat(121)])
  test.each<[string, string, Partial<HttpRequest>]>([
    ["a method in small letters", "bad-request", { method: "get" }],
    ["CONNECT", "bad-request", { method: "CONNECT" }],
    [
      "two Hosts",
      "bad-request",
      {
        headers: [
          ["Host", "a"],
          ["host", "b"],
        ],
      },
    ],
    ["a Content-Length that is not the body's", "bad-request", { headers: [["Content-Length", "4"]], bodyBytes: 3, body: streamOf("abc") }],
    ["a Content-Length that is no number", "bad-request", { headers: [["Content-Length", "3, 3"]], bodyBytes: 3, body: streamOf("abc") }],
    [
      "two Content-Lengths",
      "bad-request",
      {
        headers: [
          ["Content-Length", "3"],
          ["content-length", "3"],
        ],
        bodyBytes: 3,
        body: streamOf("abc"),
      },
    ],
    ["a Content-Length and no body", "bad-request", { headers: [["Content-Length", "3"]] }],
    ["a line end in a header", "bad-request", { headers: [["X", "a\r\nY: b"]] }],
    ["a line end in the path", "bad-request", { path: "/\r\nX: y" }],
    ["more than 131,072 bytes of headers", "too-large", { headers: many }],
  ])("with %s is refused before anything is connected", async (_, code, request) => {
    const service = await RawService.start(bench)
    await expect(bench.ask(service.port, request)).rejects.toMatchObject({ code, delivered: "no" })
    await expect(bench.ask(service.port, { method: "Get" })).rejects.toMatchObject({ code: "bad-request" })
    expect(bench.connections + service.unasked).toBe(0)
  })
})

describe("[KH2] a service", () => {
  test("that does not listen is service-refused, delivered no", async () => {
    const port = await bench.tcp(() => {})
    await bench.close()
    bench = new HttpBench()
    const cancelled = Promise.withResolvers<unknown>()
    const body = new ReadableStream<Uint8Array>({ cancel: cancelled.resolve })
    await expect(bench.ask(port, { method: "PUT", body })).rejects.toMatchObject({ code: "service-refused", delivered: "no" })
    await cancelled.promise
  })

  test("that the owner denies is denied", async () => {
    bench.policy.denied = true
    await expect(bench.ask(80)).rejects.toMatchObject({ code: "denied", delivered: "no" })
  })
})

describe("[KH3] a body", () => {
  test("of a known length is sent as it is", async () => {
    const sent = await sentFor({ method: "POST", body: streamOf("hel", "lo"), bodyBytes: 5 }, "hello")
    expect(sent).toBe("POST / HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Length: 5\r\n\r\nhello")
  })

  test("has the length that its header says, where it says it", async () => {
    const headers: HeaderList = [
      ["content-LENGTH", "5"],
      ["X", "y"],
      ["Host", "a"],
    ]
    const sent = await sentFor({ method: "POST", headers, body: streamOf("hello") }, "hello")
    expect(sent).toBe("POST / HTTP/1.1\r\ncontent-LENGTH: 5\r\nX: y\r\nHost: a\r\n\r\nhello")
  })

  test("of no known length is sent in chunks, for a GET too", async () => {
    const sent = await sentFor({ body: streamOf("hello", " world") }, "0\r\n\r\n")
    expect(sent).toMatch(/^GET \/ HTTP\/1.1\r\nHost: localhost:PORT\r\nTransfer-Encoding: chunked\r\n\r\n/)
    const chunks = sent.slice(sent.indexOf("\r\n\r\n") + 4)
    expect(chunks.replaceAll(/[0-9a-f]+\r\n([^\r]*)\r\n/g, "$1")).toBe("hello world")
  })

  test("of no bytes has that length", async () => {
    expect(await sentFor({ method: "POST", bodyBytes: 0 })).toBe("POST / HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Length: 0\r\n\r\n")
    expect(await sentFor({ method: "POST", body: streamOf(), bodyBytes: 0 })).toContain("Content-Length: 0\r\n\r\n")
  })

  test("of several MiB arrives whole, both ways", async () => {
    const port = await bench.http((request, response) => void request.pipe(response))
    const bytes = Uint8Array.from({ length: 5_000_000 }, (_, at) => at * 31)
    const answer = await bench.ask(port, { method: "POST", body: streamOf(bytes.subarray(0, 1_234_567), bytes.subarray(1_234_567)) })
    expect(Buffer.compare(Buffer.from(await new Response(answer.body).arrayBuffer()), bytes)).toBe(0)
  })
})

describe("[KH4] an answer", () => {
  test("comes as the service wrote it, header for header", async () => {
    const port = await bench.saying(
      "HTTP/1.1 299 Tr\u00e8s\u0001 bien\r\nSet-Cookie: a=1\r\nX-b:  2\r\nset-cookie: b=\u00e9\r\nX-B: 3\r\nX-Empty:\r\nContent-Length: 2\r\n\r\nok",
    )
    // The bytes of the service are UTF-8 here, and Latin-1 is how they are passed.
    const latin = (text: string): string => Buffer.from(text).toString("latin1")
    const answer = await bench.ask(port)
    expect({ ...answer, body: await textOf(answer) }).toMatchObject({
      status: 299,
      statusText: latin("Tr\u00e8s bien"),
      headers: [
        ["Set-Cookie", "a=1"],
        ["X-b", "2"],
        ["set-cookie", latin("b=\u00e9")],
        ["X-B", "3"],
        ["X-Empty", ""],
        ["Content-Length", "2"],
      ],
      body: "ok",
    })
  })

  test("may have thousands of headers, and values of a hundred thousand bytes", async () => {
    const lines = Array.from({ length: 3_000 }, (_, at) => `X-${at}: ${at}\r\n`).join("")
    const port = await bench.saying(`HTTP/1.1 200 OK\r\n${lines}X-Long: ${"\xe9".repeat(40_000)}\r\nContent-Length: 0\r\n\r\n`)
    const { headers } = await bench.ask(port)
    expect(headers.length).toBe(3_002)
    expect(headers[2_999]).toEqual(["X-2999", "2999"])
    expect(headers[3_000]?.[1].length).toBe(80_000)
  })

  test.each([
    ["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"],
    ["GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: x\r\n\r\n"],
    ["GET", noContent],
  ])("to %s as %j has no body, whatever length it names", async (method, said) => {
    const answer = await bench.ask(await bench.saying(said), { method })
    expect(await textOf(answer)).toBe("")
    expect(answer.headers.filter(([name]) => name === "Content-Length").length).toBe(said.includes("Length") ? 1 : 0)
  })

  test("in chunks of any size is put together, without extensions and trailers", async () => {
    const port = await bench.saying(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-After\r\n\r\n1;a=b\r\nh\r\n0A\r\nello world\r\n01\r\n!\r\n0\r\nX-After: 1\r\n\r\n",
    )
    const answer = await bench.ask(port)
    expect(answer.headers).toEqual([])
    expect(await textOf(answer)).toBe("hello world!")
  })

  test("of HTTP/1.0 ends where the service closes", async () => {
    const port = await bench.saying("HTTP/1.0 200 OK\r\nX: y\r\n\r\nall of it", (socket) => socket.end())
    const answer = await bench.ask(port)
    expect(await textOf(answer)).toBe("all of it")
  })

  test("keeps its encoding, byte for byte", async () => {
    const zipped = gzipSync("hello")
    const port = await bench.http((_, response) => response.writeHead(200, { "content-encoding": "gzip" }).end(zipped))
    const answer = await bench.ask(port)
    expect(answer.headers).toContainEqual(["content-encoding", "gzip"])
    expect(Buffer.from(await new Response(answer.body).arrayBuffer())).toEqual(zipped)
  })

  test("comes behind what is only said in advance", async () => {
    const port = await bench.saying(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    const answer = await bench.ask(port)
    expect([answer.status, await textOf(answer)]).toEqual([200, "ok"])
  })

  test("is passed on piece by piece as it comes", async () => {
    const service = await RawService.start(bench)
    const asked = bench.ask(service.port)
    const { socket } = await service.next()
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    const reader = (await asked).body.getReader()
    // Each piece is written when the one before it has arrived.
    for (const piece of ["a", "b", "c"]) {
      socket.write(`1\r\n${piece}\r\n`)
      expect(await reader.read()).toEqual({ done: false, value: bytesOf(piece) })
    }
    socket.write("0\r\n\r\n")
    expect((await reader.read()).done).toBe(true)
  })
})

describe("[KH5] headers of a connection", () => {
  test("do not reach the service, nor those that Connection names, nor Expect", async () => {
    const headers: HeaderList = [
      ["Host", "a"],
      ["Connection", "keep-alive, X-Mine, Host, Content-Length"],
      ["X-Mine", "1"],
      ["Keep-Alive", "timeout=5"],
      ["Proxy-Connection", "x"],
      ["TE", "trailers"],
      ["Trailer", "X"],
      ["Transfer-Encoding", "gzip"],
      ["Upgrade", "h2c"],
      ["Expect", "100-continue"],
      ["Content-Length", "2"],
      ["X-Yours", "2"],
    ]
    const sent = await sentFor({ method: "PUT", headers, body: streamOf("ok") }, "ok")
    expect(sent).toBe("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX-Yours: 2\r\n\r\nok")
  })

  test("do not come from the service", async () => {
    const port = await bench.saying(
      "HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=9\r\nUpgrade: h2\r\nX-Yours: 2\r\nContent-Length: 0\r\n\r\n",
    )
    expect((await bench.ask(port)).headers).toEqual([
      ["X-Yours", "2"],
      ["Content-Length", "0"],
    ])
  })
})

describe("[KH7] an answer that comes before the request's body has ended", () => {
  test("is passed on, and both go on beside each other", async () => {
    const port = await bench.http((request, response) => {
      response.flushHeaders()
      request.pipe(response)
    })
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
    const writer = writable.getWriter()
    const answer = await bench.ask(port, { method: "POST", body: readable })
    const reader = answer.body.getReader()
    for (const piece of ["a", "b", "c"]) {
      await writer.write(bytesOf(piece))
      expect((await reader.read()).value).toEqual(bytesOf(piece))
    }
    await writer.close()
    expect((await reader.read()).done).toBe(true)
  })

  test("and ends before it too cancels it, and the service sees that it is not whole", async () => {
    const service = await RawService.start(bench)
    const cancelled = Promise.withResolvers<unknown>()
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(10_000)),
      cancel: (reason) => cancelled.resolve(reason),
    })
    const asked = bench.ask(service.port, { method: "POST", body, bodyBytes: 100_000_000 })
    const { socket } = await service.next()
    const closed = new Promise((resolve) => socket.once("close", resolve))
    socket.write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
    const answer = await asked
    expect([answer.status, await textOf(answer)]).toEqual([413, "big"])
    await cancelled.promise
    socket.on("end", () => socket.end())
    await closed
  })
})
