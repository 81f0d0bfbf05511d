/** An unchanged curl through the gateway to an unchanged nginx at the agent. */
import { createHash } from "node:crypto"
import { once } from "node:events"
import { createReadStream } from "node:fs"
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { noise } from "./differential/case.ts"
import { execute, type LocalServer, startNginx } from "./local-servers.ts"
import { World } from "./world.ts"

const name = "web"
/** Bytes of what is sent up and down. */
const fileBytes = Number(process.env.TRUNKLINE_CURL_BYTES ?? 67_108_864)
const smallBytes = 1_000_000
const slowBytes = 300_000
const longTestMs = 120_000
const text = "a text that can be made smaller, line by line\n".repeat(2_000)

let world: World
let nginx: LocalServer
let folder: string
const www = (file: string): string => join(nginx.folder, "www", file)

beforeAll(async () => {
  world = await World.start()
  nginx = await startNginx([
    "gzip on; gzip_types text/plain; types { text/plain txt; }",
    "location /up/ { dav_methods PUT DELETE MKCOL; }",
    "location /slow { limit_rate 400k; }",
    "absolute_redirect off;",
    "location /moved { return 302 /file; }",
    "location /gone { return 410; }",
    'location /headers { add_header Set-Cookie a=1; add_header Set-Cookie b=2; return 200 "$http_host $http_x_forwarded_for $http_authorization\\n"; }',
  ])
  folder = await mkdtemp(join(tmpdir(), "trunkline-curl-"))
  await mkdir(www("up"))
  await writeFile(www("file"), noise(fileBytes))
  await writeFile(www("small"), noise(smallBytes))
  await writeFile(www("slow"), noise(slowBytes))
  await writeFile(www("text.txt"), text)
  await writeFile(join(folder, "credentials"), `Authorization: Bearer ${world.secret}\n`, { mode: 0o600 })
  await world.agent(name)
}, longTestMs)
afterAll(async () => {
  await world?.stop()
  await nginx?.stop()
  await rm(folder, { recursive: true, force: true })
})

const byPath = (path: string, port = nginx.port): string => `${world.url.replace(/\/$/, "")}/v1/agents/${name}/http/${port}${path}`
/** curl knows by itself where names below localhost are. */
const byHost = (path: string, port = nginx.port): string => `http://${port}--${name}.localhost:${world.port}${path}`
const forms = [
  ["by path", byPath],
  ["by host", byHost],
] as const

interface Printed {
  readonly code: number
  readonly stdout: string
}

/** Runs curl with the credentials from a file: what it prints, and how it ends. */
async function curl(...args: readonly string[]): Promise<Printed> {
  const own = ["-sS", "--noproxy", "*", "-H", `@${join(folder, "credentials")}`]
  try {
    const { stdout } = await execute("curl", [...own, ...args], { maxBuffer: 10_000_000, encoding: "latin1" })
    return { code: 0, stdout }
  } catch (error) {
    const { code, stdout } = error as { code: number; stdout: string }
    return { code, stdout }
  }
}

const out = (file: string): string => join(folder, file)

async function hashOf(file: string): Promise<string> {
  const hash = createHash("sha256")
  await pipeline(createReadStream(file), hash)
  return hash.digest("hex")
}

async function expectEqual(left: string, right: string): Promise<void> {
  expect((await stat(left)).size).toBe((await stat(right)).size)
  expect(await hashOf(left)).toBe(await hashOf(right))
}

describe.each(forms)("curl and nginx, %s", (form, url) => {
  test("a large file comes down whole", { timeout: longTestMs }, async () => {
    const printed = await curl("-o", out(form), "-w", "%{http_code} %{size_download}", url("/file"))
    expect(printed).toEqual({ code: 0, stdout: `200 ${fileBytes}` })
    await expectEqual(out(form), www("file"))
  })

  test.each([
    ["sized", ["-T", "FILE"], 201],
    ["in chunks", ["-T", "FILE", "-H", "Transfer-Encoding: chunked"], 204],
    ["in chunks, from a pipe that curl does not know the end of", ["-X", "PUT", "-T", "-"], 204],
  ])("and goes up, %s", { timeout: longTestMs }, async (_, args, status) => {
    const target = `/up/${form.replace(" ", "-")}`
    const given = args.map((arg) => (arg === "FILE" ? www("file") : arg))
    const printed = args.includes("-")
      ? await piped(www("file"), [...given, "-w", "%{http_code}", url(target)])
      : await curl(...given, "-w", "%{http_code}", url(target))
    expect(printed).toEqual({ code: 0, stdout: String(status) })
    await expectEqual(www(target.slice(1)), www("file"))
  })

  test("at a limited rate, curl's and nginx's", async () => {
    const printed = await curl("--limit-rate", "2M", "-o", out(form), "-w", "%{http_code}", url("/small"))
    expect(printed).toEqual({ code: 0, stdout: "200" })
    await expectEqual(out(form), www("small"))
    expect(await curl("-o", out(form), "-w", "%{http_code}", url("/slow"))).toEqual({ code: 0, stdout: "200" })
    await expectEqual(out(form), www("slow"))
    const up = await curl("--limit-rate", "2M", "-T", www("small"), "-w", "%{http_code}", url("/up/limited"))
    expect(up).toMatchObject({ code: 0, stdout: expect.stringMatching(/^20[14]$/) })
    await expectEqual(www("up/limited"), www("small"))
  })

  test("in ranges, one and several, and one that is not there", async () => {
    const file = await readFile(www("small"))
    const one = await curl("-r", "1000-1999", "-w", "%{http_code}", url("/small"))
    expect(one.stdout).toBe(`${file.subarray(1_000, 2_000).toString("latin1")}206`)
    const last = await curl("-r", "-5", url("/small"))
    expect(last.stdout).toBe(file.subarray(-5).toString("latin1"))
    const several = await curl("-D", out("head"), "-r", "0-9,500-509", url("/small"))
    const [, boundary = ""] = /multipart\/byteranges; boundary=(\S+)/.exec(await readFile(out("head"), "utf8")) ?? []
    const part = (from: number, to: number): string =>
      `\r\n--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes ${from}-${to}/${smallBytes}\r\n\r\n${file.subarray(from, to + 1).toString("latin1")}`
    expect(several.stdout).toBe(`${part(0, 9)}${part(500, 509)}\r\n--${boundary}--\r\n`)
    const none = await curl("-r", `${smallBytes}-`, "-o", out("none"), "-w", "%{http_code}", url("/small"))
    expect(none.stdout).toBe("416")
  })

  test("a download that was cut short is continued", async () => {
    await writeFile(out("half"), (await readFile(www("small"))).subarray(0, 333_333))
    expect(await curl("-C", "-", "-o", out("half"), url("/small"))).toMatchObject({ code: 0 })
    await expectEqual(out("half"), www("small"))
  })

  test("the head alone is what it is with the body", async () => {
    await curl("-D", out("get"), "-o", out("body"), url("/small"))
    const { stdout } = await curl("-I", url("/small"))
    const lines = (head: string): string[] =>
      head
        .split("\r\n")
        .filter((line) => !/^date:/i.test(line))
        .sort()
    expect(lines(stdout)).toEqual(lines(await readFile(out("get"), "latin1")))
    expect(stdout).toMatch(new RegExp(`^content-length: ${smallBytes}\r$`, "im"))
  })

  test("what nginx has compressed comes compressed, and plain to who asks for that", async () => {
    const decoded = await curl("--compressed", "-o", out("decoded"), "-w", "%{size_download}", url("/text.txt"))
    expect(await readFile(out("decoded"), "latin1")).toBe(text)
    expect(Number(decoded.stdout)).toBeLessThan(text.length / 10)
    const raw = await curl("-H", "Accept-Encoding: gzip", "-D", out("head"), "-o", out("raw.gz"), url("/text.txt"))
    expect(raw.code).toBe(0)
    expect(await readFile(out("head"), "latin1")).toMatch(/^content-encoding: gzip\r$/im)
    const { stdout } = await execute("gzip", ["-dc", out("raw.gz")])
    expect(stdout).toBe(text)
    expect((await curl("-H", "Accept-Encoding: identity", url("/text.txt"))).stdout).toBe(text)
  })

  test("what has not changed is a 304", async () => {
    await curl("--etag-save", out("etag"), "-o", out("body"), url("/small"))
    const again = await curl("--etag-compare", out("etag"), "-o", out("again"), "-w", "%{http_code} %{size_download}", url("/small"))
    expect(again).toEqual({ code: 0, stdout: "304 0" })
    const since = await curl("-z", www("small"), "-o", out("again"), "-w", "%{http_code}", url("/small"))
    expect(since.stdout).toBe("304")
  })

  test("several URLs go over one connection", async () => {
    const urls = ["/small", "/text.txt", "/gone", "/missing", "/small"].flatMap((path) => ["-o", out("many"), url(path)])
    const { code, stdout } = await curl("-w", "%{http_code} %{num_connects}\n", ...urls)
    expect({ code, lines: stdout.trim().split("\n") }).toEqual({ code: 0, lines: ["200 1", "200 0", "410 0", "404 0", "200 0"] })
  })

  test("methods of WebDAV, and what nginx does not allow", async () => {
    const status = async (...args: readonly string[]): Promise<string> =>
      (await curl("-o", out("dav"), "-w", "%{http_code}", ...args)).stdout
    const dir = `/up/${form.replace(" ", "-")}-folder/`
    expect(await status("-X", "MKCOL", url(dir))).toBe("201")
    expect(await status("-X", "DELETE", "-H", "Depth: infinity", url(dir))).toBe("204")
    expect(await status("-d", "a=b", url("/small"))).toBe("405")
  })

  test("nginx sees the client's address, a host and no credential", async () => {
    const { stdout } = await curl("-i", url("/headers"))
    expect(stdout.match(/^set-cookie: .*$/gim)).toEqual(["Set-Cookie: a=1", "Set-Cookie: b=2"])
    expect(stdout.split("\r\n\r\n")[1]).toBe(`${form === "by path" ? `localhost:${nginx.port}` : new URL(url("/")).host} 127.0.0.1 \n`)
  })
})

test("a redirect by host leads to where it says", async () => {
  const { code, stdout } = await curl("-L", "-o", out("moved"), "-w", "%{http_code} %{num_redirects} %{url_effective}", byHost("/moved"))
  expect({ code, stdout }).toEqual({ code: 0, stdout: `200 1 ${byHost("/file")}` })
})

test("nobody gets in without a credential, and curl -f says so", async () => {
  for (const url of [byPath("/small"), byHost("/small")]) {
    const refused = await execute("curl", ["-sS", "-f", "--noproxy", "*", url]).catch((error: { code: number }) => error.code)
    expect(refused).toBe(22)
  }
})

/** curl of a body that it reads from a pipe. */
async function piped(file: string, args: readonly string[]): Promise<Printed> {
  const command = execute("curl", ["-sS", "--noproxy", "*", "-H", `@${join(folder, "credentials")}`, ...args])
  const { stdin } = command.child
  if (stdin === null) throw new Error("no pipe")
  await pipeline(createReadStream(file), stdin)
  return { code: 0, stdout: (await command).stdout }
}

describe("curl and a service of few lines", () => {
  let server: Server
  beforeAll(async () => {
    server = createServer(answer).listen(0, "127.0.0.1")
    await once(server, "listening")
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })
  const port = (): number => (server.address() as AddressInfo).port

  function answer(request: IncomingMessage, response: ServerResponse): void {
    request.resume()
    if (request.url === "/basic") return void response.end(`${request.headers.authorization}`)
    // Breaks off in the middle.
    response.writeHead(200, { "content-length": "1000" })
    response.write("half", () => response.destroy())
  }

  test("its own Authorization reaches the service when ours goes in Trunkline-Authorization", async () => {
    await writeFile(out("own"), `Trunkline-Authorization: Bearer ${world.secret}\n`)
    for (const url of [byPath("/basic", port()), byHost("/basic", port())]) {
      const { stdout } = await execute("curl", ["-sS", "--noproxy", "*", "-u", "user:pass", "-H", `@${out("own")}`, url])
      expect(stdout).toBe("Basic dXNlcjpwYXNz")
    }
  })

  test("an answer that breaks off is a failure for curl too", async () => {
    for (const url of [byPath("/broken", port()), byHost("/broken", port())]) expect(await curl(url)).toEqual({ code: 18, stdout: "half" })
  })
})
