/** Commands that outlive their clients, through the command line: `exec -d`, `ps`, `attach`, `kill`, `info`. */
import { createHash } from "node:crypto"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type Finished, World } from "./world.ts"

let world: World
const run = (...args: string[]) => world.run(args)
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** Starts a detached shell script and gives its id. */
async function start(script: string, name = "box"): Promise<string> {
  const { code, stdout, stderr } = await run("exec", name, "-d", "--", "sh", "-c", script)
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
  return stdout.toString().trim()
}

/** Until `go(file)`. */
const wait = (file: string): string => `until [ -e ${join(world.home, file)} ]; do sleep 0.02; done`
const go = (file: string): Promise<void> => writeFile(join(world.home, file), "")

interface Listed {
  readonly id: string
  readonly state: "running" | "ended"
  readonly attached: number
  readonly output: { readonly to: number }
}

const listed = async (name = "box"): Promise<Listed[]> => JSON.parse((await run("ps", name, "-o", "json")).stdout.toString()).processes
const one = async (id: string, name = "box"): Promise<Listed | undefined> => (await listed(name)).find((each) => each.id === id)
const ended = (id: string, name = "box") => world.until(async () => (await one(id, name))?.state === "ended")
const textOf = ({ code, stdout, stderr }: Finished) => ({ code, stdout: stdout.toString(), stderr })

beforeAll(async () => {
  world = await World.start()
  await world.agent("box")
})
afterAll(() => world.stop())

describe("ps", () => {
  test("of an agent on which nothing ran says so on stderr, and in JSON it is an empty list", async () => {
    await world.agent("fresh")
    const empty = textOf(await run("ps", "fresh"))
    expect(empty).toMatchObject({ code: 0, stdout: "" })
    expect(empty.stderr).toMatch(/^no process runs on fresh/)
    expect(textOf(await run("ps", "fresh", "-o", "json"))).toEqual({ code: 0, stdout: '{"processes":[]}\n', stderr: "" })
  })

  test("lists what runs and what has ended, oldest first, as a table, ids or JSON", async () => {
    await world.agent("several")
    const first = await start("echo one; exit 3", "several")
    await world.until(async () => (await listed("several"))[0]?.state === "ended")
    const second = await start(wait("ps-go"), "several")
    const table = (await run("ps", "several")).stdout.toString()
    const [header = "", ...rows] = table.trimEnd().split("\n")
    expect(header).toMatch(/^ID +KIND +STATE +STARTED +ATTACHED +OUTPUT +COMMAND$/)
    expect(rows[0]).toMatch(new RegExp(`^${first} +exec +exit 3 +\\S.* +0 +4 +sh -c 'echo one; exit 3'$`))
    expect(rows[1]).toMatch(new RegExp(`^${second} +exec +running +\\S.* +0 +0 +sh -c `))
    expect((await run("ps", "several", "-o", "id")).stdout.toString()).toBe(`${first}\n${second}\n`)
    expect(await listed("several")).toMatchObject([
      { id: first, kind: "exec", state: "ended", exit: { type: "code", code: 3 }, argv: ["sh", "-c", "echo one; exit 3"], attached: 0 },
      { id: second, kind: "exec", state: "running", detached: true, output: { from: 0, to: 0 } },
    ])
    await go("ps-go")
  })
})

describe("attach to a command", () => {
  test("gives all output that is kept, then what follows, apart, and the exit code", async () => {
    const id = await start(`echo out-1; echo err-1 >&2; ${wait("attach-go")}; echo out-2; echo err-2 >&2; exit 7`)
    const attached = world.command(["attach", "box", id])
    await attached.until(({ stdout, stderr }) => stdout.includes("out-1") && stderr.includes("err-1"))
    await go("attach-go")
    expect(textOf(await attached.finished)).toEqual({ code: 7, stdout: "out-1\nout-2\n", stderr: "err-1\nerr-2\n" })
  })

  test("of one that has ended says when and how, for as many clients as come", async () => {
    const id = await start("echo done; kill -KILL $$")
    await ended(id)
    for (const attached of await Promise.all([run("attach", "box", id), run("attach", "box", id)])) {
      expect(textOf(attached)).toMatchObject({ code: 137, stdout: "done\n" })
      expect(attached.stderr).toMatch(new RegExp(`^process ${id} ended .*by SIGKILL\n$`))
    }
  })

  test("from an offset gives what was written from there on, from live what comes next", async () => {
    const id = await start(`printf 0123456789; ${wait("from-go")}; printf abc`)
    await world.until(async () => (await one(id))?.output.to === 10)
    const [six, live] = [world.command(["attach", "box", id, "--from", "6"]), world.command(["attach", "box", id, "--from", "live"])]
    await six.until(({ stdout }) => stdout.toString() === "6789")
    await world.until(async () => (await one(id))?.attached === 2)
    await go("from-go")
    expect(textOf(await six.finished)).toEqual({ code: 0, stdout: "6789abc", stderr: "" })
    expect(textOf(await live.finished)).toEqual({ code: 0, stdout: "abc", stderr: "" })
    const future = await run("attach", "box", id, "--from", "14")
    expect(future.code).toBe(2)
    expect(future.stderr).toMatch(/offset 14 .*13 bytes/)
  })

  test("that was left by Ctrl-C goes on, and the command it prints goes on at the byte where it was left", async () => {
    const id = await start(`seq 1 20000; ${wait("left-go")}; seq 20001 40000; exit 5`)
    const attached = world.command(["attach", "box", id])
    await attached.until(({ stdout }) => stdout.includes("\n20000\n"))
    attached.child.kill("SIGINT")
    const left = await attached.finished
    expect(left.code).toBe(130)
    const again = /^left; the process goes on; to come back: trunkline (attach box \S+ --from \d+)\n$/.exec(left.stderr)?.[1]
    await go("left-go")
    const rest = await run(...(again ?? "").split(" "))
    expect(rest.code).toBe(5)
    const all = `${Array.from({ length: 40_000 }, (_, index) => index + 1).join("\n")}\n`
    expect(sha256(Buffer.concat([left.stdout, rest.stdout]))).toBe(sha256(Buffer.from(all)))
  })

  test("with -i passes stdin on to a command that somebody started with -i", async () => {
    const starter = world.command(["exec", "-i", "box", "--", "sh", "-c", "echo ready; read line; echo got-$line"], { stdin: "pipe" })
    await starter.until(({ stdout }) => stdout.includes("ready"))
    const id = (await listed()).at(-1)?.id ?? ""
    const attached = await world.run(["attach", "-i", "box", id], { input: "from elsewhere\n" })
    expect(textOf(attached)).toEqual({ code: 0, stdout: "ready\ngot-from elsewhere\n", stderr: "" })
    expect(textOf(await starter.finished)).toEqual({ code: 0, stdout: "ready\ngot-from elsewhere\n", stderr: "" })
  })

  test("as one JSON document", async () => {
    const id = await start("echo out; echo err >&2; exit 4")
    const attached = await run("attach", "box", id, "-o", "json")
    expect(attached.code).toBe(4)
    expect(JSON.parse(attached.stdout.toString())).toMatchObject({ exitCode: 4, stdout: "out\n", stderr: "err\n", truncated: false })
  })

  test("ends quietly when its own reader leaves, and the process goes on", async () => {
    const id = await start(`while [ ! -e ${join(world.home, "reader-go")} ]; do echo y; sleep 0.01; done`)
    const attached = world.command(["attach", "box", id])
    await attached.until(({ stdout }) => stdout.byteLength > 0)
    attached.child.stdout?.destroy()
    const left = await attached.finished
    expect({ code: left.code, stderr: left.stderr }).toEqual({ code: 141, stderr: "" })
    expect(await one(id)).toMatchObject({ state: "running" })
    await go("reader-go")
  })

  test("that is not known, or an id that is none, is an error", async () => {
    const unknown = await run("attach", "box", "0123456789ab")
    expect(unknown).toMatchObject({ code: 255 })
    expect(unknown.stderr).toMatch(/^trunkline: no process 0123456789ab is known; `trunkline ps`/)
    expect(await run("attach", "box", "not/an/id")).toMatchObject({ code: 2 })
  })
})

describe("output that is kept in part", () => {
  /** Bytes; the least an agent keeps of each process. */
  const journalBytes = 262_144
  const script = `head -c ${3 * journalBytes} /dev/zero`
  beforeAll(async () => void (await world.agent("forgetful", ["--journal-bytes", String(journalBytes)])))

  const endedOnForgetful = async (): Promise<string> => {
    const id = await start(script, "forgetful")
    await ended(id, "forgetful")
    return id
  }

  test("says how much of its beginning is gone, and what is asked for from there is never a success", async () => {
    const id = await endedOnForgetful()
    const kept = await run("attach", "forgetful", id)
    const gone = 3 * journalBytes - kept.stdout.byteLength
    expect(gone).toBeGreaterThan(0)
    expect(kept.code).toBe(0)
    expect(kept.stderr).toContain(`the first ${gone} bytes of its output are not kept any more`)
    const all = await run("attach", "forgetful", id, "--from", "0")
    expect({ code: all.code, bytes: all.stdout.byteLength }).toEqual({ code: 255, bytes: kept.stdout.byteLength })
    expect(all.stderr).toContain(`${gone} bytes of output are missing here`)
    expect(all.stderr).toContain(`the command exited with 0, but ${gone} bytes of its output are missing`)
  })

  test("is complete for the client that it runs for, and not for one that asks for the same run later", async () => {
    const args = ["exec", "forgetful", "--idempotency-key", "large", "--", "sh", "-c", script]
    const first = await run(...args)
    expect({ code: first.code, bytes: first.stdout.byteLength, stderr: first.stderr }).toEqual({
      code: 0,
      bytes: 3 * journalBytes,
      stderr: "",
    })
    const second = await run(...args)
    expect(second.code).toBe(255)
    expect(second.stdout.byteLength).toBeLessThan(3 * journalBytes)
    expect(second.stderr).toContain(`${3 * journalBytes - second.stdout.byteLength} bytes of output are missing here`)
  })

  test("in JSON is truncated, and no success either", async () => {
    const document = await run("attach", "forgetful", await endedOnForgetful(), "--from", "0", "-o", "json")
    expect(document.code).toBe(255)
    expect(JSON.parse(document.stdout.toString())).toMatchObject({ exitCode: 0, truncated: true })
  })
})

test("a process that has ended is kept as long as the agent was told; then only its end is known", async () => {
  await world.agent("brief", ["--keep-ended", "500ms"])
  const id = await start("exit 3", "brief")
  await world.until(async () => (await run("attach", "brief", id)).code === 255)
  for (const late of [await run("attach", "brief", id), await run("kill", "brief", id)]) {
    expect(late.code).toBe(255)
    expect(late.stderr).toMatch(new RegExp(`process ${id} ended at \\S+ with exit code 3; it is not kept any more`))
  }
  expect(await listed("brief")).toEqual([])
})

describe("exec with an idempotency key", () => {
  test("runs once however often it is sent, and each sending gets that run's output and exit", async () => {
    const file = join(world.home, "runs")
    const args = ["exec", "box", "--idempotency-key", "once", "--", "sh", "-c", `echo ran >> ${file}; echo run-$$; exit 6`]
    const first = textOf(await run(...args))
    expect(first).toMatchObject({ code: 6, stdout: expect.stringMatching(/^run-\d+\n$/) })
    expect(await Promise.all([run(...args), run(...args)]).then((all) => all.map(textOf))).toEqual([first, first])
    expect((await run("exec", "box", "--", "cat", file)).stdout.toString()).toBe("ran\n")
  })

  test("that named another command is refused", async () => {
    expect(await run("exec", "box", "--idempotency-key", "mine", "--", "true")).toMatchObject({ code: 0 })
    const other = await run("exec", "box", "--idempotency-key", "mine", "--", "false")
    expect(other.code).toBe(2)
    expect(other.stderr).toMatch(/key/)
  })
})

describe("kill", () => {
  test.each([
    [[], 143],
    [["-s", "KILL"], 137],
    [["-s", "sigint"], 130],
    [["-s", "9"], 137],
  ])("%j ends a process and says nothing", async (args, code) => {
    const id = await start("exec sleep 1000")
    const attached = world.command(["attach", "box", id])
    expect(textOf(await run("kill", "box", id, ...args))).toEqual({ code: 0, stdout: "", stderr: "" })
    expect((await attached.finished).code).toBe(code)
  })

  test("reaches the whole process group", async () => {
    const id = await start("sleep 1000 & echo $!; wait")
    const attached = world.command(["attach", "box", id])
    await attached.until(({ stdout }) => /\d+\n/.test(stdout.toString()))
    const child = attached.stdout.toString().trim()
    await run("kill", "box", id)
    await attached.finished
    await world.until(async () => (await run("exec", "box", "--", "kill", "-0", child)).code !== 0)
  })

  test("of a process that has ended says so, and is no error; of an unknown one it is", async () => {
    const id = await start("exit 2")
    await ended(id)
    const late = textOf(await run("kill", "box", id))
    expect(late).toMatchObject({ code: 0, stdout: "" })
    expect(late.stderr).toMatch(new RegExp(`^process ${id} ended .*with exit code 2; no signal was sent\n$`))
    expect(await run("kill", "box", "0123456789ab")).toMatchObject({
      code: 255,
      stderr: expect.stringContaining("no process 0123456789ab"),
    })
  })
})

test("info tells how many processes run", async () => {
  await world.agent("counted")
  await start(wait("info-go"), "counted")
  await start("exit 0", "counted")
  await world.until(async () => (await listed("counted")).filter(({ state }) => state === "running").length === 1)
  expect((await run("info", "counted")).stdout.toString()).toMatch(/^processes +1 running$/m)
  expect(JSON.parse((await run("info", "counted", "-o", "json")).stdout.toString())).toMatchObject({ runningProcesses: 1 })
  await go("info-go")
})
