import { once } from "node:events"
import type { Socket } from "node:net"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { HttpBench, RawService, readToBreak, textOf } from "./http-bench.ts"

let bench: HttpBench
beforeEach(() => {
  bench = new HttpBench()
})
afterEach(() => bench.close())

const failure = (message: RegExp | string) => ({
  code: "service-failed",
  delivered: "yes",
  message: typeof message === "string" ? expect.stringContaining(message) : expect.stringMatching(message),
})

describe("[KH4] what is no answer is service-failed, and says why", () => {
  test.each<[string, string | Uint8Array, RegExp]>([
    ["another protocol's greeting", "SSH-2.0-OpenSSH_9.6\r\n", /port \d+ does not answer in HTTP\/1\.1: .*"SSH-2.0-OpenSSH_9.6\.\."/],
    ["an alert of TLS", Uint8Array.of(21, 3, 1, 0, 2, 2, 70), /it speaks TLS there; ask for https/],
    ["a length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", /Content-Length/],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", /Content-Length/],
    ["a length below nothing", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", /Content-Length/],
    ["a length beyond numbers", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", /Content-Length/],
    ["a header with a NUL", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n", /header/],
    ["a header without a colon", "HTTP/1.1 200 OK\r\nX\r\n\r\n", /does not answer in HTTP\/1\.1/],
    ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", /status/i],
    ["a status below all", "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n", /status/i],
    ["another version", "HTTP/7.3 200 OK\r\n\r\n", /version/i],
    ["a switch to another protocol", "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", /was not asked to/],
    ["a switch to none", "HTTP/1.1 101 Switching\r\n\r\n", /was not asked to/],
  ])("%s", async (_, said, message) => {
    const closed = Promise.withResolvers<unknown>()
    const port = await bench.saying(said, (socket) => {
      socket.once("close", closed.resolve)
      socket.once("end", () => socket.end())
      socket.resume()
    })
    await expect(bench.ask(port)).rejects.toMatchObject(failure(message))
    await closed.promise
  })

  test.each<[string, (socket: Socket) => void]>([
    ["an end", (socket) => socket.end()],
    ["a reset", (socket) => socket.resetAndDestroy()],
  ])("%s without a word", async (_, end) => {
    const port = await bench.tcp((socket) => socket.once("data", () => end(socket)))
    await expect(bench.ask(port)).rejects.toMatchObject(failure("closed the connection without an answer"))
  })

  test("headers without an end", async () => {
    const line = `X-More: ${"a".repeat(8_000)}\r\n`
    const closed = Promise.withResolvers<unknown>()
    const port = await bench.saying("HTTP/1.1 200 OK\r\n", (socket) => {
      socket.once("close", closed.resolve)
      const more = (): void => {
        while (!socket.destroyed && socket.write(line));
      }
      socket.on("drain", more)
      more()
    })
    await expect(bench.ask(port)).rejects.toMatchObject(failure("longer than 131072 bytes"))
    await closed.promise
  })

  test("a status line without an end", async () => {
    const port = await bench.saying(`HTTP/1.1 200 ${"O".repeat(200_000)}`)
    await expect(bench.ask(port)).rejects.toMatchObject(failure("longer than 131072 bytes"))
  })
})

describe("[KH4] a body that breaks off errors behind what has come of it", () => {
  test.each<[string, string, (socket: Socket) => void, RegExp]>([
    [
      "of a known length, by an end",
      "Content-Length: 9\r\n\r\nhalf",
      (socket) => socket.end(),
      /after 4 bytes of the body: it closed the connection/,
    ],
    ["of a known length, by a reset", "Content-Length: 9\r\n\r\nhalf", (socket) => socket.resetAndDestroy(), /after 4 bytes/],
    ["in chunks, by an end", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", (socket) => socket.end(), /after 4 bytes/],
    ["in chunks, inside of one", "Transfer-Encoding: chunked\r\n\r\n9\r\nhalf", (socket) => socket.end(), /after 4 bytes/],
    [
      "in chunks, by nonsense",
      "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
      (socket) => socket.write("zz\r\n"),
      /after 4 bytes.*chunk/,
    ],
    ["until the end, by a reset", "\r\nhalf", (socket) => socket.resetAndDestroy(), /after 4 bytes/],
  ])("%s", async (_, rest, end, message) => {
    const service = await RawService.start(bench)
    const asked = bench.ask(service.port)
    const { socket } = await service.next()
    socket.write(`HTTP/1.1 200 OK\r\n${rest}`)
    const answer = await asked
    const reader = answer.body.getReader()
    const first = await reader.read()
    expect(new TextDecoder().decode(first.value)).toBe("half")
    end(socket)
    await expect(reader.read()).rejects.toMatchObject(failure(message))
  })

  test("and what had come before anybody read is still read", async () => {
    const port = await bench.saying("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", (socket) => setImmediate(() => socket.end()))
    const answer = await bench.ask(port)
    const stream = bench.streams[0]
    while (stream?.phase !== "closed") await new Promise<void>((resolve) => setImmediate(resolve))
    expect(await readToBreak(answer)).toMatchObject({ text: "half", error: failure("after 4 bytes") })
  })
})

describe("[KH4] what stands behind an answer is nobody's answer", () => {
  const whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

  test.each([
    ["nonsense", "nonsense\r\n\r\n"],
    ["another answer", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"],
  ])("%s in the same breath", async (_, behind) => {
    const port = await bench.tcp((socket) => socket.on("data", () => socket.write(whole + behind)))
    for (let round = 0; round < 2; round++) expect(await textOf(await bench.ask(port))).toBe("ok")
  })

  test("another answer on a connection that waits", async () => {
    const service = await RawService.start(bench)
    const first = bench.ask(service.port)
    const { socket } = await service.next()
    socket.write(whole)
    expect(await textOf(await first)).toBe("ok")
    socket.on("end", () => socket.end())
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    await once(socket, "close")
    const second = bench.ask(service.port)
    const fresh = await service.next()
    fresh.socket.write(whole)
    expect(await textOf(await second)).toBe("ok")
  })
})
