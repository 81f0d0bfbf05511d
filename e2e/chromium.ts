/** A real browser, and a page in it that holds the SDK and comes from an origin of its own. */
import { once } from "node:events"
import { accessSync, constants } from "node:fs"
import { createServer, type Server } from "node:http"
import { delimiter, join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { type Browser, chromium, type Page } from "playwright-core"

/** What a browser would look up and fetch by itself, and the sandbox that root cannot have. */
const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
]

const page = `<!doctype html><title>page</title><script type="module">
import * as sdk from "/sdk.js"
globalThis.sdk = sdk
</script>`

export interface SdkPage {
  readonly page: Page
  /** The page's origin, which is not the gateway's. */
  readonly origin: string
  /** Every URL that the page has asked for, sockets included. */
  readonly urls: readonly string[]
  close(): Promise<void>
}

export const openBrowser = (): Promise<Browser> => chromium.launch({ executablePath: findChromium(), args: flags })

/** `globalThis.sdk` in the page is `@trunkline/client`, as a bundler makes it for browsers. */
export async function openSdkPage(): Promise<SdkPage> {
  const server = await servePage(await bundle())
  const address = server.address()
  const origin = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
  let browser: Browser | undefined
  const close = async () => {
    await browser?.close()
    server.closeAllConnections()
    server.close()
  }
  try {
    browser = await openBrowser()
    const page = await browser.newPage()
    const urls: string[] = []
    page.on("request", (request) => urls.push(request.url()))
    page.on("websocket", (socket) => urls.push(socket.url()))
    await page.goto(origin)
    await page.waitForFunction(() => "sdk" in globalThis)
    return { page, origin, urls, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function bundle(): Promise<Uint8Array> {
  const entry = fileURLToPath(new URL("../packages/client/src/index.ts", import.meta.url))
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    platform: "browser",
    format: "esm",
    target: "es2024",
  })
  const [file] = outputFiles
  if (file === undefined) throw new Error("esbuild made no bundle")
  return file.contents
}

async function servePage(sdk: Uint8Array): Promise<Server> {
  const server = createServer((request, response) => {
    const script = request.url === "/sdk.js"
    response.setHeader("content-type", script ? "text/javascript" : "text/html").end(script ? sdk : page)
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return server
}

/** Under either of the names that distributions give it. */
function findChromium(): string {
  const { PATH = "" } = process.env
  for (const folder of PATH.split(delimiter)) {
    for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
      try {
        const path = join(folder, name)
        accessSync(path, constants.X_OK)
        return path
      } catch {
        // Not here.
      }
    }
  }
  throw new Error("the browser tests need Chromium in PATH; `pnpm test` installs it on Debian (package chromium)")
}
