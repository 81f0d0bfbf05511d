/** git over smart HTTP through the gateway: `git http-backend` at the agent, an unchanged git as the client. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { execute } from "./local-servers.ts"
import { World } from "./world.ts"

const name = "forge"
const longTestMs = 120_000

let world: World
let folder: string
let server: Server

beforeAll(async () => {
  world = await World.start()
  folder = await mkdtemp(join(tmpdir(), "trunkline-git-"))
  server = createServer(runBackend).listen(0, "127.0.0.1")
  await once(server, "listening")
  await world.agent(name)
  await git(["init", "-q", "--bare", "-b", "main", join(folder, "served", "project.git")])
  await git(["-C", join(folder, "served", "project.git"), "config", "http.receivepack", "true"])
}, longTestMs)
afterAll(async () => {
  server?.close()
  await world?.stop()
  await rm(folder, { recursive: true, force: true })
})

/** The CGI that comes with git (RFC 3875): head lines, a blank line, a body. */
function runBackend(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? "/", "http://localhost")
  const child = spawn("git", ["http-backend"], {
    env: {
      PATH: process.env.PATH,
      GIT_PROJECT_ROOT: join(folder, "served"),
      GIT_HTTP_EXPORT_ALL: "1",
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers["content-type"] ?? "",
      HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
      GIT_PROTOCOL: [request.headers["git-protocol"]].flat().join(""),
      REMOTE_USER: "somebody",
    },
    stdio: ["pipe", "pipe", "inherit"],
  })
  request.pipe(child.stdin)
  child.stdin.on("error", () => {})
  let head = Buffer.alloc(0)
  child.stdout.on("data", (chunk: Buffer) => {
    if (response.headersSent) {
      response.write(chunk)
      return
    }
    head = Buffer.concat([head, chunk])
    const end = head.indexOf("\r\n\r\n")
    if (end < 0) return
    for (const line of head.subarray(0, end).toString().split("\r\n")) {
      const [field = "", value = ""] = line.split(/: (.*)/)
      if (field === "Status") response.statusCode = Number.parseInt(value, 10)
      else response.setHeader(field, value)
    }
    response.write(head.subarray(end + 4))
  })
  child.on("close", () => response.end())
}

/** The credential goes in the environment: arguments are for everybody to see. */
async function git(
  args: readonly string[],
  authorised = true,
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const identity = { GIT_AUTHOR_NAME: "a", GIT_AUTHOR_EMAIL: "a@b", GIT_COMMITTER_NAME: "a", GIT_COMMITTER_EMAIL: "a@b" }
  const header = {
    GIT_CONFIG_COUNT: "1",
    GIT_CONFIG_KEY_0: "http.extraHeader",
    GIT_CONFIG_VALUE_0: `Authorization: Bearer ${world.secret}`,
  }
  const env = { PATH: process.env.PATH, HOME: folder, GIT_TERMINAL_PROMPT: "0", ...identity, ...(authorised ? header : {}) }
  try {
    return { code: 0, ...(await execute("git", args, { env, maxBuffer: 10_000_000 })) }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, stdout, stderr }
  }
}

const served = (): string => {
  const { port } = server.address() as AddressInfo
  return `${world.url.replace(/\/$/, "")}/v1/agents/${name}/http/${port}/project.git`
}

describe("git", () => {
  test("pushes, clones, pushes more and pulls it, large files included", { timeout: longTestMs }, async () => {
    const [work, clone] = [join(folder, "work"), join(folder, "clone")]
    await git(["init", "-q", "-b", "main", work])
    await mkdir(join(work, "src"))
    for (let index = 0; index < 300; index++) await writeFile(join(work, "src", `file-${index}`), `${index}\n`.repeat(index))
    const { stdout: noise } = await execute("head", ["-c", "20000000", "/dev/urandom"], { encoding: "buffer", maxBuffer: 30_000_000 })
    await writeFile(join(work, "noise"), noise)
    await git(["-C", work, "add", "-A"])
    await git(["-C", work, "commit", "-q", "-m", "all"])
    expect(await git(["-C", work, "push", "-q", served(), "main"])).toMatchObject({ code: 0, stderr: "" })
    expect(await git(["clone", "-q", served(), clone])).toMatchObject({ code: 0, stderr: "" })
    expect(noise.equals(await readFile(join(clone, "noise")))).toBe(true)
    expect(await git(["-C", clone, "fsck", "--full", "--strict"])).toMatchObject({ code: 0 })
    await writeFile(join(work, "later"), "later\n")
    await git(["-C", work, "add", "-A"])
    await git(["-C", work, "commit", "-q", "-m", "later"])
    expect(await git(["-C", work, "push", "-q", served(), "main"])).toMatchObject({ code: 0, stderr: "" })
    expect(await git(["-C", clone, "pull", "-q"])).toMatchObject({ code: 0 })
    const [there, here] = await Promise.all([work, clone].map((each) => git(["-C", each, "rev-parse", "HEAD"])))
    expect(here?.stdout).toBe(there?.stdout)
  })

  test("is told by the gateway that it may not, without a credential", async () => {
    const { code, stderr } = await git(["ls-remote", served()], false)
    expect({ code, stderr }).toEqual({ code: 128, stderr: expect.stringMatching(/could not read Username|Authentication failed|401/) })
  })
})
