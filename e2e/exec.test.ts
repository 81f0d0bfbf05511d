/** `trunkline exec` as scripts and people use it. */
import { createHash, randomBytes } from "node:crypto"
import { existsSync } from "node:fs"
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { World } from "./world.ts"

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

describe("exec", () => {
  let world: World
  const exec = (...args: string[]) => world.run(["exec", ...args])
  beforeAll(async () => {
    world = await World.start()
    await world.agent("box")
  })
  afterAll(() => world.stop())

  test("runs argv without a shell, keeps stdout and stderr apart and returns the remote exit code", async () => {
    expect((await exec("box", "--", "printf", "%s|", "a b", "$HOME", "*")).stdout.toString()).toBe("a b|$HOME|*|")
    const mixed = await exec("box", "--", "sh", "-c", "echo out; echo err >&2; exit 42")
    expect(mixed).toMatchObject({ code: 42, stderr: "err\n" })
    expect(mixed.stdout.toString()).toBe("out\n")
  })

  test("returns 128 + n when a signal ended the command, and 124 after a timeout", async () => {
    expect((await exec("box", "--", "sh", "-c", "kill -9 $$")).code).toBe(137)
    expect((await exec("box", "--timeout", "200ms", "--", "sleep", "60")).code).toBe(124)
  })

  test("ends a command in time that ignores TERM while a grandchild holds its pipes, and the next one works", async () => {
    const stubborn = await exec(
      "box",
      "--timeout",
      "200ms",
      "--",
      "sh",
      "-c",
      "trap '' TERM HUP INT; sleep 1000 & while :; do sleep 1000; done",
    )
    expect(stubborn.code).toBe(124)
    expect((await exec("box", "--", "true")).code).toBe(0)
  })

  test("returns 127 for a command that is not there, 126 for one that cannot be run, and names a missing directory", async () => {
    const script = join(world.home, "not-executable")
    await writeFile(script, "#!/bin/sh\n")
    await chmod(script, 0o644)
    const missing = await exec("box", "--", "no-such-command-here")
    expect(missing.code).toBe(127)
    expect(missing.stderr).toContain("no-such-command-here")
    expect((await exec("box", "--", script)).code).toBe(126)
    const nowhere = await exec("box", "-w", "/no/such/directory", "--", "true")
    expect(nowhere.code).not.toBe(0)
    expect(nowhere.stderr).toContain("/no/such/directory")
  })

  test("passes the working directory and variables, and keeps the gateway's secret from the command", async () => {
    const directory = join(world.home, "a directory")
    await mkdir(directory)
    const result = await exec("box", "-w", directory, "-e", "GREETING=hello there", "--", "sh", "-c", "pwd; echo $GREETING; env")
    const [pwd, greeting, ...env] = result.stdout.toString().split("\n")
    expect([pwd, greeting]).toEqual([directory, "hello there"])
    expect(env.join("\n")).not.toContain(world.secret)
  })

  test("gives the command no input unless asked, and with -i all of it and its end", async () => {
    expect((await world.run(["exec", "box", "--", "cat"], { input: "not for you" })).stdout.toString()).toBe("")
    expect((await world.run(["exec", "-i", "box", "--", "cat"], { input: "for you" })).stdout.toString()).toBe("for you")
  })

  test("carries every byte both ways", async () => {
    const bytes = Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)), randomBytes(8_000_000)])
    const echoed = await world.run(["exec", "-i", "box", "--", "cat"], { input: bytes })
    expect(echoed.code).toBe(0)
    expect(sha256(echoed.stdout)).toBe(sha256(bytes))
  })

  test("ends quietly when its own reader leaves, and so does the command", async () => {
    const marker = `${Date.now()}.${process.pid}`
    const command = world.command(["exec", "box", "--", "sh", "-c", `exec yes ${marker}`])
    await command.until(({ stdout }) => stdout.byteLength > 0)
    command.child.stdout?.destroy()
    await command.finished
    expect(command.stderr).toBe("")
    await world.until(async () => (await exec("box", "--", "pgrep", "-fx", `yes ${marker}`)).code === 1)
  })

  test("forwards the first Ctrl-C to the command and leaves at the second", async () => {
    const polite = world.command([
      "exec",
      "box",
      "--",
      "sh",
      "-c",
      "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.1; done",
    ])
    await polite.until(({ stdout }) => stdout.includes("ready"))
    polite.child.kill("SIGINT")
    const finished = await polite.finished
    expect(finished.stdout.toString()).toBe("ready\ninterrupted\n")
    expect(finished.code).toBe(5)

    const deaf = world.command(["exec", "box", "--", "sh", "-c", "trap 'echo no' INT; echo ready; while :; do sleep 0.1; done"])
    await deaf.until(({ stdout }) => stdout.includes("ready"))
    deaf.child.kill("SIGINT")
    await deaf.until(({ stdout }) => stdout.includes("no"))
    deaf.child.kill("SIGINT")
    expect((await deaf.finished).code).toBe(130)
  })

  test("forwards Ctrl-C also when the command has been given the end of its input", async () => {
    const command = world.command(
      ["exec", "-i", "box", "--", "sh", "-c", "trap 'echo interrupted; exit 5' INT; cat; echo ready; while :; do sleep 0.1; done"],
      {
        stdin: "pipe",
      },
    )
    command.child.stdin?.end("input\n")
    await command.until(({ stdout }) => stdout.includes("ready"))
    command.child.kill("SIGINT")
    expect((await command.finished).stdout.toString()).toBe("input\nready\ninterrupted\n")
  })

  test("ends with its agent when that is stopped twice, even a command that ignores every request to end", async () => {
    const agent = await world.agent("hurried")
    const command = world.command(["exec", "hurried", "--", "sh", "-c", "trap '' HUP TERM INT; echo $$; while :; do sleep 0.1; done"])
    await command.until(({ stdout }) => /\d+\n/.test(stdout.toString()))
    const pid = Number.parseInt(command.stdout.toString(), 10)
    agent.child.kill("SIGTERM")
    await agent.until(({ stderr }) => stderr.includes("agent.draining"))
    agent.child.kill("SIGTERM")
    await agent.finished
    await world.until(() => !existsSync(`/proc/${pid}`))
    expect((await command.finished).code).toBe(255)
  })

  test("with -d prints an id at once and leaves the command running", async () => {
    const file = join(world.home, "detached")
    const detached = await exec(
      "-d",
      "box",
      "--",
      "sh",
      "-c",
      `trap '' HUP; echo started > ${file}; while [ ! -e ${file}.go ]; do sleep 0.05; done; echo ended >> ${file}`,
    )
    expect(detached.code).toBe(0)
    expect(detached.stdout.toString()).toMatch(/^[0-9a-f]{12}\n$/)
    await writeFile(`${file}.go`, "")
    await world.until(async () => existsSync(file) && (await readFile(file, "utf8")) === "started\nended\n")
  })

  test("-o json prints one document with the outcome", async () => {
    const result = await exec("-o", "json", "box", "--", "sh", "-c", "echo out; exit 3")
    expect(JSON.parse(result.stdout.toString())).toMatchObject({
      exitCode: 3,
      signal: null,
      stdout: "out\n",
      outcome: "exited",
      truncated: false,
    })
    expect(result.code).toBe(3)
  })

  test("an argument list that is too long is refused with the bound, before anything runs", async () => {
    const client = world.client()
    const error = await client
      .agent("box")
      .exec(["echo", "x".repeat(300_000)])
      .catch((caught: unknown) => caught)
    client.close()
    expect(error).toMatchObject({ code: "too-large", delivered: "no" })
    expect(String(error)).toContain("262144")
  })

  test("reports a command whose agent dies, its keeper too, as unknown, never as success", async () => {
    const agent = await world.agent("dying")
    const command = world.command(["exec", "dying", "--", "sh", "-c", "echo running; exec sleep 1000"])
    await command.until(({ stdout }) => stdout.includes("running"))
    const keeper = await world.keeper("dying")
    agent.child.kill("SIGKILL")
    process.kill(keeper, "SIGKILL")
    await agent.finished
    // Its successor does not know the link, which is what ends the wait.
    await world.agent("dying")
    const finished = await command.finished
    expect(finished.code).toBe(255)
    expect(finished.stderr).toMatch(/unknown/)
  })
})
