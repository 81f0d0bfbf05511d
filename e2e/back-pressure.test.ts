/** A reader that stops pauses the command that writes, costs nobody memory and holds up nobody else. */
import { readFileSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type Command, childrenOf, World } from "./world.ts"

/** Bytes a process has written, pipes included. */
const writtenBytes = (pid: number): number => Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1])
const residentBytes = (pid: number): number => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024
const stateOf = (pid: number): string | undefined => /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]

const mebibyte = 2 ** 20

describe("back-pressure", () => {
  let world: World
  let agent: Command
  beforeAll(async () => {
    world = await World.start()
    agent = await world.agent("box")
  })
  afterAll(() => world.stop())

  test("`cat /dev/zero` into a stopped reader stands still, every process's memory is flat, and a second stream keeps going", async () => {
    const [workerd = 0] = await childrenOf(world.gateway?.pid ?? 0)
    expect(await readFile(`/proc/${workerd}/cmdline`, "utf8")).toContain("workerd")
    const client = world.client()
    const box = client.agent("box")
    // What a first megabyte costs each process once is not what a stalled reader costs.
    await box.exec(["head", "-c", String(64 * mebibyte), "/dev/zero"], { outputBytesMax: 1 })
    const processes = [workerd, agent.pid, await world.keeper("box"), process.pid]
    const before = processes.map(residentBytes)

    const stalled = await box.spawn(["cat", "/dev/zero"])
    const reading = stalled.output()
    await reading.next()
    // It sleeps in a write that does not end: its count stands still over many round trips of another stream.
    await world.until(async () => {
      const count = writtenBytes(stalled.pid)
      for (let trip = 0; trip < 20; trip++) expect((await box.exec(["echo", "lively"])).stdout).toBe("lively\n")
      return writtenBytes(stalled.pid) === count && stateOf(stalled.pid) === "S"
    })
    const taken = writtenBytes(stalled.pid)
    // Pipe, node's read buffer, the stream's queue and one window: a few mebibytes however long it lasts.
    expect(taken).toBeLessThan(8 * mebibyte)

    const bulk = await box.exec(["sh", "-c", `head -c ${32 * mebibyte} /dev/zero | tr '\\0' x`], { outputBytesMax: 64 * mebibyte })
    expect(bulk.stdout.length).toBe(32 * mebibyte)
    expect(writtenBytes(stalled.pid)).toBe(taken)
    const grown = processes.slice(0, 3).map((pid, at) => residentBytes(pid) - (before[at] ?? 0))
    for (const bytes of grown) expect(bytes).toBeLessThan(64 * mebibyte)

    // And it goes on where it stopped.
    let more = 0
    while (more < 16 * mebibyte) {
      const { value } = await reading.next()
      if (value?.type === "stdout") more += value.bytes.byteLength
    }
    expect(writtenBytes(stalled.pid)).toBeGreaterThan(taken)
    stalled.kill("SIGKILL")
    await reading.return?.()
    expect((await stalled.wait()).exit).toEqual({ type: "signal", signal: "SIGKILL" })
    client.close()
  })

  test("a stopped command line reader pauses the command too", async () => {
    // Of two pipes that both have something, either may be read first: nothing is on stdout before its id was seen.
    const script = "echo $$ >&2; read go; exec cat /dev/zero"
    const command = world.command(["exec", "box", "-i", "--", "sh", "-c", script], { stdin: "pipe" })
    command.child.stdout?.pause()
    await command.until(({ stderr }) => /\d+\n/.test(stderr))
    command.child.stdin?.end("go\n")
    const pid = Number.parseInt(command.stderr, 10)
    const client = world.client()
    await world.until(async () => {
      const count = writtenBytes(pid)
      for (let trip = 0; trip < 20; trip++) await client.agent("box").exec(["true"])
      return count > mebibyte / 16 && writtenBytes(pid) === count
    })
    expect(writtenBytes(pid)).toBeLessThan(8 * mebibyte)
    client.close()
    command.child.kill("SIGKILL")
    await command.finished
    // Its client is gone for good as far as the agent can tell: the gateway closed the link's socket, and so is the command in the end.
  })

  test("input into a command that does not read waits, and arrives whole when it does", async () => {
    const client = world.client()
    const process = await client.agent("box").spawn(["sh", "-c", "read go < /dev/null; sleep 0.2; wc -c"], { stdin: "pipe" })
    const chunk = new Uint8Array(65_536)
    const total = 16 * mebibyte
    for (let sent = 0; sent < total; sent += chunk.byteLength) await process.write(chunk)
    process.closeInput()
    let output = ""
    for await (const event of process.output()) if (event.type === "stdout") output += new TextDecoder().decode(event.bytes)
    expect(output.trim()).toBe(String(total))
    client.close()
  })

  test("an HTTP reader that stops pauses the command as well", async () => {
    const left = new AbortController()
    const response = await world.fetch("/v1/agents/box/exec", {
      method: "POST",
      headers: { accept: "application/x-ndjson" },
      body: JSON.stringify({ command: "exec cat /dev/zero" }),
      signal: left.signal,
    })
    const reader = response.body?.getReader()
    const first = JSON.parse(new TextDecoder().decode((await reader?.read())?.value).split("\n")[0] ?? "")
    const client = world.client()
    await world.until(async () => {
      const count = writtenBytes(first.pid)
      for (let trip = 0; trip < 20; trip++) await client.agent("box").exec(["true"])
      return count > 0 && writtenBytes(first.pid) === count
    })
    expect(writtenBytes(first.pid)).toBeLessThan(32 * mebibyte)
    // Leaving ends the command.
    left.abort()
    await world.until(async () => (await client.agent("box").exec(["kill", "-0", String(first.pid)])).exitCode !== 0)
    client.close()
  })
})
