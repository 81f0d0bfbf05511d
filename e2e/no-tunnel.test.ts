/** Clients that dial an agent itself, with the same CLI and SDK as through a gateway. */
import { mkdtemp, readFile, rm, stat } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { connect } from "@trunkline/client"
import { dialNode } from "@trunkline/client/node"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { CutProxy } from "./cut-proxy.ts"
import { freePort } from "./free-port.ts"
import { cuts, livedMs, numbers, printsMore, seeded, sha256 } from "./lines.ts"
import { Command, type Finished } from "./world.ts"

/** Milliseconds: most of it is waiting for redials, which are random and real. */
const longTestMs = 60_000
const last = 1_000_000

/** A home without any gateway. */
class Home {
  readonly path: string
  readonly #commands: Command[] = []

  private constructor(path: string) {
    this.path = path
  }

  static async make(): Promise<Home> {
    return new Home(await mkdtemp(join(tmpdir(), "trunkline-direct-")))
  }

  command(args: readonly string[], more: NodeJS.ProcessEnv = {}): Command {
    const { TRUNKLINE_SECRET: _secret, TRUNKLINE_TOKEN: _token, TRUNKLINE_GATEWAY: _gateway, ...outer } = process.env
    const at = (name: string) => join(this.path, name)
    const home = { HOME: this.path, XDG_CONFIG_HOME: at("c"), XDG_DATA_HOME: at("d"), XDG_STATE_HOME: at("s") }
    const command = new Command(args, { ...outer, ...home, ...more }, "ignore")
    this.#commands.push(command)
    return command
  }

  run(args: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<Finished> {
    return this.command(args, more).finished
  }

  /** An agent, and where it listens. */
  async serve(
    name: string,
    args: readonly string[],
    more: NodeJS.ProcessEnv = {},
  ): Promise<{ readonly agent: Command; readonly url: string }> {
    const agent = this.command(["serve", "--name", name, "--no-tunnel", ...args], more)
    await agent.until(({ stderr }) => stderr.includes("direct.listening"))
    return { agent, url: /"url":"(http:[^"]+)"/.exec(agent.stderr)?.[1] ?? "" }
  }

  secret(name: string): Promise<string> {
    return readFile(join(this.path, "d", "trunkline", "direct", `${name}.secret`), "utf8").then((text) => text.trim())
  }

  async remove(): Promise<void> {
    for (const { child } of this.#commands) child.kill("SIGTERM")
    await Promise.all(this.#commands.map(({ finished }) => finished))
    await rm(this.path, { recursive: true, force: true, maxRetries: 5 })
  }
}

let home: Home
let url: string
beforeAll(async () => {
  home = await Home.make()
  const { url: at } = await home.serve("box", ["--listen", "127.0.0.1:0", "--label", "role=direct"])
  url = at
})
afterAll(() => home.remove())

const env = () => ({ TRUNKLINE_GATEWAY: url })

describe("an agent without a gateway", () => {
  test("makes its secret in a file of its owner's alone, says where, and never what it is", async () => {
    const file = join(home.path, "d", "trunkline", "direct", "box.secret")
    const secret = await home.secret("box")
    expect(secret.length).toBeGreaterThanOrEqual(43)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    const other = await home.serve("says", ["--listen", "127.0.0.1:0"])
    expect(other.agent.stderr).toContain("says.secret")
    expect(other.agent.stderr).not.toContain(await home.secret("says"))
    other.agent.child.kill("SIGTERM")
    await other.agent.finished
    const again = await home.serve("says", ["--listen", "127.0.0.1:0"])
    expect(again.agent.stderr).not.toContain("direct.credential-made")
  })

  test("is reached by this user's commands as it is", async () => {
    const listing = await home.run(["ls"], env())
    expect(listing.stdout.toString()).toMatch(/box +online +direct .*role=direct/)
    expect((await home.run(["ls", "--label", "role=other", "-o", "name"], env())).stdout.toString()).toBe("")
    expect((await home.run(["ls", "--status", "offline", "-o", "name"], env())).stdout.toString()).toBe("")
    const shown = JSON.parse((await home.run(["info", "box", "-o", "json"], env())).stdout.toString())
    expect(shown).toMatchObject({ name: "box", status: "online", mode: "direct", linkRttMs: expect.any(Number), runningProcesses: 0 })
    const ran = await home.run(["exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 7"], env())
    expect([ran.code, ran.stdout.toString(), ran.stderr]).toEqual([7, "out\n", "err\n"])
  })

  test("keeps what was detached, for whoever comes back", async () => {
    const started = await home.run(["exec", "box", "-d", "--", "sh", "-c", "echo one; sleep 0.5; echo two"], env())
    const id = started.stdout.toString().trim()
    const attached = await home.run(["attach", "box", id], env())
    expect([attached.code, attached.stdout.toString()]).toEqual([0, "one\ntwo\n"])
    expect((await home.run(["ps", "box", "-o", "id"], env())).stdout.toString()).toContain(id)
  })

  test("resumes a link whose line is cut, in every way, without a byte lost", { timeout: longTestMs }, async () => {
    const line = await CutProxy.start(Number(new URL(url).port), 1_500_000)
    onTestFinished(() => line.stop())
    const through = { TRUNKLINE_GATEWAY: line.url, TRUNKLINE_SECRET: await home.secret("box") }
    const command = home.command(["exec", "box", "--", "seq", "1", String(last)], through)
    await printsMore(command)
    const random = seeded(11)
    for (const how of cuts.slice(1)) {
      await pause(livedMs(random))
      const dialled = line.next()
      await line.cut(how)
      await dialled
      await printsMore(command)
    }
    expect(command.child.exitCode).toBe(null)
    line.setRate(undefined)
    const { code, stdout, stderr } = await command.finished
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(sha256(stdout)).toBe(sha256(Buffer.from(numbers(last))))
  })

  test("goes on where it was when serve is killed and started again", { timeout: longTestMs }, async () => {
    const listen = `127.0.0.1:${await freePort()}`
    const { agent, url: at } = await home.serve("mortal", ["--listen", listen])
    const command = home.command(["exec", "mortal", "--", "sh", "-c", "echo before; sleep 2; echo after"], { TRUNKLINE_GATEWAY: at })
    await command.until(({ stdout }) => stdout.includes("before"))
    agent.child.kill("SIGKILL")
    await agent.finished
    await home.serve("mortal", ["--listen", listen])
    const { code, stdout } = await command.finished
    expect([code, stdout.toString()]).toEqual([0, "before\nafter\n"])
  })

  test("lets in who has the secret, by header or by ticket, and nobody else", async () => {
    const secret = await home.secret("box")
    for (const options of [{ dial: dialNode }, {}]) {
      const right = connect({ url, token: secret, ...options })
      expect(await right.agent("box").exec(["echo", "in"])).toMatchObject({ exitCode: 0 })
      right.close()
      const wrong = connect({ url, token: `${secret}x`, ...options })
      await expect(wrong.agent("box").exec(["true"])).rejects.toMatchObject({ code: "unauthorised" })
      await expect(wrong.agent("other").exec(["true"])).rejects.toMatchObject({ code: "unauthorised" })
      wrong.close()
    }
    const other = connect({ url, token: secret, dial: dialNode })
    await expect(other.agent("other").exec(["true"])).rejects.toMatchObject({ code: "agent-unknown" })
    other.close()
    const health = await fetch(new URL("/healthz", url))
    expect([health.status, await health.json()]).toEqual([200, { ok: true, version: expect.any(String) }])
  })

  test("takes the secret that it is given instead of its own", async () => {
    const { agent, url: at } = await home.serve("given", ["--listen", "127.0.0.1:0"], { TRUNKLINE_SECRET: "given-secret" })
    expect(agent.stderr).toContain('"credential":"TRUNKLINE_SECRET"')
    const given = { TRUNKLINE_GATEWAY: at, TRUNKLINE_SECRET: "given-secret" }
    expect((await home.run(["exec", "given", "--", "true"], given)).code).toBe(0)
    expect((await home.run(["exec", "given", "--", "true"], { ...given, TRUNKLINE_SECRET: "other" })).code).toBe(255)
  })

  test("stops: what runs gets its time, then its client hears why", async () => {
    const { agent, url: at } = await home.serve("stops", ["--listen", "127.0.0.1:0", "--grace-period", "200ms"])
    const command = home.command(["exec", "stops", "--", "sh", "-c", "echo up; sleep 60"], { TRUNKLINE_GATEWAY: at })
    await command.until(({ stdout }) => stdout.includes("up"))
    agent.child.kill("SIGTERM")
    const [{ code, stderr }, stopped] = await Promise.all([command.finished, agent.finished])
    expect([code, stopped.code]).toEqual([255, 0])
    expect(stderr).toContain("the agent was stopped")
  })
})

describe("what is told at once", () => {
  test("a port that is taken, by its name", async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    onTestFinished(() => void server.close())
    const address = server.address()
    const taken = typeof address === "object" && address !== null ? `127.0.0.1:${address.port}` : ""
    for (const way of [["--no-tunnel"], ["--tunnel-url", "https://x.example"]]) {
      const { code, stderr } = await home.run(["serve", "--name", "late", ...way, "--listen", taken], { TRUNKLINE_SECRET: "s" })
      expect([way, code]).toEqual([way, 1])
      expect(stderr).toContain(`${taken} is already in use`)
    }
  })

  test.each([
    [["--no-tunnel", "--tunnel-url", "https://x.example"], "contradict"],
    [["--with-socket"], "--with-socket is for --tunnel-url"],
    [["--listen", "127.0.0.1:1"], "--listen is for --tunnel-url and --no-tunnel"],
    [["--tunnel-url", "x.example"], "not an http: or https: URL"],
    [["--tunnel-url", "wss://x.example"], "not an http: or https: URL"],
    [["--tunnel-url", "https://user:secret@x.example"], "credentials"],
    [["--tunnel-url", "https://x.example/?a=b"], "query"],
    [["--no-tunnel", "--listen", "127.0.0.1"], "not a place to listen"],
    [["--no-tunnel", "--listen", "::1:7860"], "not a place to listen"],
    [["--no-tunnel", "--listen", "127.0.0.1:70000"], "not a port"],
    [["--no-tunnel", "--listen", "192.0.2.1:0"], "give an address of this machine"],
  ])("%j", async (args, says) => {
    const { code, stderr } = await home.run(["serve", "--name", "bad", ...args], { TRUNKLINE_SECRET: "s" })
    expect(code).toBe(2)
    expect(stderr).toContain(says)
  })

  test("a flag wins over the environment's other way", async () => {
    const agent = home.command(["serve", "--name", "flag", "--no-tunnel", "--listen", "0"], { TRUNKLINE_TUNNEL_URL: "https://x.example" })
    await agent.until(({ stderr }) => stderr.includes("direct.listening"))
    agent.child.kill("SIGTERM")
    expect((await agent.finished).code).toBe(0)
  })
})
