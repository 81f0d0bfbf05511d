import { execFileSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createServer as createTlsServer } from "node:https"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { HttpBench, RawService, streamOf, textOf } from "./http-bench.ts"

let bench: HttpBench
let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "http-"))
})
afterAll(() => rmSync(directory, { recursive: true }))
beforeEach(() => {
  bench = new HttpBench()
})
afterEach(() => bench.close())

const whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/** Answers with the port of the client's side: the same for requests over one connection. */
const portOfClient = (request: IncomingMessage, response: ServerResponse): void => {
  request.resume()
  const port = String(request.socket.remotePort)
  request.on("end", () => response.setHeader("content-length", port.length).end(port))
}

/** Asks and reads it all. */
const ask = async (...args: Parameters<HttpBench["ask"]>): Promise<string> => textOf(await bench.ask(...args))

/** One that has answered, and waits for the next request. */
async function withIdleConnection() {
  const service = await RawService.start(bench)
  const first = ask(service.port)
  const old = await service.next()
  old.socket.write(whole)
  await first
  return { service, old }
}

describe("[KH8] a connection to a service", () => {
  test("carries one request after the other, with bodies and without", async () => {
    const port = await bench.http(portOfClient)
    const first = await ask(port)
    expect(await ask(port, { method: "POST", body: streamOf("abc") })).toBe(first)
    expect(await ask(port, { method: "HEAD" })).toBe("")
    expect(await ask(port, { method: "PUT", body: streamOf("abc"), bodyBytes: 3 })).toBe(first)
    expect(await ask(port)).toBe(first)
  })

  test("is not used for what the owner has denied since", async () => {
    const port = await bench.http(portOfClient)
    await ask(port)
    bench.policy.denied = true
    await expect(bench.ask(port)).rejects.toMatchObject({ code: "denied" })
  })

  test("that the service closes is not used again", async () => {
    const port = await bench.http((request, response) => {
      response.setHeader("connection", "close")
      portOfClient(request, response)
    })
    expect(await ask(port)).not.toBe(await ask(port))
  })

  test("that the service keeps for no longer than a second is not used again", async () => {
    const port = await bench.saying("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1, max=9\r\nContent-Length: 2\r\n\r\nok", (socket) => {
      socket.on("end", () => socket.end())
    })
    expect(await ask(port)).toBe("ok")
    // The second request would find a service that says nothing more.
    expect(await ask(port)).toBe("ok")
  })

  test("that the service closes while it waits is not used again", async () => {
    const service = await RawService.start(bench)
    for (let round = 0; round < 2; round++) {
      const asked = ask(service.port)
      const { socket } = await service.next()
      socket.write(whole)
      expect(await asked).toBe("ok")
      const closed = once(socket, "close")
      socket.end()
      await closed
    }
  })

  test("that the service closes under a GET is replaced, and the request sent again", async () => {
    const { service, old } = await withIdleConnection()
    const second = ask(service.port, { path: "/second" })
    await old.until("/second")
    old.socket.resetAndDestroy()
    const fresh = await service.next()
    await fresh.until("/second")
    fresh.socket.write(whole)
    expect(await second).toBe("ok")
  })

  test.each([
    ["a POST", { method: "POST" }],
    ["a PUT with a body", { method: "PUT", body: streamOf("abc") }],
  ])("that the service closes under %s is a failure: it may have been done", async (_, request) => {
    const { service, old } = await withIdleConnection()
    const second = ask(service.port, { path: "/second", ...request })
    const failed = expect(second).rejects.toMatchObject({ code: "service-failed", delivered: "yes" })
    await old.until("/second")
    old.socket.resetAndDestroy()
    await failed
    expect(service.unasked).toBe(0)
  })

  test("that the service closes in the middle of the second answer is a failure", async () => {
    const { service, old } = await withIdleConnection()
    const second = ask(service.port, { path: "/second" })
    await old.until("/second")
    old.socket.end("HTTP/1.1 20")
    await expect(second).rejects.toMatchObject({ code: "service-failed" })
    expect(service.unasked).toBe(0)
  })

  test("that carries no request waits with 31 others at most", async () => {
    const gate = Promise.withResolvers<void>()
    let asked = 0
    const port = await bench.http((_, response) => {
      asked += 1
      if (asked === 60) gate.resolve()
      gate.promise.then(() => response.end("ok"))
    })
    const answers = await Promise.all(Array.from({ length: 60 }, () => ask(port)))
    expect(answers).toEqual(Array.from({ length: 60 }, () => "ok"))
    while (bench.connections > 32) await new Promise<void>((resolve) => setImmediate(resolve))
    await ask(port)
    expect(bench.connections).toBe(32)
  })
})

describe("a service on a unix socket", () => {
  test("answers as any other", async () => {
    const path = join(directory, "service.sock")
    await bench.listen(
      createServer((request, response) => response.end(`${request.headers.host} ${request.url}`)),
      { path },
    )
    expect(await ask(0, { target: { path }, path: "/a" })).toBe("localhost /a")
  })

  test("that is not there is service-refused", async () => {
    const path = join(directory, "nobody.sock")
    await expect(bench.ask(0, { target: { path } })).rejects.toMatchObject({ code: "service-refused" })
  })
})

describe("a service that speaks TLS", () => {
  let key: string
  let cert: string
  beforeAll(() => {
    const at = (name: string): string => join(directory, name)
    const names = "subjectAltName=DNS:shop.test,IP:127.0.0.1"
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    const subject = ["-subj", "/CN=shop.test", "-addext", names, "-days", "2"]
    execFileSync("openssl", ["req", "-x509", ...curve, ...subject, "-keyout", at("key.pem"), "-out", at("cert.pem")], { stdio: "ignore" })
    key = readFileSync(at("key.pem"), "utf8")
    cert = readFileSync(at("cert.pem"), "utf8")
  })

  async function secureService(): Promise<number> {
    const server = createTlsServer({ key, cert, keepAliveTimeout: 60_000 }, portOfClient)
    // What a client that does not believe us does is its own affair.
    server.on("tlsClientError", () => {})
    return await bench.listen(server)
  }

  test("is asked with any certificate where nobody wants it verified, again and again over one connection", async () => {
    const port = await secureService()
    const target = { host: "localhost", port, tls: { verify: false } }
    const first = await ask(0, { target })
    expect(await ask(0, { target, method: "POST", body: streamOf("x".repeat(300_000)) })).toBe(first)
  })

  test("is service-failed with a certificate that nobody has signed, and the error says what to do", async () => {
    const target = { host: "shop.test", port: await secureService(), tls: { verify: true } }
    const message = expect.stringMatching(/certificate of shop\.test:\d+ is not accepted: self-signed certificate; .*https\+insecure/)
    await expect(bench.ask(0, { target })).rejects.toMatchObject({ code: "service-failed", message })
  })

  describe("with a certificate that is trusted", () => {
    const trusted = getCACertificates("default")
    beforeAll(() => setDefaultCACertificates([...trusted, cert]))
    afterAll(() => setDefaultCACertificates(trusted))

    test.each(["shop.test", "127.0.0.1"])("is asked by its name %s", async (host) => {
      const target = { host, port: await secureService(), tls: { verify: true } }
      expect(await ask(0, { target })).toMatch(/^\d+$/)
    })

    test("is service-failed by another name", async () => {
      const target = { host: "other.test", port: await secureService(), tls: { verify: true } }
      await expect(bench.ask(0, { target })).rejects.toMatchObject({
        code: "service-failed",
        message: expect.stringContaining("other.test"),
      })
    })

    test("on a unix socket is asked by the name of the request", async () => {
      const path = join(directory, "tls.sock")
      await bench.listen(
        createTlsServer({ key, cert }, (request, response) => response.end(request.headers.host)).on("tlsClientError", () => {}),
        { path },
      )
      const target = { path, tls: { verify: true } }
      expect(await ask(0, { target, headers: [["Host", "shop.test:8443"]] })).toBe("shop.test:8443")
      await expect(bench.ask(0, { target, headers: [["Host", "other.test"]] })).rejects.toMatchObject({ code: "service-failed" })
    })
  })

  test("is named as such to who asks without", async () => {
    await expect(bench.ask(await secureService())).rejects.toMatchObject({
      code: "service-failed",
      message: expect.stringMatching(/speaks TLS|closed the connection/),
    })
  })

  test("and does not, is service-failed", async () => {
    const plain = await bench.listen(createServer(portOfClient).on("clientError", (_, socket) => socket.end("HTTP/1.1 400 Bad\r\n\r\n")))
    const target = { host: "localhost", port: plain, tls: { verify: false } }
    await expect(bench.ask(0, { target })).rejects.toMatchObject({
      code: "service-failed",
      message: expect.stringContaining("no TLS with"),
    })
  })

  test("and leaves in the middle of the handshake, is service-failed", async () => {
    const target = { host: "localhost", port: await bench.tcp((socket) => socket.once("data", () => socket.end())), tls: { verify: false } }
    await expect(bench.ask(0, { target })).rejects.toMatchObject({ code: "service-failed", message: expect.stringContaining("handshake") })
  })

  test("may be what the owner has named a port", async () => {
    const port = await secureService()
    bench.policy.services.set(80, { target: { host: "127.0.0.1", port }, tls: { verify: false } })
    expect(await ask(80)).toMatch(/^\d+$/)
  })
})
