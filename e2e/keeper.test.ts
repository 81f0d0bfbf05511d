/** A `serve` that dies, restarts, hands over or is taken over: what runs goes on, and its clients see a pause and nothing else. */
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { chmod, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { join } from "node:path"
import { beforeEach, describe, expect, onTestFinished, test } from "vitest"
import { CutProxy } from "./cut-proxy.ts"
import { Screen } from "./tmux.ts"
import { type Command, World } from "./world.ts"

const longTestMs = 120_000

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")
const numbers = (last: number): string => `${Array.from({ length: last }, (_, index) => index + 1).join("\n")}\n`

/** A process that has ended may stay listed until somebody reaps it. */
const runs = async (pid: number): Promise<boolean> => {
  const line = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "")
  return line !== "" && !/\) [ZX] /.test(line)
}

const printsMore = (command: Command): Promise<void> =>
  Promise.race([
    new Promise<void>((resolve) => command.child.stdout?.once("data", () => resolve())),
    command.finished.then(({ code, stderr }) => {
      throw new Error(`ended too early with ${code}: ${stderr}`)
    }),
  ])

let world: World
beforeEach(async ({ onTestFinished }) => {
  const started = await World.start()
  // Not in an afterEach, which would come before the test's terminal is closed.
  onTestFinished(() => started.stop())
  world = started
})

/** Kills it as nothing else does. */
async function kill9(command: Command): Promise<void> {
  command.child.kill("SIGKILL")
  await command.finished
}

/** Starts `serve` again, and resolves when it has the keeper that was there. */
async function next(name = "box", env: NodeJS.ProcessEnv = {}): Promise<Command> {
  const agent = world.command(["serve", "--name", name], { env })
  await agent.until(({ stderr }) => stderr.includes("keeper.adopted"))
  return agent
}

/** A line to the gateway that is slow enough for something to happen on the way. */
async function slowLine(bytesPerSecond: number): Promise<{ readonly env: NodeJS.ProcessEnv; readonly line: CutProxy }> {
  const line = await CutProxy.start(world.port, bytesPerSecond)
  onTestFinished(() => line.stop())
  return { line, env: { TRUNKLINE_GATEWAY: line.url, TRUNKLINE_SECRET: world.secret } }
}

describe("kill -9 of serve", () => {
  test("under 15 MB of output, three times: every byte arrives once, with the exit", { timeout: longTestMs }, async () => {
    let agent = await world.agent("box")
    const { env, line } = await slowLine(3_000_000)
    const command = world.command(["exec", "box", "--", "seq", "1", "2000000"], { env })
    await printsMore(command)
    for (let kill = 0; kill < 3; kill++) {
      await kill9(agent)
      agent = await next()
      await printsMore(command)
    }
    expect(command.child.exitCode).toBe(null)
    line.setRate(undefined)
    const { code, stdout, stderr } = await command.finished
    expect({ code, bytes: stdout.byteLength, stderr }).toEqual({ code: 0, bytes: 14_888_896, stderr: "" })
    expect(sha256(stdout)).toBe(sha256(Buffer.from(numbers(2_000_000))))
  })

  test("under 5 MB of input, twice: every byte arrives once, half-sent ones too, and the command runs once", {
    timeout: longTestMs,
  }, async () => {
    let agent = await world.agent("box")
    const { env, line } = await slowLine(1_500_000)
    const input = randomBytes(5_000_000)
    const consumed = join(world.home, "consumed")
    const started = join(world.home, "started")
    const command = world.command(["exec", "-i", "box", "--", "sh", "-c", 'echo run >> "$0"; tee "$1" | sha256sum', started, consumed], {
      env,
      stdin: "pipe",
    })
    command.child.stdin?.on("error", () => {})
    command.child.stdin?.end(input)
    const consumedBytes = async () => (await stat(consumed).catch(() => undefined))?.size ?? 0
    for (let kill = 0; kill < 2; kill++) {
      const before = await consumedBytes()
      await world.until(async () => (await consumedBytes()) > before)
      await kill9(agent)
      agent = await next()
    }
    expect(command.child.exitCode).toBe(null)
    line.setRate(undefined)
    const { code, stdout, stderr } = await command.finished
    expect({ code, stdout: stdout.toString(), stderr }).toEqual({ code: 0, stdout: `${sha256(input)}  -\n`, stderr: "" })
    expect(await readFile(started, "utf8")).toBe("run\n")
  })

  test("under vim in a shell: the screen stays, and keys typed meanwhile arrive", { timeout: longTestMs }, async () => {
    await writeFile(join(world.home, ".bash_profile"), "PS1='remote:$?> '\nPROMPT_COMMAND=\nunset HISTFILE\n")
    const agent = await world.agent("box", [], { SHELL: "/bin/bash" })
    const screen = await Screen.open(world, "trunkline shell box\necho [exit code $?]")
    await screen.until(/remote:0>\s*$/)
    await screen.enter("vim -u NONE -N note")
    await screen.until('"note" [New]')
    await screen.type("ibefore")
    await screen.until(/^before$/m)
    await kill9(agent)
    await screen.type(" meanwhile")
    await next("box", { SHELL: "/bin/bash" })
    await screen.type(" after")
    await screen.until(/^before meanwhile after$/m)
    await screen.press("Escape")
    await screen.enter(":wq")
    await screen.until(/remote:0>\s*$/)
    expect(await readFile(join(world.home, "note"), "utf8")).toBe("before meanwhile after\n")
    await screen.enter("exit 7")
    await screen.until("[exit code 7]")
  })

  test("a command that ends while no serve runs ends at its client, with its output and its code", { timeout: longTestMs }, async () => {
    const agent = await world.agent("box")
    const go = join(world.home, "go")
    const done = join(world.home, "done")
    const script = 'echo started; until [ -e "$0" ]; do sleep 0.02; done; seq 1 20000; echo done > "$1"; exit 9'
    const command = world.command(["exec", "box", "--", "sh", "-c", script, go, done])
    await command.until(({ stdout }) => stdout.includes("started"))
    await kill9(agent)
    await writeFile(go, "")
    await world.until(() =>
      stat(done).then(
        () => true,
        () => false,
      ),
    )
    await next()
    const { code, stdout, stderr } = await command.finished
    expect({ code, stderr }).toEqual({ code: 9, stderr: "" })
    expect(stdout.toString()).toBe(`started\n${numbers(20_000)}`)
  })

  test("its keeper logs what happened meanwhile to the next serve, and starts commands in that one's environment", async () => {
    const agent = await world.agent("box", [], { COLOUR: "red", GONE: "not yet", TRUNKLINE_SECRET: world.secret })
    const go = join(world.home, "go")
    const command = world.command(["exec", "box", "--", "sh", "-c", 'echo "$COLOUR"; until [ -e "$0" ]; do sleep 0.02; done; exit 3', go])
    await command.until(({ stdout }) => stdout.includes("red"))
    await kill9(agent)
    await writeFile(go, "")
    const keeper = await world.keeper("box")
    const second = await next("box", { COLOUR: "blue", TRUNKLINE_SECRET: world.secret })
    expect((await command.finished).code).toBe(3)
    await second.until(({ stderr }) => /process\.ended.*|"happened"/.test(stderr))
    const seen = await world.run(["exec", "box", "--", "sh", "-c", 'echo "$COLOUR,$GONE,$TRUNKLINE_SECRET"'])
    expect(seen.stdout.toString()).toBe("blue,,\n")
    const environment = await readFile(`/proc/${keeper}/environ`, "latin1")
    expect(environment).toContain("COLOUR=")
    expect(environment).not.toContain(world.secret)
    expect(await readFile(`/proc/${keeper}/cmdline`, "latin1")).toMatch(/^trunkline keeper box/)
  })

  test("when nothing runs leaves no keeper behind", async () => {
    const agent = await world.agent("box")
    const keeper = await world.keeper("box")
    await kill9(agent)
    await world.until(async () => !(await runs(keeper)))
    expect(await world.keepers()).toEqual([])
    expect((await readdir(join(world.stateHome, "trunkline"))).filter((file) => file.endsWith(".sock"))).toEqual([])
  })
})

describe("SIGUSR2 to serve", () => {
  test("leaves what runs to the next serve, with exit code 0 and without a bye", { timeout: longTestMs }, async () => {
    const agent = await world.agent("box")
    const command = world.command(["exec", "-i", "box", "--", "cat"], { stdin: "pipe" })
    command.child.stdin?.write("before\n")
    await command.until(({ stdout }) => stdout.includes("before"))
    const keeper = await world.keeper("box")
    agent.child.kill("SIGUSR2")
    expect((await agent.finished).code).toBe(0)
    expect(await world.endpoint("box")).toBeDefined()
    command.child.stdin?.write("meanwhile\n")
    await next()
    expect(await world.keeper("box")).toBe(keeper)
    command.child.stdin?.end("after\n")
    const { code, stdout } = await command.finished
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: "before\nmeanwhile\nafter\n" })
  })

  test("does the same as a terminal that is closed, but for the exit code of SIGHUP", async () => {
    const agent = await world.agent("box")
    const command = world.command(["exec", "-i", "box", "--", "cat"], { stdin: "pipe" })
    command.child.stdin?.write("before\n")
    await command.until(({ stdout }) => stdout.includes("before"))
    agent.child.kill("SIGHUP")
    expect((await agent.finished).code).toBe(129)
    await next()
    command.child.stdin?.end("after\n")
    expect((await command.finished).stdout.toString()).toBe("before\nafter\n")
  })
})

describe("a second serve of the same name", () => {
  test("takes over what runs, and the first leaves and says why", { timeout: longTestMs }, async () => {
    const first = await world.agent("box")
    const { env, line } = await slowLine(3_000_000)
    const command = world.command(["exec", "box", "--", "seq", "1", "1000000"], { env })
    await printsMore(command)
    await next()
    const { code, stderr } = await first.finished
    expect(code).toBe(0)
    expect(stderr).toContain("a newer serve has taken over")
    await printsMore(command)
    line.setRate(undefined)
    const finished = await command.finished
    expect({ code: finished.code, stderr: finished.stderr }).toEqual({ code: 0, stderr: "" })
    expect(sha256(finished.stdout)).toBe(sha256(Buffer.from(numbers(1_000_000))))
  })

  test("at the same moment finds the same keeper", async () => {
    const agents = [1, 2, 3].map(() => world.command(["serve", "--name", "box"]))
    await world.until(() => agents.filter(({ child }) => child.exitCode === 0).length === 2)
    await world.until(async () => (await world.endpoint("box"))?.status === "online")
    expect(await world.keepers()).toHaveLength(1)
    expect((await world.run(["exec", "box", "--", "echo", "here"])).stdout.toString()).toBe("here\n")
  })
})

describe("kill -9 of the keeper", () => {
  test("ends what it kept with an honest error, and the agent serves on with another", { timeout: longTestMs }, async () => {
    const agent = await world.agent("box")
    const command = world.command(["exec", "box", "--", "sh", "-c", "echo started; exec sleep 1000"])
    await command.until(({ stdout }) => stdout.includes("started"))
    process.kill(await world.keeper("box"), "SIGKILL")
    const { code, stderr } = await command.finished
    expect(code).toBe(255)
    expect(stderr).toContain("outcome unknown")
    await agent.until(({ stderr: log }) => log.includes("keeper.lost"))
    expect((await world.run(["exec", "box", "--", "echo", "here"])).stdout.toString()).toBe("here\n")
  })
})

describe("a clean stop", () => {
  test("leaves no process behind, neither a command's nor a keeper", async () => {
    const agent = await world.agent("box", ["--grace-period", "100ms"])
    const command = world.command(["exec", "box", "--", "sh", "-c", "echo $$; exec sleep 1000"])
    await command.until(({ stdout }) => stdout.includes("\n"))
    const pid = Number(command.stdout.toString())
    const keeper = await world.keeper("box")
    agent.child.kill("SIGTERM")
    expect((await agent.finished).code).toBe(0)
    expect((await command.finished).code).toBe(255)
    await world.until(async () => !(await runs(pid)))
    await world.until(async () => !(await runs(keeper)))
  })

  test("leaves detached commands with the keeper, which the next serve finds", async () => {
    const agent = await world.agent("box")
    const file = join(world.home, "detached")
    await world.run(["exec", "-d", "box", "--", "sh", "-c", 'echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 1000', file])
    await world.until(() =>
      stat(file).then(
        () => true,
        () => false,
      ),
    )
    const pid = Number(await readFile(file, "utf8"))
    const keeper = await world.keeper("box")
    agent.child.kill("SIGTERM")
    expect((await agent.finished).code).toBe(0)
    await next()
    expect(await world.keeper("box")).toBe(keeper)
    expect(await runs(pid)).toBe(true)
    process.kill(pid, "SIGKILL")
  })
})

test("SIGTERM to a keeper without a serve ends what runs, and the keeper", async () => {
  const agent = await world.agent("box")
  const command = world.command(["exec", "box", "--", "sh", "-c", "echo $$; exec sleep 1000"])
  await command.until(({ stdout }) => stdout.includes("\n"))
  const keeper = await world.keeper("box")
  await kill9(agent)
  process.kill(keeper, "SIGTERM")
  await world.until(async () => !(await runs(keeper)) && !(await runs(Number(command.stdout.toString()))))
})

describe("where no keeper can be", () => {
  const squat = async (mode: number): Promise<string> => {
    const directory = join(world.stateHome, "trunkline")
    await mkdir(directory, { recursive: true })
    await chmod(directory, mode)
    return directory
  }

  test.each([0o777, 0o750])(
    "because its directory is open to others (%o), it says so, leaves it alone, serves, and ends what runs when it leaves",
    async (mode) => {
      const directory = await squat(mode)
      const agent = await world.agent("box")
      expect(agent.stderr).toContain(`${directory} is open to others`)
      expect(await readdir(directory)).toEqual([])
      const command = world.command(["exec", "box", "--", "sh", "-c", "echo here; exec sleep 1000"])
      await command.until(({ stdout }) => stdout.includes("here"))
      agent.child.kill("SIGUSR2")
      expect((await agent.finished).code).toBe(0)
      expect((await command.finished).code).toBe(255)
    },
  )

  test("because a socket that is in its place never answers, it serves all the same", { timeout: longTestMs }, async () => {
    const first = await world.agent("box")
    const directory = join(world.stateHome, "trunkline")
    const [file = ""] = (await readdir(directory)).filter((name) => name.endsWith(".sock"))
    first.child.kill("SIGTERM")
    await first.finished
    await world.until(async () => !(await readdir(directory)).includes(file))
    const silent = createServer(() => {}).listen(join(directory, file))
    await once(silent, "listening")
    const agent = world.command(["serve", "--name", "box"])
    await agent.until(({ stderr }) => stderr.includes("does not answer"))
    await world.until(async () => (await world.endpoint("box"))?.status === "online")
    agent.child.kill("SIGKILL")
    silent.close()
  })
})
