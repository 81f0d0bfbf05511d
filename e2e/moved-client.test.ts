/** A person who goes on elsewhere: another process with the same token has the rest of the output, and nobody waits for the first. */
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { once } from "node:events"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { CutProxy } from "./cut-proxy.ts"
import { numbers, sha256 } from "./lines.ts"
import { World } from "./world.ts"

/** Bytes a second of the line of whoever leaves: it has read a part when it goes. */
const slowBytesPerSecond = 300_000

class OwnClient {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly closed: Promise<unknown>
  readonly #stdout: Buffer[] = []
  #stderr = ""

  constructor(args: readonly string[], gateway: string) {
    const program = fileURLToPath(new URL("own-client.ts", import.meta.url))
    this.child = spawn(process.execPath, [program, ...args], {
      env: world.env({ TRUNKLINE_GATEWAY: gateway, TRUNKLINE_SECRET: world.secret }),
      stdio: ["pipe", "pipe", "pipe"],
    })
    this.closed = once(this.child, "close")
    this.child.stdout.on("data", (chunk: Buffer) => this.#stdout.push(chunk))
    this.child.stderr.on("data", (chunk: Buffer) => {
      this.#stderr += chunk
    })
    onTestFinished(async () => {
      this.child.kill("SIGKILL")
      await this.closed
    })
  }

  get stdout(): Buffer {
    return Buffer.concat(this.#stdout)
  }

  get said(): string {
    return this.#stderr
  }

  type(keys: string): void {
    this.child.stdin.write(keys)
  }

  async id(): Promise<string> {
    await world.until(() => /"id":"\w+"/.test(this.#stderr))
    return /"id":"(\w+)"/.exec(this.#stderr)?.[1] ?? ""
  }
}

let world: World
beforeAll(async () => {
  world = await World.start()
  await world.agent("box")
})
afterAll(() => world.stop())

interface Away {
  readonly client: OwnClient
  readonly line: CutProxy
}

/** How the first client is lost. It is gone from the gateway's view after the first of them only. */
const departures: readonly (readonly [string, (away: Away) => unknown])[] = [
  [
    "was killed",
    async ({ client }) => {
      client.child.kill("SIGKILL")
      await client.closed
    },
  ],
  ["was stopped, its line open", ({ client }) => client.child.kill("SIGSTOP")],
  ["is behind a line that froze", ({ line }) => line.freeze()],
]

async function firstClient(...args: readonly string[]): Promise<Away> {
  const line = await CutProxy.start(world.port, slowBytesPerSecond)
  onTestFinished(() => line.stop())
  return { client: new OwnClient(args, line.url), line }
}

describe.for(departures)("where the first client %s", ([how, depart]) => {
  test("another gets the rest of a detached job's output from the byte where the first stopped, and its exit", async () => {
    const go = join(world.home, `go-${sha256(Buffer.from(how))}`)
    onTestFinished(() => writeFile(go, ""))
    const away = await firstClient(
      ...["start", "box", "sh", "-c", 'seq 1 100000; until [ -e "$0" ]; do sleep 0.02; done; seq 100001 120000; exit 9', go],
    )
    await world.until(() => away.client.stdout.byteLength > 100_000)
    await depart(away)
    const first = away.client.stdout
    expect(first.byteLength).toBeLessThan(588_895)
    const second = new OwnClient(["attach", "box", await away.client.id(), String(first.byteLength)], world.url)
    await world.until(() => second.stdout.includes("\n100000\n"))
    await writeFile(go, "")
    await second.closed
    expect(sha256(Buffer.concat([first, second.stdout]))).toBe(sha256(Buffer.from(numbers(120_000))))
    expect(JSON.parse(second.said)).toMatchObject({ type: "exit", exit: { type: "code", code: 9 } })
  })

  // More than the first has room for, and less than is kept of a process: nobody waits for a client that came later (SPEC KA3).
  test("another goes on typing in its terminal, and gets the rest of what the first was shown and all that follows", async () => {
    const script =
      'stty -echo -onlcr; echo ready; while read -r line; do case $line in end) exit 8;; many) seq 1 80000;; *) echo "got $line";; esac; done'
    const away = await firstClient("shell", "box", "sh", "-c", script)
    await world.until(() => away.client.stdout.includes("ready"))
    away.client.type("one\nmany\n")
    await world.until(() => away.client.stdout.byteLength > 100_000)
    await depart(away)
    const first = away.client.stdout
    const second = new OwnClient(["connect", "box", await away.client.id(), String(first.byteLength)], world.url)
    second.type("two\nmany\nthree\nend\n")
    await second.closed
    const many = numbers(80_000)
    const all = `ready\ngot one\n${many}got two\n${many}got three\n`
    expect(sha256(Buffer.concat([first, second.stdout]))).toBe(sha256(Buffer.from(all)))
    expect(second.said).toContain('"exit":{"type":"code","code":8}')
  })
})
