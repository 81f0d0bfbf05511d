/** Memory of frames that is given back once they are written: never before, and never anybody else's. */

import { execFileSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer, type Server } from "node:http"
import { createServer as createTlsServer } from "node:https"
import type { AddressInfo, Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { SeededRandom } from "@trunkline/protocol/testing"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { giveBackWrittenFrames } from "../../src/agent/written-frames.ts"

let folder: string
const at = (file: string) => join(folder, file)
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "frames-"))
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
  const files = ["-subj", "/CN=localhost", "-keyout", at("key.pem"), "-out", at("cert.pem")]
  execFileSync("openssl", ["req", "-x509", ...curve, ...files], { stdio: "ignore" })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let server: Server
let webSocket: WebSocket
afterEach(() => {
  webSocket.terminate()
  server.close()
})

/** Two ends of a WebSocket, of which the first gives its frames back. */
async function connect(scheme: "ws" | "wss") {
  server = scheme === "ws" ? createServer() : createTlsServer({ key: readFileSync(at("key.pem")), cert: readFileSync(at("cert.pem")) })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const sockets = new WebSocketServer({ server, maxPayload: 1_048_576 })
  const url = `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`
  webSocket = new WebSocket(url, { perMessageDeflate: false, rejectUnauthorized: false })
  /** What the library has written, as the socket was given it. */
  const written: Uint8Array[] = []
  webSocket.once("upgrade", ({ socket }: { readonly socket: Socket }) => {
    const write = socket.write.bind(socket) as (bytes: Uint8Array, written?: () => void) => boolean
    socket.write = ((bytes: Uint8Array, done?: () => void) => {
      written.push(bytes)
      return write(bytes, done)
    }) as Socket["write"]
    giveBackWrittenFrames(socket)
  })
  const [[far]] = (await Promise.all([once(sockets, "connection"), once(webSocket, "open")])) as [[WebSocket], unknown]
  return { near: webSocket, far, written }
}

const sent = (socket: WebSocket, message: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => socket.send(message, (error) => (error == null ? resolve() : reject(error))))
const detached = ({ buffer }: Uint8Array): boolean => (buffer as ArrayBuffer).detached

describe.each(["ws", "wss"] as const)("frames of a WebSocket by %s", (scheme) => {
  test("are given back once the system has taken them, and the message that was sent is not", async () => {
    const { near, written } = await connect(scheme)
    const message = new Uint8Array(100_000)
    await sent(near, message)
    expect(written.map(detached)).toEqual([true])
    expect(detached(message)).toBe(false)
  })

  test("are kept while the system does not take them, and arrive unchanged when it does", async () => {
    const { near, far, written } = await connect(scheme)
    far.pause()
    // Used again for each message, as soon as it is handed over.
    const message = new Uint8Array(1_000_000)
    for (let count = 0; count < 40; count++) near.send(message.fill(count))
    await new Promise((resolve) => setImmediate(resolve))
    const waiting = written.filter((frame) => !detached(frame)).length
    expect(waiting).toBeGreaterThan(0)
    const heard: Buffer[] = []
    const whole = Promise.withResolvers<void>()
    far.on("message", (data: Buffer) => {
      heard.push(data)
      if (heard.length === 40) whole.resolve()
    })
    far.resume()
    await whole.promise
    for (const [count, data] of heard.entries()) expect(data.equals(message.fill(count)), `message ${count}`).toBe(true)
    await sent(near, message)
    expect(written.every(detached)).toBe(true)
  })

  test("of every size arrive unchanged and in order, between pings and texts", async () => {
    const random = new SeededRandom(7)
    const { near, far } = await connect(scheme)
    const expected: Buffer[] = []
    const heard: Buffer[] = []
    const pings: string[] = []
    const whole = Promise.withResolvers<void>()
    far.on("ping", (data: Buffer) => pings.push(data.toString()))
    far.on("message", (data: Buffer) => {
      heard.push(data)
      if (heard.length === 500) whole.resolve()
    })
    for (let count = 0; count < 500; count++) {
      const length = random.pick([random.integer(1, 200), random.integer(200, 40_000), random.integer(40_000, 200_000)])
      const message = Buffer.alloc(length, `${count} `)
      expected.push(message)
      near.send(random.chance(20) ? message.toString() : message)
      if (count % 50 === 0) near.ping(`ping ${count}`)
      if (random.chance(10)) await new Promise((resolve) => setImmediate(resolve))
    }
    await whole.promise
    for (const [count, data] of expected.entries()) expect(data.equals(heard[count] ?? Buffer.alloc(0)), `message ${count}`).toBe(true)
    expect(pings).toEqual(Array.from({ length: 10 }, (_, index) => `ping ${index * 50}`))
  })

  test("that will never be written are no trouble", async () => {
    const { near, far } = await connect(scheme)
    far.pause()
    const ended = Array.from({ length: 40 }, () =>
      sent(near, new Uint8Array(1_000_000)).then(
        () => "sent",
        () => "dropped",
      ),
    )
    near.terminate()
    expect(await Promise.all(ended)).toContain("dropped")
  })
})
