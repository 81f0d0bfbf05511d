/** A web application at the agent in a real browser: signed in by a ticket, at home on a host of its own, with everything that a page may use live. */
import { once } from "node:events"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { Browser, BrowserContext, Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { WebSocketServer } from "ws"
import { openBrowser } from "./chromium.ts"
import { World } from "./world.ts"

const name = "web"

let world: World
let server: Server
let browser: Browser
let context: BrowserContext
let page: Page
/** What the service was asked, the newest last. */
const asked: IncomingMessage[] = []
/** Ends the event stream that is open. */
const streams = new Set<ServerResponse>()

beforeAll(async () => {
  world = await World.start()
  server = createServer(serve).listen(0, "127.0.0.1")
  await once(server, "listening")
  new WebSocketServer({ server, path: "/socket", handleProtocols: (offered) => [...offered].at(-1) ?? false }).on(
    "connection",
    (socket) => {
      socket.on("message", (data, binary) => socket.send(data, { binary }))
      socket.on("close", (code, reason) => closes.push(`${code} ${reason}`))
    },
  )
  await world.agent(name)
  browser = await openBrowser()
  context = await browser.newContext()
  page = await context.newPage()
}, 60_000)
afterAll(async () => {
  await browser?.close()
  server?.closeAllConnections()
  server?.close()
  await world?.stop()
})

const closes: string[] = []

function serve(request: IncomingMessage, response: ServerResponse): void {
  asked.push(request)
  switch (request.url?.split("?")[0]) {
    case "/":
      response.setHeader("set-cookie", ["theirs=1; Path=/", "other=2; Path=/"])
      response.setHeader("content-type", "text/html").end("<!doctype html><title>the app</title><h1>at home</h1>")
      return
    case "/events": {
      response.writeHead(200, { "content-type": "text/event-stream" })
      streams.add(response)
      // As such services do: a server that writes nothing does not hear of who has hung up, and workerd is no other.
      const beat = setInterval(() => response.write(":\n"), 100)
      response.on("close", () => {
        clearInterval(beat)
        streams.delete(response)
      })
      response.write(`id: 1\ndata: ${request.headers["last-event-id"] ?? "first"}\n\n`)
      return
    }
    case "/upload": {
      // Says how much has come each time some has.
      response.writeHead(200, { "content-type": "application/octet-stream" })
      let bytes = 0
      request.on("data", (chunk: Buffer) => {
        bytes += chunk.byteLength
        response.write(`${bytes}\n`)
      })
      request.on("end", () => response.end("end\n"))
      return
    }
    default:
      response.writeHead(404).end("no such page")
  }
}

const port = (): number => (server.address() as AddressInfo).port

async function signInUrl(): Promise<{ readonly url: string; readonly enterUrl: string }> {
  const response = await world.fetch("/v1/tickets", { method: "POST", body: JSON.stringify({ agent: name, http: port() }) })
  expect(response.status).toBe(201)
  return (await response.json()) as { url: string; enterUrl: string }
}

describe("a browser", () => {
  test("that has not signed in is told how to, and reaches nothing", async () => {
    const { url } = await signInUrl()
    expect(url).toBe(`http://${port()}--${name}.localhost:${world.port}/`)
    const before = asked.length
    const answer = await page.goto(url)
    expect(answer?.status()).toBe(401)
    expect(await page.textContent("body")).toContain(`trunkline http ${name} ${port()}`)
    expect(asked.length).toBe(before)
  })

  test("signs in by a link that works once, and is at home with the service's own cookies alone", async () => {
    const { url, enterUrl } = await signInUrl()
    const urls: string[] = []
    page.on("request", (request) => urls.push(request.url().split("#")[0] ?? ""))
    await page.goto(enterUrl)
    await page.waitForURL(url)
    expect(await page.textContent("h1")).toBe("at home")
    // No credential was in any URL that left the browser.
    expect(urls.join("\n")).not.toContain(new URL(enterUrl).hash.slice(1))
    await page.reload()
    expect(asked.at(-1)?.headers.cookie).toBe("theirs=1; other=2")
    expect(asked.at(-1)?.headers.host).toBe(new URL(url).host)
    expect(asked.at(-1)?.headers["x-forwarded-host"]).toBe(new URL(url).host)
    expect(await page.evaluate(() => document.cookie)).toBe("theirs=1; other=2")
    const stranger = await (await browser.newContext()).newPage()
    await stranger.goto(enterUrl)
    await stranger.waitForFunction(() => document.body.textContent?.includes("ticket") === true)
    expect(await stranger.title()).not.toBe("the app")
    await stranger.context().close()
  })

  test("gets each event of an EventSource as it is sent, and comes back with the last id when the stream ends", async () => {
    await page.evaluate(() => {
      const events: string[] = []
      Object.assign(globalThis, { events })
      new EventSource("/events").onmessage = ({ data }) => events.push(data)
    })
    const seen = (text: string) =>
      page.waitForFunction((text) => (globalThis as unknown as { events: string[] }).events.includes(text), text)
    await seen("first")
    for (const text of ["one", "two", "three"]) {
      for (const stream of streams) stream.write(`id: ${text}\nretry: 50\ndata: ${text}\n\n`)
      await seen(text)
    }
    for (const stream of streams) stream.end()
    // The page's next request says where it was.
    await world.until(() => asked.at(-1)?.headers["last-event-id"] === "three")
    await page.reload()
    await world.until(() => streams.size === 0)
  })

  test("reads an answer while it still comes, and stops the service when it has seen enough", async () => {
    const lines = await page.evaluate(async () => {
      const response = await fetch("/upload", { method: "POST", body: new Uint8Array(3_000_000) })
      return (await response.text()).trim().split("\n")
    })
    expect(lines.slice(-2)).toEqual(["3000000", "end"])
    await page.evaluate(async () => {
      const stop = new AbortController()
      const response = await fetch("/events", { signal: stop.signal })
      await response.body?.getReader().read()
      stop.abort()
    })
    await world.until(() => streams.size === 0)
  })

  test("talks over a WebSocket: text, bytes, a subprotocol, and a close with its reason", async () => {
    const said = await page.evaluate(async () => {
      const socket = new WebSocket(`ws://${location.host}/socket`, ["chat", "super-chat"])
      socket.binaryType = "arraybuffer"
      await new Promise((resolve) => socket.addEventListener("open", resolve, { once: true }))
      const echo = (message: string | Uint8Array<ArrayBuffer>) =>
        new Promise<unknown>((resolve) => {
          socket.addEventListener("message", ({ data }) => resolve(data), { once: true })
          socket.send(message)
        })
      const text = await echo("grüße")
      const bytes = (await echo(new Uint8Array(1_500_000).fill(7))) as ArrayBuffer
      const closed = new Promise<number>((resolve) => socket.addEventListener("close", ({ code }) => resolve(code), { once: true }))
      socket.close(4321, "enough")
      return { protocol: socket.protocol, text, bytes: bytes.byteLength, last: new Uint8Array(bytes).at(-1), code: await closed }
    })
    expect(said).toEqual({ protocol: "super-chat", text: "grüße", bytes: 1_500_000, last: 7, code: 4321 })
    await world.until(() => closes.length > 0)
    expect(closes).toEqual(["4321 enough"])
  })

  test("is not used by pages of other origins: neither their sockets nor their forms get in", async () => {
    const { url } = await signInUrl()
    const foreign = createServer((_request, response) => response.setHeader("content-type", "text/html").end("<!doctype html>")).listen(0)
    await once(foreign, "listening")
    const evil = await context.newPage()
    await evil.goto(`http://evil.localhost:${(foreign.address() as AddressInfo).port}/`)
    const before = asked.length
    const result = await evil.evaluate(async (url) => {
      const socket = new WebSocket(`${url.replace("http", "ws")}socket`)
      const opened = await new Promise((resolve) => {
        socket.onopen = () => resolve(true)
        socket.onerror = () => resolve(false)
      })
      const posted = await fetch(`${url}upload`, { method: "POST", body: "x", credentials: "include", mode: "no-cors" }).then(
        (response) => response.type,
        () => "failed",
      )
      return { opened, posted }
    }, url)
    expect(result.opened).toBe(false)
    expect(asked.length).toBe(before)
    await evil.close()
    foreign.close()
  })
})
